/**
 * Who is there, who leads, and whether this node may still act: a state machine over heartbeats and last wills.
 *
 * A node's lease is its own to watch: it may act until `leaseMs` after it sent the last heartbeat that came back to it. The
 * others take it for gone only after `deadMs`, or `delayMs` after the broker has published its last will. The leader is the
 * most senior of those there; a node takes its rank after all it knows of, so nobody who joins displaces a leader.
 */
import type { Heartbeat, JobKey, Load } from './messages';
import { ownerOf } from './rendezvous';
import type { Timing } from './timing';

export interface Member {
  readonly session: string;
  /** When this session was first heard of. */
  readonly sinceMs: number;
  readonly rank: number;
  readonly streams: boolean;
  readonly shares: boolean;
  readonly load: Load;
  readonly jobs: ReadonlyMap<JobKey, number>;
  readonly heardMs: number;
  /** When the broker said that its connection is gone. */
  readonly willMs: number | undefined;
}

/** What others are told of this node beside its session and rank. */
export type SelfReport = Pick<Heartbeat, 'shares' | 'load' | 'jobs'>;

/** More nodes than this are not taken notice of. */
export const maxMembers = 32;
/** Heartbeats on their way whose echo renews the lease. */
const maxUnheard = 16;

export class Membership {
  readonly #self: string;
  readonly #timing: Timing;
  readonly #newSession: () => string;
  readonly #members = new Map<string, Member>();
  /** Own heartbeats that have not come back, by number: when they were sent. */
  readonly #sent = new Map<number, number>();
  #session: string;
  #seq = 0;
  /** Since when this session listens; undefined without a connection. */
  #listeningMs: number | undefined;
  #attendedMs = 0;
  /** When the last of its own heartbeats that came back had been sent. */
  #echoedMs = Number.NEGATIVE_INFINITY;
  #rank = 0;
  #streams = false;
  #leaseEndsMs = Number.NEGATIVE_INFINITY;
  #nextBeatMs = 0;
  /** Since when this node has been the most senior in its own view. */
  #seniorMs: number | undefined;

  constructor(self: string, timing: Timing, newSession: () => string) {
    this.#self = self;
    this.#timing = timing;
    this.#newSession = newSession;
    this.#session = newSession();
  }

  get session(): string {
    return this.#session;
  }

