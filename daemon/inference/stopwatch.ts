/** What a job's parts take by themselves, without the turns of other jobs in between. */
import type { Turns } from './step-scheduler';

export class Stopwatch {
  readonly startedAt: number;
  #waitingMs = 0;
  #lapStartedAt: number;

  /** `now`: milliseconds of some clock. */
  constructor(
    private readonly inTurn: Turns['step'],
    private readonly now: () => number = () => performance.now(),
  ) {
    this.startedAt = now();
    this.#lapStartedAt = this.startedAt;
  }

  /** Does the step when it is the job's turn; the wait for it is in no lap. */
  readonly step: Turns['step'] = async (work) => {
    const askedAt = this.now();
    return await this.inTurn(() => {
      const waitedMs = this.now() - askedAt;
      this.#waitingMs += waitedMs;
      this.#lapStartedAt += waitedMs;
      return work();
    });
  };

  /** Milliseconds since the last lap, or the start. */
  lap(): number {
    const now = this.now();
    const ms = now - this.#lapStartedAt;
    this.#lapStartedAt = now;
    return ms;
  }

  /** Milliseconds spent waiting for turns so far. */
  get waitingMs(): number {
    return this.#waitingMs;
  }
}
