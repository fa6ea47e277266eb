/** What the leader decides: which job to offer next, who gets it, and when nobody will. */
import type { Answer } from '../bus/bus';
import type { JobTable, OpenJob } from './job-table';
import type { Membership } from './membership';
import type { Bid, ClusterMessage, JobKey } from './messages';
import type { Timing } from './timing';

export interface LeaderDependencies {
  readonly self: string;
  readonly timing: Timing;
  readonly membership: Membership;
  readonly table: JobTable;
  readonly send: (message: ClusterMessage) => void;
  /** Answers a job itself, since nobody else will. */
  readonly answer: (job: OpenJob, answer: Answer) => void;
}

interface OpenOffer {
  readonly epoch: number;
  readonly sinceMs: number;
  readonly bids: Map<string, Bid>;
}

/** Offers that may wait for bids at the same time. */
const maxOffers = 8;
/** Nodes that may be lost with a job, or give it back, before it is given up. */
export const maxGrants = 5;

export class Leader {
  readonly #dependencies: LeaderDependencies;
  readonly #offers = new Map<JobKey, OpenOffer>();
  /** Jobs that nobody bid for, by when to ask again. */
  readonly #later = new Map<JobKey, number>();
  /** All who bid were busy: nothing is offered before this. */
  #busyUntilMs = 0;

  constructor(dependencies: LeaderDependencies) {
    this.#dependencies = dependencies;
  }

  /** Somebody else leads, or nobody. */
  stop(): void {
    this.#offers.clear();
    this.#later.clear();
    this.#busyUntilMs = 0;
  }

  /** A node may have room again. */
  wake(): void {
    this.#busyUntilMs = 0;
  }

  heardBid(from: string, bid: Bid): void {
    const offer = this.#offers.get(bid.job);
    if (offer?.epoch === bid.epoch) offer.bids.set(from, bid);
  }

  /** Does all that is due. */
  lead(nowMs: number): void {
    const { table } = this.#dependencies;
    for (const key of this.#offers.keys()) if (table.open(key) === undefined) this.#offers.delete(key);
    for (const key of this.#later.keys()) if (table.open(key) === undefined) this.#later.delete(key);
    for (const job of table.inOrder()) {
      if (job.lease !== undefined && this.#isHeld(job, nowMs)) continue;
      job.lease = undefined;
      if (this.#giveUp(job, nowMs)) continue;
      const offer = this.#offers.get(job.key);
      if (offer !== undefined) {
        if (this.#isRipe(offer, nowMs)) this.#decide(job, offer, nowMs);
      } else if (this.#mayOffer(job, nowMs)) {
        this.#offers.set(job.key, { epoch: job.epoch + 1, sinceMs: nowMs, bids: new Map() });
        this.#dependencies.send({ type: 'offer', job: job.key, epoch: job.epoch + 1 });
      }
    }
  }

  #mayOffer({ key }: OpenJob, nowMs: number): boolean {
    return this.#offers.size < maxOffers && nowMs >= this.#busyUntilMs && nowMs >= (this.#later.get(key) ?? 0);
  }

  #isHeld({ key, lease }: OpenJob, nowMs: number): boolean {
    const { self, membership, timing } = this.#dependencies;
    if (lease === undefined || membership.isGone(lease.node, lease.session, nowMs)) return false;
    const member = lease.node === self ? undefined : membership.member(lease.node);
    // A grant that did not arrive is in none of the heartbeats that were sent after it should have.
    const heardSince = member !== undefined && member.heardMs > lease.grantedMs + 2 * timing.delayMs;
    return !(heardSince && member.session === lease.session && !member.jobs.has(key));
  }

  #giveUp(job: OpenJob, nowMs: number): boolean {
    const { table, answer } = this.#dependencies;
    const late = nowMs >= table.deadlineOf(job);
    if (!late && job.epoch < maxGrants) return false;
    this.#offers.delete(job.key);
    if (job.request === undefined) {
      table.drop(job.key);
    } else if (late) {
      answer(job, refusal('JOB_DEADLINE', 'no node could do the job before its deadline'));
    } else {
      answer(job, refusal('JOB_ABANDONED', `${job.epoch} nodes were lost with the job or gave it back`));
    }
    return true;
  }

  /** All have bid; or one who can take it has, and the others had their time; or nobody will. */
  #isRipe(offer: OpenOffer, nowMs: number): boolean {
    const { bidMs, delayMs } = this.#dependencies.timing;
    const waitedMs = nowMs - offer.sinceMs;
    if (waitedMs >= 2 * delayMs || this.#allHaveBid(offer, nowMs)) return true;
    return waitedMs >= bidMs && Array.from(offer.bids.values()).some(({ costMs }) => costMs !== null);
  }

  #allHaveBid({ bids }: OpenOffer, nowMs: number): boolean {
    return this.#dependencies.membership.ranked(nowMs).every((node) => bids.has(node));
  }

  #decide(job: OpenJob, offer: OpenOffer, nowMs: number): void {
    const { membership, table, send, timing, answer } = this.#dependencies;
    this.#offers.delete(job.key);
    const leases = table.inOrder().flatMap(({ lease }) => (lease === undefined ? [] : [lease.node]));
    let best: { node: string; bid: Bid; costMs: number } | undefined;
    for (const [node, bid] of offer.bids) {
      if (bid.costMs === null || membership.isGone(node, bid.session, nowMs)) continue;
      const held = leases.filter((holder) => holder === node).length;
      if (held >= bid.maxHeld) continue;
      // Grants that had not reached it when it bid.
      const costMs = bid.costMs + (held - bid.held) * bid.stepMs;
      if (best === undefined || costMs < best.costMs) best = { node, bid, costMs };
    }
    if (best !== undefined) {
      const { node, bid } = best;
      const { epoch } = offer;
      const last = epoch >= maxGrants;
      job.epoch = epoch;
      job.caredMs = nowMs;
      job.lease = { epoch, node, session: bid.session, last, grantedMs: nowMs };
      send({ type: 'grant', job: job.key, epoch, node, session: bid.session, last });
      return;
    }
    const bids = [...offer.bids.values()];
    if (bids.length > 0 && bids.every(({ unknownVerb }) => unknownVerb === true) && this.#allHaveBid(offer, nowMs)) {
      answer(job, refusal('REQUEST_UNKNOWN_VERB', `no node answers ${job.request?.verb ?? 'that verb'}`));
      return;
    }
    // Where all are busy the most urgent is offered first as soon as one is not.
    if (bids.some(({ unknownVerb }) => unknownVerb !== true)) this.#busyUntilMs = nowMs + timing.retryMs;
    else this.#later.set(job.key, nowMs + timing.retryMs);
  }
}

function refusal(code: 'JOB_DEADLINE' | 'JOB_ABANDONED' | 'REQUEST_UNKNOWN_VERB', message: string): Answer {
  return { ok: false, error: { code, message: `cluster: ${message}` } };
}