  /** A connection is there, or this node found that its lease has ended: it begins anew. */
  join(nowMs: number): void {
    this.#session = this.#newSession();
    this.#sent.clear();
    this.#listeningMs = nowMs;
    this.#attendedMs = nowMs;
    this.#echoedMs = Number.NEGATIVE_INFINITY;
    this.#nextBeatMs = nowMs;
    this.#rank = 0;
    this.#streams = false;
    this.#leaseEndsMs = Number.NEGATIVE_INFINITY;
    this.#seniorMs = undefined;
    // What happened meanwhile is unknown: whoever was there may be there still.
    for (const [node, member] of this.#members)
      this.#members.set(node, { ...member, heardMs: nowMs, willMs: undefined });
  }

  leave(): void {
    this.#listeningMs = undefined;
    this.#rank = 0;
    this.#streams = false;
    this.#leaseEndsMs = Number.NEGATIVE_INFINITY;
    this.#seniorMs = undefined;
  }

  /** Its connection is there, and yet it may not act any more, or not rely on what it heard: it slept, or the broker does. */
  hasLapsed(nowMs: number): boolean {
    if (this.#listeningMs === undefined) return false;
    if (this.#rank === 0) return nowMs >= this.#attendedMs + this.#timing.delayMs;
    return this.#leaseEndsMs !== Number.NEGATIVE_INFINITY && nowMs >= this.#leaseEndsMs;
  }

  /** It is awake. */
  attend(nowMs: number): void {
    this.#attendedMs = nowMs;
  }

  /** Whether others rely on this node being there, so that it may bid, run and answer. */
  mayAct(nowMs: number): boolean {
    return this.#rank > 0 && nowMs < this.#leaseEndsMs;
  }

  isLeader(nowMs: number): boolean {
    return this.mayAct(nowMs) && this.#seniorMs !== undefined && nowMs >= this.#seniorMs + this.#timing.delayMs;
  }

  /** True when this node has just got its rank; `alone` when nobody else had one. */
  settle(nowMs: number): { readonly alone: boolean } | undefined {
    const { settleMs, holdMs, delayMs, heartbeatMs } = this.#timing;
    if (this.#listeningMs === undefined) return undefined;
    const ranked = this.#living(nowMs).filter(([, { rank }]) => rank > 0);
    const listenedMs = nowMs - this.#listeningMs;
    // A broker that does not answer may have kept the others to itself, too.
    const hears = nowMs < this.#echoedMs + delayMs + heartbeatMs;
    const settled = this.#rank === 0 && listenedMs >= settleMs && hears;
    if (settled) this.#rank = 1 + Math.max(0, ...ranked.map(([, { rank }]) => rank));
    if (this.#rank > 0 && !this.#streams) {
      this.#streams = listenedMs >= holdMs || !ranked.some(([, { streams }]) => streams);
    }
    return settled ? { alone: ranked.length === 0 } : undefined;
  }

  /** Forgets who is gone, and finds out whether this node is the most senior. */
  refresh(nowMs: number): void {
    for (const [node, member] of this.#members) {
      if (this.#isDead(member, nowMs)) this.#members.delete(node);
    }
    const senior = Array.from(this.#members).every(
      ([node, { rank }]) => rank === 0 || rank > this.#rank || (rank === this.#rank && node > this.#self),
    );
    if (!senior || !this.mayAct(nowMs)) this.#seniorMs = undefined;
    else this.#seniorMs ??= nowMs;
  }

  /** The heartbeat that is due, or undefined. `now`: before it is due, since something has changed. */
  beat(nowMs: number, report: SelfReport): Heartbeat | undefined {
    if (this.#listeningMs === undefined || nowMs < this.#nextBeatMs) return undefined;
    this.#nextBeatMs = nowMs + this.#timing.heartbeatMs;
    const seq = this.#seq++;
    this.#sent.set(seq, nowMs);
    for (const oldest of this.#sent.keys()) {
      if (this.#sent.size <= maxUnheard) break;
      this.#sent.delete(oldest);
    }
    const { shares, load, jobs } = report;
    const { session } = this;
    return { type: 'heartbeat', session, seq, rank: this.#rank, streams: this.#streams, shares, load, jobs };
  }

  heard(from: string, message: Heartbeat, nowMs: number): void {
    if (from === this.#self) {
      this.#echo(message);
      return;
    }
    const known = this.#members.get(from);
    if (known === undefined && this.#members.size >= maxMembers) return;
    const same = known?.session === message.session;
    // A rank is taken once: it does not change while a session lasts.
    const rank = same && known.rank > 0 ? known.rank : message.rank;
    this.#members.set(from, {
      session: message.session,
      sinceMs: same ? known.sinceMs : nowMs,
      rank,
      streams: message.streams && rank > 0,
      shares: message.shares,
      load: message.load,
      jobs: new Map(message.jobs),
      heardMs: nowMs,
      willMs: undefined,
    });
  }

  /** The broker has published the last will of a node, or its goodbye: nothing of that connection is to come. */
  willOf(node: string, nowMs: number): void {
    const member = this.#members.get(node);
    if (member !== undefined) this.#members.set(node, { ...member, willMs: member.willMs ?? nowMs });
  }

  member(node: string): Member | undefined {
    return this.#members.get(node);
  }

  /** Whether a session of a node, this one or another, can no longer do anything that others have not heard of. */
  isGone(node: string, session: string, nowMs: number): boolean {
    if (node === this.#self) return session !== this.#session;
    const member = this.#members.get(node);
    if (member === undefined) return true;
    if (member.session !== session) return nowMs >= member.sinceMs + this.#timing.delayMs;
    return this.#isDead(member, nowMs);
  }

  /** Nodes that have a rank, this one included where it may act. */
  ranked(nowMs: number): string[] {
    const others = this.#living(nowMs).flatMap(([node, { rank }]) => (rank > 0 ? [node] : []));
    return this.mayAct(nowMs) ? [this.#self, ...others] : others;
  }

  /** The node that leads, or will once it is sure; undefined while nobody has a rank. */
  leader(nowMs: number): string | undefined {
    const ranks = this.#living(nowMs).flatMap(([node, { rank }]) => (rank > 0 ? [{ node, rank }] : []));
    if (this.mayAct(nowMs)) ranks.push({ node: this.#self, rank: this.#rank });
    ranks.sort((a, b) => a.rank - b.rank || (a.node < b.node ? -1 : 1));
    return ranks[0]?.node;
  }

  /**
   * The node that has a stream. Where some get their frames through a shared subscription, the broker has already chosen
   * among them, and those who hear every frame leave it to them.
   */
  ownerOf(stream: string, nowMs: number, shared: boolean): string | undefined {
    const living = this.#living(nowMs);
    if (shared && living.some(([, { shares }]) => shares)) return undefined;
    const nodes = living.flatMap(([node, { streams }]) => (streams ? [node] : []));
    if (this.#streams && this.mayAct(nowMs)) nodes.push(this.#self);
    return ownerOf(stream, nodes);
  }

  /** For `info` and `health`. */
  describe(nowMs: number): readonly { node: string; rank: number; streams: boolean; load: Load | null }[] {
    const others = this.#living(nowMs).map(([node, { rank, streams, load }]) => ({ node, rank, streams, load }));
    const self = { node: this.#self, rank: this.mayAct(nowMs) ? this.#rank : 0, streams: this.#streams, load: null };
    return [self, ...others].sort((a, b) => (a.node < b.node ? -1 : 1));
  }

  #echo({ session, seq, rank }: Heartbeat): void {
    const sentMs = session === this.#session ? this.#sent.get(seq) : undefined;
    if (sentMs === undefined) return;
    this.#sent.delete(seq);
    this.#echoedMs = Math.max(this.#echoedMs, sentMs);
    // Only one that carried the rank makes others rely on it.
    if (rank === 0) return;
    this.#leaseEndsMs = Math.max(this.#leaseEndsMs, sentMs + this.#timing.leaseMs);
  }

  #living(nowMs: number): [string, Member][] {
    return Array.from(this.#members).filter(([, member]) => !this.#isDead(member, nowMs));
  }

  #isDead({ heardMs, willMs }: Member, nowMs: number): boolean {
    const { deadMs, delayMs } = this.#timing;
    return nowMs >= heardMs + deadMs || (willMs !== undefined && nowMs >= willMs + delayMs);
  }
}
