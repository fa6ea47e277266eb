/**
 * What the nodes of a cluster say to each other, each on a topic of its own, so that the broker keeps what a node says in
 * order. Whoever may write to those topics can write anything there: what does not have this form is dropped.
 */
import { isUtf8 } from 'node:buffer';
import Ajv from 'ajv';

/** A job: the hash of its verb, its id and where its answer goes. */
export type JobKey = string;

export interface Load {
  /** Jobs that wait for the engine of the node, and that run. */
  readonly waiting: number;
  readonly running: number;
  /** What a job that names no slice would run as now. */
  readonly slice: string;
}

export interface Heartbeat {
  readonly type: 'heartbeat';
  /** Of one connection: a node that lost its connection, or its lease, is another one afterwards. */
  readonly session: string;
  readonly seq: number;
  /** Seniority, 1 the highest; 0 while the node is still finding out who is there. */
  readonly rank: number;
  /** It takes part in the assignment of streams. */
  readonly streams: boolean;
  /** It gets its frames through a shared subscription. */
  readonly shares: boolean;
  readonly load: Load;
  /** What it has been granted and has not answered yet. */
  readonly jobs: readonly (readonly [job: JobKey, epoch: number])[];
}

/** The leader asks who could take a job. */
export interface Offer {
  readonly type: 'offer';
  readonly job: JobKey;
  /** That a grant will have: one more than any before. */
  readonly epoch: number;
}

export interface Bid {
  readonly type: 'bid';
  readonly job: JobKey;
  readonly epoch: number;
  readonly session: string;
  /** Expected milliseconds until it would be done; null where the node cannot take it now. */
  readonly costMs: number | null;
  /** What each further job adds to it. */
  readonly stepMs: number;
  /** Jobs of the cluster it has in hand, which its cost includes, and how many it takes at most. */
  readonly held: number;
  readonly maxHeld: number;
  /** No plugin of this node answers the verb. */
  readonly unknownVerb?: boolean;
}

/** The leader gives a job to one session of one node. */
export interface Grant {
  readonly type: 'grant';
  readonly job: JobKey;
  readonly epoch: number;
  readonly node: string;
  readonly session: string;
  /** The last attempt: an error that another node may not have is the answer all the same. */
  readonly last: boolean;
}

/** A node gives a job back: it could not do it, and another may. */
export interface Release {
  readonly type: 'release';
  readonly job: JobKey;
  readonly epoch: number;
}

/** The job has been answered: written to the connection right after the answer. */
export interface Done {
  readonly type: 'done';
  readonly job: JobKey;
  readonly epoch: number;
}

/** A node knows a job that the leader seems not to know, or was away and asks whether it was answered: `done` if so. */
export interface Stranded {
  readonly type: 'stranded';
  readonly job: JobKey;
}

export type ClusterMessage = Heartbeat | Offer | Bid | Grant | Release | Done | Stranded;

/** With 64 jobs a heartbeat has about 4 KiB. */
export const maxMessageBytes = 16 << 10;
export const maxHeldJobs = 64;

const job = { type: 'string', pattern: '^[0-9a-f]{32}$' };
const epoch = { type: 'integer', minimum: 1, maximum: 1_000_000 };
const session = { type: 'string', pattern: '^[0-9A-Za-z]{1,32}$' };
const count = { type: 'integer', minimum: 0, maximum: 1_000_000 };
const milliseconds = { type: 'number', minimum: 0, maximum: 1e9 };

const members: Readonly<Record<ClusterMessage['type'], { readonly [member: string]: object }>> = {
  heartbeat: {
    session,
    seq: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    rank: count,
    streams: { type: 'boolean' },
    shares: { type: 'boolean' },
    load: {
      type: 'object',
      required: ['waiting', 'running', 'slice'],
      properties: { waiting: count, running: count, slice: { type: 'string', maxLength: 64 } },
    },
    jobs: {
      type: 'array',
      maxItems: maxHeldJobs,
      items: { type: 'array', minItems: 2, maxItems: 2, items: [job, epoch], additionalItems: false },
    },
  },
  offer: { job, epoch },
  bid: {
    job,
    epoch,
    session,
    costMs: { anyOf: [milliseconds, { type: 'null' }] },
    stepMs: milliseconds,
    held: count,
    maxHeld: count,
  },
  grant: { job, epoch, node: { type: 'string', pattern: '^[a-z0-9_-]{1,64}$' }, session, last: { type: 'boolean' } },
  release: { job, epoch },
  done: { job, epoch },
  stranded: { job },
};

const ajv = new Ajv({ strictTuples: false });
const validators = new Map(
  Object.entries(members).map(([type, properties]) => [
    type,
    // Members that a later version adds are no reason not to understand the rest.
    ajv.compile<ClusterMessage>({
      type: 'object',
      required: Object.keys(properties),
      properties: { ...properties, unknownVerb: { type: 'boolean' } },
    }),
  ]),
);

/** Undefined for anything that is no message. */
export function parseMessage(payload: Buffer): ClusterMessage | undefined {
  if (payload.length > maxMessageBytes || !isUtf8(payload)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(payload.toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { type } = value as { type?: unknown };
  const isMessage = typeof type === 'string' ? validators.get(type) : undefined;
  return isMessage?.(value) === true ? value : undefined;
}
