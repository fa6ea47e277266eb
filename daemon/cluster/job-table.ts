/**
 * What a node knows of the jobs of its cluster: those that are open, who has which, and which have been answered. Every
 * node keeps it from what it hears, so that whoever leads next knows as much. Bounded: jobs, their bytes, remembered ids.
 */
import type { Answer } from '../bus/bus';
import type { JobKey } from './messages';

export interface JobRequest {
  readonly key: JobKey;
  readonly verb: string;
  readonly id: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly sizeBytes: number;
  /** Where the answer goes. */
  readonly responseTopic: string;
  readonly correlationData?: Buffer;
  /** Higher first. */
  readonly priority: number;
  /** Milliseconds after it came when it is given up, unless a node has it in hand. */
  readonly deadlineMs: number;
  /** Unix time in seconds. */
  readonly receivedTs: number;
}

export interface Lease {
  readonly epoch: number;
  readonly node: string;
  readonly session: string;
  readonly last: boolean;
  /** When the grant was heard. */
  readonly grantedMs: number;
}

export interface OpenJob {
  readonly key: JobKey;
  /** Undefined where this node heard of the job and not the request. */
  request: JobRequest | undefined;
  readonly sinceMs: number;
  /** Of the latest grant; 0 before the first. */
  epoch: number;
  lease: Lease | undefined;
  /** When the leader was last heard to care for it. */
  caredMs: number;
  /** It is from before this node last joined: others may have answered it since. */
  stale: boolean;
}

interface Answered {
  readonly node: string;
  readonly epoch: number;
  /** Kept by the node that gave it, for whoever asks the same again. */
  readonly answer: Answer | undefined;
  readonly sizeBytes: number;
}

export interface JobTableLimits {
  readonly maxOpen: number;
  readonly maxOpenBytes: number;
  readonly maxAnswered: number;
  readonly maxAnswerBytes: number;
}

export const defaultLimits: JobTableLimits = {
  maxOpen: 256,
  maxOpenBytes: 32 << 20,
  maxAnswered: 2048,
  maxAnswerBytes: 4 << 20,
};

/** Of a job that is only heard of, until its request comes. */
const unknownDeadlineMs = 60_000;

export class JobTable {
  readonly #limits: JobTableLimits;
  readonly #open = new Map<JobKey, OpenJob>();
  /** Oldest first. */
  readonly #answered = new Map<JobKey, Answered>();
  #openBytes = 0;
  #answerBytes = 0;

  constructor(limits: JobTableLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#open.size;
  }

  open(key: JobKey): OpenJob | undefined {
    return this.#open.get(key);
  }

  answered(key: JobKey): Answered | undefined {
    return this.#answered.get(key);
  }

  /** Most urgent first, then in the order they came. */
  inOrder(): OpenJob[] {
    return Array.from(this.#open.values()).sort(
      (a, b) => (b.request?.priority ?? 0) - (a.request?.priority ?? 0) || a.sinceMs - b.sinceMs,
    );
  }

  deadlineOf(job: OpenJob): number {
    return job.sinceMs + (job.request?.deadlineMs ?? unknownDeadlineMs);
  }

  /** A request, or news of a job whose request did not come here. Undefined where there is no room. */
  add(key: JobKey, request: JobRequest | undefined, nowMs: number): OpenJob | undefined {
    const known = this.#open.get(key);
    const bytes = request?.sizeBytes ?? 0;
    if (known !== undefined && (request === undefined || known.request !== undefined)) return known;
    const full = known === undefined && this.#open.size >= this.#limits.maxOpen;
    if (full || this.#openBytes + bytes > this.#limits.maxOpenBytes) return undefined;
    this.#openBytes += bytes;
    if (known !== undefined) {
      known.request = request;
      return known;
    }
    const job: OpenJob = {
      key,
      request,
      sinceMs: nowMs,
      epoch: 0,
      lease: undefined,
      caredMs: nowMs,
      stale: false,
    };
    this.#open.set(key, job);
    return job;
  }

  drop(key: JobKey): void {
    this.#openBytes -= this.#open.get(key)?.request?.sizeBytes ?? 0;
    this.#open.delete(key);
  }

  /** `node` has answered it. */
  close(key: JobKey, node: string, epoch: number, answer?: Answer): void {
    this.drop(key);
    this.forget(key);
    const sizeBytes = answer === undefined ? 0 : Buffer.byteLength(JSON.stringify(answer));
    this.#answered.set(key, { node, epoch, answer, sizeBytes });
    this.#answerBytes += sizeBytes;
    for (const oldest of this.#answered.keys()) {
      const { maxAnswered, maxAnswerBytes } = this.#limits;
      if (this.#answered.size <= maxAnswered && this.#answerBytes <= maxAnswerBytes) break;
      this.forget(oldest);
    }
  }

  forget(key: JobKey): void {
    this.#answerBytes -= this.#answered.get(key)?.sizeBytes ?? 0;
    this.#answered.delete(key);
  }

  /** This node was away: what it holds may have been answered. */
  markStale(): void {
    for (const job of this.#open.values()) job.stale = true;
  }

  stale(): JobKey[] {
    return Array.from(this.#open.values()).flatMap(({ key, stale }) => (stale ? [key] : []));
  }

  /** What is still open then, is. */
  keepStale(): void {
    for (const job of this.#open.values()) job.stale = false;
  }
}
