/**
 * One node of a cluster as a state machine: what it hears and what happens in it goes in with the time it is, what it
 * says and does comes out as effects, in order. No clock, no timer, no connection of its own.
 */
import type { Answer } from '../bus/bus';
import { defaultLimits, type JobRequest, JobTable, type JobTableLimits, type OpenJob } from './job-table';
import { Leader, maxGrants } from './leader';
import { Membership } from './membership';
import { type Bid, type ClusterMessage, type Grant, type JobKey, type Load, maxHeldJobs } from './messages';
import type { Timing } from './timing';

export type Effect =
  | { readonly type: 'send'; readonly message: ClusterMessage }
  /** Do the job; what comes of it goes to `finished`. The same job may be begun again while it still runs. */
  | { readonly type: 'run'; readonly job: JobRequest; readonly epoch: number }
  /**
   * Publish the answer and the `done` message in one piece, while `mayAct` is true. Where they did not reach the broker,
   * or nobody knows, `unanswered` says so.
   */
  | { readonly type: 'answer'; readonly job: JobRequest; readonly answer: Answer; readonly epoch: number };

/** What a node can take, asked when a job is offered. */
export interface Capacity {
  readonly costMs: number;
  readonly stepMs: number;
  /** Jobs of the cluster it holds at the same time at most. */
  readonly maxHeld: number;
}

export interface ClusterNodeOptions {
  readonly self: string;
  readonly timing: Timing;
  readonly newSession: () => string;
  readonly emit: (effect: Effect) => void;
  readonly load: () => Load;
  /** Whether its frames come through a shared subscription. */
  readonly shares: () => boolean;
  /** `busy`: not now; `unknown`: never, as this node is. */
  readonly capacity: (job: JobRequest) => Capacity | 'busy' | 'unknown';
  /** Another node, or this one later, may do what an error with this code could not. */
  readonly isRetryable: (code: string) => boolean;
  readonly limits?: JobTableLimits;
}

export class ClusterNode {
  readonly #options: ClusterNodeOptions;
  readonly #membership: Membership;
  readonly #table: JobTable;
  readonly #leader: Leader;
  /** Jobs this session was granted and has not answered, by epoch. */
  readonly #held = new Map<JobKey, number>();
  #connected = false;
  #leads = false;

