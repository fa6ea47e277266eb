/**
 * This node's part in a cluster: the state machine of `cluster-node.ts` with a clock, a timer, the bus, and the handlers
 * that do the jobs.
 */
import type { Subscription } from 'rxjs';
import { ulid } from 'ulid';
import { type Answer, type Bus, maxOnceInFlight, type Unsubscribe } from '../bus/bus';
import { ClusterTopics } from '../bus/topics';
import { catalogue, type ErrorCode, HearthError } from '../errors';
import { type Log, messageOf } from '../log';
import { type Capacity, ClusterNode, type Effect } from './cluster-node';
import { type GroupRequestOptions, type Refused, readGroupRequest } from './group-request';
import type { JobRequest } from './job-table';
import { type ClusterMessage, type Load, parseMessage } from './messages';
import { OnceQueue } from './once-queue';
import { timingOf } from './timing';

export interface ClusterOptions {
  readonly name: string;
  readonly node: string;
  readonly baseTopic: string;
  readonly leaseMs: number;
  readonly holdMs: number;
  readonly maxRequestBytes: number;
  readonly defaultPriority: number;
  readonly defaultDeadlineMs: number;
  readonly answerExpirySeconds: number;
  /** Jobs of the cluster this node takes at the same time. */
  readonly maxHeld: number;
  readonly bus: Pick<Bus, 'state$' | 'subscribe' | 'publishOnce' | 'perform' | 'answers' | 'sharing'>;
  readonly load: () => Load;
  /** The model is loaded and the plugins run. */
  readonly ready: () => boolean;
  readonly log: Log;
}

const maxWaiting = 1024;
/** May be said by a node without a lease. */
const unleased: ReadonlySet<ClusterMessage['type']> = new Set(['heartbeat', 'release', 'stranded']);
const json = { contentType: 'application/json', utf8: true } as const;
/** Before the first job has shown how long one takes. */
const firstGuessMs = 1000;
/** Weight of the latest job in the mean. */
const latestWeight = 0.2;

export class Cluster {
  readonly #options: ClusterOptions;
  readonly #topics: ClusterTopics;
  readonly #requests: GroupRequestOptions;
  readonly #node: ClusterNode;
  readonly #runs = new Map<string, { readonly job: JobRequest; readonly ended: Promise<Answer> }>();
  readonly #queue: OnceQueue;
  readonly #unsubscribes: Unsubscribe[] = [];
  #state: Subscription | undefined;
  #timer: NodeJS.Timeout | undefined;
  #meanMs = firstGuessMs;
  #draining = false;
  #malformed = 0;

