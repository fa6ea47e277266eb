/**
 * Lets several jobs share one engine: whose turn it is, from step to step. One step runs at a time.
 *
 * Weighted fair queueing in virtual time: a step of `t` ms makes its job's time go on by `t` / weight, and the job that
 * would be the first to be done with another ordinary step is next. Each level of priority doubles the weight, and with
 * it the share of the engine; nobody is passed over for ever, so nobody starves. A newcomer starts at the time of the
 * last step begun: what it missed is not made up for. If it is more urgent than the job that would be next, it goes
 * before it: its first turn is as soon as the step in hand ends.
 */
import { HearthError } from '../errors';

/** One job's place in the scheduler. */
export interface Turns {
  /**
   * Does a step when it is the job's turn; one at a time. Resolves and rejects as `work` does; with `ENGINE_CANCELLED`
   * when the job's signal is aborted, at once while it waits, after the step otherwise.
   */
  step<T>(work: () => Promise<T>): Promise<T>;
}

export interface StepSchedulerOptions {
  /** Milliseconds of some clock; what a step costs is measured with it. */
  readonly now?: () => number;
  /** What a step is taken to cost before it is run; about a token on a small board when left out. */
  readonly ordinaryStepMs?: number;
  /** Called after every step, also one that failed. */
  readonly onStep?: () => void;
}

interface Waiting {
  /** Virtual times. */
  readonly start: number;
  readonly end: number;
  readonly priority: number;
  /** The job has had no turn yet. */
  readonly first: boolean;
  readonly begin: () => void;
}

/** So that steps which take no time are still taken in turn. */
const leastStepMs = 1e-3;

const cancelled = (): HearthError => new HearthError('ENGINE_CANCELLED', 'the job was cancelled');

export class StepScheduler {
  readonly #now: () => number;
  readonly #ordinaryStepMs: number;
  readonly #onStep: () => void;
  /** In the order they came. */
  readonly #waiting: Waiting[] = [];
  #busy = false;
  #dispatching = false;
  /** Of the last step begun. */
  #virtualTime = 0;

  constructor({
    now = () => performance.now(),
    ordinaryStepMs = 100,
    onStep = () => undefined,
  }: StepSchedulerOptions = {}) {
    this.#now = now;
    this.#ordinaryStepMs = ordinaryStepMs;
    this.#onStep = onStep;
  }

  /** A job comes in. There is nothing to be done when it ends. */
  join(priority: number, signal: AbortSignal): Turns {
    const weight = 2 ** priority;
    let done = Number.NEGATIVE_INFINITY;
    return {
      step: async (work) => {
        const start = Math.max(this.#virtualTime, done);
        const end = start + this.#ordinaryStepMs / weight;
        await this.#turn({ start, end, priority, first: done < 0 }, signal);
        const begun = this.#now();
        try {
          const value = await work();
          if (signal.aborted) throw cancelled();
          return value;
        } finally {
          done = start + Math.max(leastStepMs, this.#now() - begun) / weight;
          this.#onStep();
          this.#busy = false;
          this.#dispatchSoon();
        }
      },
    };
  }

  /** Resolves with the engine taken. */
  async #turn(asked: Omit<Waiting, 'begin'>, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw cancelled();
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(cancelled());
      };
      const begin = (): void => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
      const waiting: Waiting = { ...asked, begin };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting.push(waiting);
      this.#dispatchSoon();
    });
  }

  /**
   * Not at once: the job whose step has ended is about to ask for its next one, and must not be passed over for being a
   * moment late. Its continuations, and those of jobs that came in the same turn of the event loop, run before: what it
   * computes on this thread between two steps, such as the choice of a token, finds the engine free.
   */
  #dispatchSoon(): void {
    if (this.#dispatching || this.#busy) return;
    this.#dispatching = true;
    setImmediate(() => {
      this.#dispatching = false;
      if (!this.#busy) this.#dispatch();
    });
  }

  #dispatch(): void {
    const [first, ...others] = this.#waiting;
    if (first === undefined) return;
    let next = others.reduce((best, waiting) => (waiting.end < best.end ? waiting : best), first);
    for (const waiting of this.#waiting) {
      if (waiting.first && waiting.priority > next.priority) next = waiting;
    }
    this.#waiting.splice(this.#waiting.indexOf(next), 1);
    this.#virtualTime = Math.max(this.#virtualTime, next.start);
    this.#busy = true;
    next.begin();
  }
}