  constructor(options: ClusterNodeOptions) {
    const { self, timing, newSession } = options;
    this.#options = options;
    this.#membership = new Membership(self, timing, newSession);
    this.#table = new JobTable(options.limits ?? defaultLimits);
    this.#leader = new Leader({
      self,
      timing,
      membership: this.#membership,
      table: this.#table,
      send: (message) => this.#send(message),
      answer: (job, answer) => this.#answer(job, answer, job.epoch + 1),
    });
  }

  /** Subscriptions are made, messages come. */
  connected(nowMs: number): void {
    this.#connected = true;
    this.#rejoin(nowMs);
    this.tick(nowMs);
  }

  disconnected(): void {
    this.#connected = false;
    this.#held.clear();
    this.#membership.leave();
    this.#follow();
  }

  heard(from: string, message: ClusterMessage, nowMs: number): void {
    if (!this.#attend(nowMs)) return;
    if (message.type === 'heartbeat') this.#membership.heard(from, message, nowMs);
    // Only a node that says who it is has a say.
    else if (from === this.#options.self || this.#membership.member(from) !== undefined)
      this.#take(from, message, nowMs);
    this.#proceed(nowMs);
  }

  /** The broker has published that the connection of a node is gone. */
  willOf(node: string, nowMs: number): void {
    if (!this.#attend(nowMs)) return;
    this.#membership.willOf(node, nowMs);
    this.#proceed(nowMs);
  }

  /** A request to the cluster, which every node hears. */
  request(request: JobRequest, nowMs: number): void {
    if (!this.#attend(nowMs)) return;
    const { key } = request;
    const before = this.#table.answered(key);
    if (before !== undefined) {
      const { self } = this.#options;
      const answererIsThere = before.node === self || this.#membership.member(before.node) !== undefined;
      if (before.node === self && before.answer !== undefined) {
        if (this.#membership.mayAct(nowMs)) this.#emitAnswer(request, before.answer, before.epoch);
        return;
      }
      if (answererIsThere && before.node !== self) return;
      this.#table.forget(key);
    }
    const job = this.#table.add(key, request, nowMs);
    if (job === undefined && this.#leads) {
      const answer = { ok: false, error: { code: 'REQUEST_BUSY', message: 'cluster: too many jobs wait' } } as const;
      this.#table.close(key, this.#options.self, 1, answer);
      this.#emitAnswer(request, answer, 1);
    }
    this.#proceed(nowMs);
  }

  /** Whether it falls to this node to refuse what cannot become a job: all hear it, one says so. */
  speaksForAll(nowMs: number): boolean {
    return this.#attend(nowMs) && this.#membership.isLeader(nowMs);
  }

  /** A job that was to be run has ended. */
  finished(key: JobKey, answer: Answer, nowMs: number): void {
    if (!this.#attend(nowMs)) return;
    const epoch = this.#held.get(key);
    const job = this.#table.open(key);
    // Somebody else has it, or has answered it.
    if (epoch === undefined || job?.lease?.epoch !== epoch) return;
    if (!answer.ok && !job.lease.last && this.#options.isRetryable(answer.error.code)) this.#release(job, epoch);
    else this.#answer(job, answer, epoch);
    this.#proceed(nowMs);
  }

  /** What `answer` was to publish did not reach the broker, or nobody knows whether it did. */
  unanswered(request: JobRequest, epoch: number, nowMs: number): void {
    const before = this.#table.answered(request.key);
    if (before?.node !== this.#options.self) return;
    this.#table.forget(request.key);
    const job = this.#table.add(request.key, request, nowMs);
    if (job !== undefined) job.epoch = Math.max(job.epoch, epoch);
    if (this.#connected && this.#attend(nowMs)) this.#send({ type: 'release', job: request.key, epoch });
  }

  tick(nowMs: number): void {
    if (this.#attend(nowMs)) this.#proceed(nowMs);
  }

  /** Whether others still rely on this node, so that it may say what it was to say. */
  mayAct(nowMs: number): boolean {
    return this.#membership.mayAct(nowMs);
  }

  /** Whether a stream is this node's. `shared`: of those who hear it, some are chosen by the broker. */
  owns(stream: string, shared: boolean, nowMs: number): boolean {
    return this.#membership.ownerOf(stream, nowMs, shared) === this.#options.self;
  }

  describe(nowMs: number): {
    readonly leader: string | null;
    readonly members: ReturnType<Membership['describe']>;
    readonly jobs: { readonly open: number; readonly held: number };
  } {
    return {
      leader: this.#membership.leader(nowMs) ?? null,
      members: this.#membership.describe(nowMs),
      jobs: { open: this.#table.size, held: this.#held.size },
    };
  }

  /** Before anything else: whoever slept longer than its lease begins anew. False without a connection. */
  #attend(nowMs: number): boolean {
    if (!this.#connected) return false;
    if (this.#membership.hasLapsed(nowMs)) this.#rejoin(nowMs);
    this.#membership.attend(nowMs);
    return true;
  }

  #rejoin(nowMs: number): void {
    this.#held.clear();
    this.#table.markStale();
    this.#membership.join(nowMs);
    this.#follow();
  }

  #proceed(nowMs: number): void {
    const settled = this.#membership.settle(nowMs);
    // Whoever was there all the time says whether they have been answered.
    if (settled?.alone === false) {
      for (const job of this.#table.stale()) this.#send({ type: 'stranded', job });
    }
    if (settled !== undefined) this.#table.keepStale();
    this.#membership.refresh(nowMs);
    const { load, shares } = this.#options;
    const jobs = Array.from(this.#held).slice(0, maxHeldJobs);
    const heartbeat = this.#membership.beat(nowMs, { shares: shares(), load: load(), jobs });
    if (heartbeat !== undefined) {
      this.#send(heartbeat);
      this.#tidy(nowMs);
    }
    this.#leads = this.#membership.isLeader(nowMs);
    if (this.#leads) this.#leader.lead(nowMs);
    else this.#follow();
  }

  #follow(): void {
    this.#leads = false;
    this.#leader.stop();
  }

  /** Once a heartbeat: jobs nobody cares for are brought up, those that are long over are forgotten. */
  #tidy(nowMs: number): void {
    const { timing } = this.#options;
    for (const job of this.#table.inOrder()) {
      const held = job.lease !== undefined && !this.#membership.isGone(job.lease.node, job.lease.session, nowMs);
      if (held || this.#leads) continue;
      if (nowMs >= this.#table.deadlineOf(job) + 4 * timing.deadMs) {
        this.#table.drop(job.key);
      } else if (nowMs >= job.caredMs + 2 * timing.deadMs && !job.stale && this.#membership.mayAct(nowMs)) {
        job.caredMs = nowMs;
        this.#send({ type: 'stranded', job: job.key });
      }
    }
  }

  #take(from: string, message: Exclude<ClusterMessage, { type: 'heartbeat' }>, nowMs: number): void {
    const { key, open } = { key: message.job, open: this.#table.open(message.job) };
    switch (message.type) {
      case 'offer':
        if (open !== undefined) open.caredMs = nowMs;
        if (open?.request !== undefined && message.epoch > open.epoch) this.#bid(open.request, message.epoch, nowMs);
        return;
      case 'bid':
        if (this.#leads) this.#leader.heardBid(from, message);
        return;
      case 'grant':
        this.#heardGrant(message, nowMs);
        return;
      case 'release':
        if (open !== undefined && open.lease?.node === from && open.lease.epoch === message.epoch)
          open.lease = undefined;
        // An answer that did not get out after all.
        if (this.#table.answered(key)?.node === from) this.#table.forget(key);
        this.#leader.wake();
        return;
      case 'done':
        this.#held.delete(key);
        if (this.#table.answered(key) === undefined) this.#table.close(key, from, message.epoch);
        this.#leader.wake();
        return;
      case 'stranded':
        if (this.#leads) this.#heardStranded(key, nowMs);
        return;
    }
  }

  #heardStranded(key: JobKey, nowMs: number): void {
    const before = this.#table.answered(key);
    if (before === undefined) this.#table.add(key, undefined, nowMs);
    else this.#send({ type: 'done', job: key, epoch: before.epoch });
  }

  #bid(request: JobRequest, epoch: number, nowMs: number): void {
    if (!this.#membership.mayAct(nowMs)) return;
    const { session } = this.#membership;
    const capacity = this.#options.capacity(request);
    const common = { type: 'bid', job: request.key, epoch, session, held: this.#held.size } as const;
    const bid: Bid =
      typeof capacity === 'string'
        ? { ...common, costMs: null, stepMs: 0, maxHeld: 0, ...(capacity === 'unknown' && { unknownVerb: true }) }
        : { ...common, ...capacity, maxHeld: Math.min(capacity.maxHeld, maxHeldJobs) };
    this.#send(bid);
  }

  #heardGrant({ job: key, epoch, node, session, last }: Grant, nowMs: number): void {
    if (this.#table.answered(key) !== undefined) return;
    const job = this.#table.add(key, undefined, nowMs);
    if (job === undefined || epoch > maxGrants) return;
    const repeated = job.lease?.epoch === epoch && job.lease.node === node && job.lease.session === session;
    if (!repeated && epoch <= job.epoch) return;
    job.epoch = epoch;
    job.caredMs = nowMs;
    job.lease = { epoch, node, session, last, grantedMs: nowMs };
    if (node !== this.#options.self || session !== this.#membership.session) {
      this.#held.delete(key);
      return;
    }
    if (this.#held.get(key) === epoch) return;
    if (job.request === undefined || !this.#membership.mayAct(nowMs)) {
      this.#send({ type: 'release', job: key, epoch });
      return;
    }
    this.#held.set(key, epoch);
    this.#options.emit({ type: 'run', job: job.request, epoch });
  }

  #release(job: OpenJob, epoch: number): void {
    this.#held.delete(job.key);
    job.lease = undefined;
    this.#send({ type: 'release', job: job.key, epoch });
  }

  #answer(job: OpenJob, answer: Answer, epoch: number): void {
    const { request, key } = job;
    if (request === undefined) return;
    this.#held.delete(key);
    this.#table.close(key, this.#options.self, epoch, answer);
    this.#emitAnswer(request, answer, epoch);
  }

  #emitAnswer(job: JobRequest, answer: Answer, epoch: number): void {
    this.#options.emit({ type: 'answer', job, answer, epoch });
  }

  #send(message: ClusterMessage): void {
    this.#options.emit({ type: 'send', message });
  }
}