  constructor(options: ClusterOptions) {
    const { name, node, baseTopic, leaseMs, holdMs, bus, load } = options;
    this.#options = options;
    this.#topics = new ClusterTopics(baseTopic, name);
    this.#requests = { ...options, topics: this.#topics };
    this.#queue = new OnceQueue({
      maxInFlight: maxOnceInFlight,
      maxWaiting,
      publish: async (messages) => await bus.publishOnce(messages),
    });
    this.#node = new ClusterNode({
      self: node,
      timing: timingOf(leaseMs, holdMs),
      newSession: () => ulid(),
      emit: (effect) => this.#do(effect),
      load,
      shares: () => bus.sharing,
      capacity: (job) => this.#capacity(job),
      isRetryable: (code) => Object.hasOwn(catalogue, code) && catalogue[code as ErrorCode].retryable,
    });
  }

  /** The group of its shared subscriptions. */
  get shareGroup(): string {
    return `hearth-${this.#options.name}`;
  }

  /** Rejects as `Bus.subscribe` does. */
  async start(): Promise<void> {
    const { bus, leaseMs } = this.#options;
    const { nodeFilter, requestFilter, stateFilter } = this.#topics;
    this.#unsubscribes.push(
      await bus.subscribe(nodeFilter, (topic, payload) => this.#heard(topic, payload), { qos: 1 }),
      await bus.subscribe(stateFilter, (topic, payload) => this.#heardState(topic, payload), { qos: 1 }),
      await bus.subscribe(
        requestFilter,
        (topic, payload, info) => {
          const verb = this.#topics.verbOf(topic);
          if (verb === undefined) return;
          const request = readGroupRequest(verb, payload, info, this.#requests);
          if ('key' in request) this.#node.request(request, now());
          else if (this.#node.speaksForAll(now())) this.#refuse(request);
        },
        { qos: 1 },
      ),
    );
    this.#state = bus.state$.subscribe(({ phase }) => {
      if (phase === 'online') {
        this.#node.connected(now());
      } else {
        this.#node.disconnected();
        this.#queue.clear();
      }
    });
    this.#timer = setInterval(() => this.#node.tick(now()), Math.min(250, leaseMs / 24));
    this.#timer.unref();
  }

  /** Takes no more jobs; those in hand may end, and what they cannot end is given back. */
  drain(): void {
    this.#draining = true;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#state?.unsubscribe();
    this.#node.disconnected();
  }

  /** Whether a stream is this node's. `shared`: of the nodes that can, the broker has one take each frame. */
  owns(stream: string, shared: boolean): boolean {
    return this.#node.owns(stream, shared, now());
  }

  /** For `health`. */
  status(): Readonly<Record<string, unknown>> {
    const { leader, members, jobs } = this.#node.describe(now());
    return {
      name: this.#options.name,
      leader,
      members: members.map(({ load, ...member }) => ({ ...member, ...(load !== null && { load }) })),
      jobs,
      frames: this.#options.bus.sharing ? 'shared' : 'assigned',
      malformed: this.#malformed,
    };
  }

  #heard(topic: string, payload: Buffer): void {
    const from = this.#topics.nodeOf(topic);
    const message = from === undefined ? undefined : parseMessage(payload);
    if (from === undefined || message === undefined) {
      // Once: whoever writes to the topic must not fill the log as well.
      if (this.#malformed++ === 0) this.#options.log.warn({ topic: topic.slice(0, 160) }, 'no message of a cluster');
      return;
    }
    this.#node.heard(from, message, now());
  }

  #heardState(topic: string, payload: Buffer): void {
    const node = this.#topics.nodeOf(topic);
    if (node !== undefined && node !== this.#options.node && payload.length < 256 && payload.includes('"offline"')) {
      this.#node.willOf(node, now());
    }
  }

  #do(effect: Effect): void {
    switch (effect.type) {
      case 'send':
        this.#send(effect.message);
        return;
      case 'run':
        void this.#run(effect.job);
        return;
      case 'answer':
        this.#answer(effect);
        return;
    }
  }

  #send(message: ClusterMessage): void {
    this.#queue.push({
      messages: [this.#message(message)],
      may: () => unleased.has(message.type) || this.#node.mayAct(now()),
      failed: (error) =>
        this.#options.log.debug({ type: message.type, reason: messageOf(error) }, 'not said to the cluster'),
    });
  }

  #message(message: ClusterMessage) {
    return { topic: this.#topics.node(this.#options.node), payload: JSON.stringify(message), options: json };
  }

  async #run(job: JobRequest): Promise<void> {
    const { key, verb, id, payload, responseTopic, receivedTs } = job;
    const beganMs = now();
    const sharedBy = this.#runs.size + 1;
    // What was begun before this node lost it, and goes on, is what it was given again.
    const run = this.#runs.get(key) ?? {
      job,
      ended: this.#options.bus.perform({ id, verb, payload, topic: responseTopic, properties: {}, receivedTs }),
    };
    this.#runs.set(key, run);
    const answer = await run.ended;
    this.#runs.delete(key);
    if (answer.ok) this.#meanMs += latestWeight * ((now() - beganMs) / sharedBy - this.#meanMs);
    this.#node.finished(key, answer, now());
  }

  #answer({ job, answer, epoch }: Extract<Effect, { type: 'answer' }>): void {
    const { log } = this.#options;
    const done = this.#message({ type: 'done', job: job.key, epoch });
    const may = (): boolean => this.#node.mayAct(now());
    this.#queue.push({
      messages: [this.#response(job, { id: job.id, ...answer }), done],
      may,
      failed: (error) => {
        const code = error instanceof HearthError ? error.code : 'INTERNAL';
        log.warn({ id: job.id, code, reason: messageOf(error) }, 'an answer did not get out');
        if (code === 'BUS_PAYLOAD_TOO_LARGE') {
          const refusal = { id: job.id, ok: false, error: { code, message: messageOf(error) } };
          const failed = (): void => this.#node.unanswered(job, epoch, now());
          this.#queue.push({ messages: [this.#response(job, refusal), done], may, failed });
        } else if (code !== 'BUS_PUBLISH_REFUSED') {
          this.#node.unanswered(job, epoch, now());
        }
      },
    });
  }

  #refuse({ id, error, ...to }: Refused): void {
    const { code, message } = error;
    this.#queue.push({
      messages: [this.#response(to, { id, ok: false, error: { code, message } })],
      may: () => this.#node.mayAct(now()),
      failed: (reason) => this.#options.log.warn({ reason: messageOf(reason) }, 'a refusal did not get out'),
    });
  }

  #response(to: Pick<JobRequest, 'responseTopic' | 'correlationData'>, response: object) {
    const { correlationData, responseTopic } = to;
    return {
      topic: responseTopic,
      payload: JSON.stringify(response),
      options: {
        ...json,
        expirySeconds: this.#options.answerExpirySeconds,
        ...(correlationData !== undefined && { correlationData }),
      },
    };
  }

  #capacity({ key, verb, id }: JobRequest): Capacity | 'busy' | 'unknown' {
    const { bus, load, ready, maxHeld } = this.#options;
    if (this.#draining || !ready()) return 'busy';
    if (!bus.answers(verb)) return 'unknown';
    // Two requesters' ids: a handler knows its requests by them.
    for (const { job } of this.#runs.values()) if (job.id === id && job.verb === verb && job.key !== key) return 'busy';
    const { waiting, running } = load();
    return { costMs: (waiting + running + 1) * this.#meanMs, stepMs: this.#meanMs, maxHeld };
  }
}

/** Goes on while the process is stopped, and is never set back. */
function now(): number {
  return performance.now();
}
