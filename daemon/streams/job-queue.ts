/**
 * The one queue in front of the engine. Everything that wants to generate goes through here: a few jobs run at the same
 * time and share the engine, the most urgent are let in first; the number that may wait is bounded; what never runs is
 * rejected with a code and counted.
 *
 * Where several may run, the last place is kept for a job that is more urgent than all that run: pictures of a parking
 * lot must not keep the doorbell waiting.
 */
import { BehaviorSubject, type Observable } from 'rxjs';
import { type ErrorCode, HearthError } from '../errors';

/** What speech that begins may interrupt: an answer to someone, or something else that is made of an item. */
export type JobRole = 'answer' | 'result';

export interface Job<T> {
  /** Higher runs first; within a priority, first come first served. */
  readonly priority: number;
  /** Unix time in milliseconds after which it must not start any more. */
  readonly deadlineAt?: number;
  readonly stream?: string;
  /** Without one, nothing but `signal` and the end of the daemon stops it. */
  readonly role?: JobRole;
  /** Cancels it: while it waits it is rejected with `ENGINE_CANCELLED`, while it runs its own signal is aborted. */
  readonly signal?: AbortSignal;
  run(signal: AbortSignal): Promise<T>;
}

/** How jobs ended, since the start. `failed` ran and rejected; the others but `done` never ran, or were interrupted. */
export interface JobCounts {
  readonly done: number;
  readonly failed: number;
  readonly full: number;
  readonly evicted: number;
  readonly expired: number;
  readonly cancelled: number;
  readonly shutdown: number;
}

export interface QueueState {
  readonly waiting: number;
  readonly running: number;
  readonly counts: JobCounts;
}

interface Entry {
  /** Unix time in milliseconds. */
  readonly submittedAt: number;
  readonly priority: number;
  readonly deadlineAt: number;
  readonly label: string;
  readonly job: Pick<Job<unknown>, 'role' | 'stream'>;
  /** What it rejects with where it was interrupted. */
  interruption?: HearthError;
  /** Resolves when the job has ended, to what tells its submitter. */
  start(signal: AbortSignal): Promise<() => void>;
  reject(error: HearthError): void;
}

type Refusal = 'QUEUE_FULL' | 'QUEUE_EVICTED' | 'JOB_DEADLINE' | 'SHUTDOWN' | 'ENGINE_CANCELLED' | 'BARGE_IN';

const counterOf: Readonly<Record<Refusal, keyof JobCounts>> = {
  QUEUE_FULL: 'full',
  QUEUE_EVICTED: 'evicted',
  JOB_DEADLINE: 'expired',
  SHUTDOWN: 'shutdown',
  ENGINE_CANCELLED: 'cancelled',
  BARGE_IN: 'cancelled',
} satisfies Partial<Record<ErrorCode, keyof JobCounts>>;

interface Running {
  readonly entry: Entry;
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

export interface JobQueueOptions {
  /** Jobs that may wait; running ones are not counted. */
  readonly capacity: number;
  /** Jobs that may run at the same time; 1 when left out. */
  readonly concurrency?: number;
  /** Unix time in milliseconds. */
  readonly now?: () => number;
}

/** `setTimeout` fires at once for anything longer. */
const maxTimerMs = 2 ** 31 - 1;

export class JobQueue {
  readonly #capacity: number;
  readonly #concurrency: number;
  readonly #now: () => number;
  /** Most urgent first. */
  readonly #waiting: Entry[] = [];
  readonly #counts: Record<keyof JobCounts, number> = {
    done: 0,
    failed: 0,
    full: 0,
    evicted: 0,
    expired: 0,
    cancelled: 0,
    shutdown: 0,
  };
  readonly #state$: BehaviorSubject<QueueState>;
  readonly state$: Observable<QueueState>;
  readonly #running = new Set<Running>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #paused = false;

  constructor({ capacity, concurrency = 1, now = Date.now }: JobQueueOptions) {
    this.#capacity = capacity;
    this.#concurrency = concurrency;
    this.#now = now;
    this.#state$ = new BehaviorSubject(this.#snapshot());
    this.state$ = this.#state$.asObservable();
  }

  get state(): QueueState {
    return this.#state$.value;
  }

  /** Milliseconds the job that has been waiting longest has waited; 0 when none waits. */
  get oldestWaitMs(): number {
    const now = this.#now();
    return Math.max(0, ...this.#waiting.map(({ submittedAt }) => now - submittedAt));
  }

  /**
   * Resolves or rejects as `run` does. A job that never runs rejects with `QUEUE_FULL`, `QUEUE_EVICTED`,
   * `JOB_DEADLINE`, `SHUTDOWN`, `ENGINE_CANCELLED` or `BARGE_IN`; the last is also what an interrupted one rejects with.
   */
  submit<T>(job: Job<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const entry: Entry = {
        submittedAt: this.#now(),
        priority: job.priority,
        deadlineAt: job.deadlineAt ?? Number.POSITIVE_INFINITY,
        label: job.stream === undefined ? 'job' : `job for ${job.stream}`,
        job,
        start: async (signal) => {
          unlisten();
          const both = job.signal === undefined ? signal : AbortSignal.any([signal, job.signal]);
          try {
            const value = await job.run(both);
            this.#counts.done++;
            return () => resolve(value);
          } catch (error) {
            const { interruption } = entry;
            this.#counts[interruption === undefined ? 'failed' : 'cancelled']++;
            return () => reject(interruption ?? error);
          }
        },
        reject: (error) => {
          unlisten();
          reject(error);
        },
      };
      const cancel = (): void => {
        const at = this.#waiting.indexOf(entry);
        if (at < 0) return;
        this.#waiting.splice(at, 1);
        this.#refuse(entry, 'ENGINE_CANCELLED', 'was cancelled before it started');
        this.#changed();
      };
      const unlisten = (): void => job.signal?.removeEventListener('abort', cancel);
      job.signal?.addEventListener('abort', cancel);
      this.#admit(entry, job.signal?.aborted === true);
    });
  }

  /** Cancels the jobs that fit with `BARGE_IN`, those that run included; `what` completes "job for kitchen: ...". */
  interrupt(fits: (job: Pick<Job<unknown>, 'role' | 'stream'>) => boolean, what: string): void {
    for (const entry of this.#waiting.filter(({ job }) => fits(job))) {
      this.#waiting.splice(this.#waiting.indexOf(entry), 1);
      this.#refuse(entry, 'BARGE_IN', what);
    }
    for (const { entry, abort } of this.#running) {
      if (entry.interruption !== undefined || !fits(entry.job)) continue;
      entry.interruption = new HearthError('BARGE_IN', `${entry.label}: ${what}`);
      abort.abort();
    }
    this.#changed();
  }

  /**
   * Rejects everything that waits and everything that comes with `SHUTDOWN`. Running jobs may take `graceMs` to end and
   * are then aborted; resolves once they have ended.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    for (const entry of this.#waiting.splice(0)) this.#refuse(entry, 'SHUTDOWN', 'was waiting when the daemon stopped');
    this.#changed();
    const timer = setTimeout(() => {
      for (const { abort } of this.#running) abort.abort();
    }, graceMs);
    await Promise.all(Array.from(this.#running, ({ ended }) => ended));
    clearTimeout(timer);
  }

  /** No job starts until `resume`; those that wait keep their deadlines. Resolves when those that run have ended. */
  async pause(): Promise<void> {
    this.#paused = true;
    await Promise.all(Array.from(this.#running, ({ ended }) => ended));
  }

  resume(): void {
    this.#paused = false;
    this.#changed();
  }

  #admit(entry: Entry, cancelled: boolean): void {
    if (cancelled) this.#refuse(entry, 'ENGINE_CANCELLED', 'was cancelled before it was submitted');
    else if (this.#stopped) this.#refuse(entry, 'SHUTDOWN', 'came while the daemon is stopping');
    else if (entry.deadlineAt <= this.#now()) this.#refuse(entry, 'JOB_DEADLINE', 'came after its deadline');
    else if (this.#makeRoom(entry)) {
      const after = this.#waiting.findIndex((other) => other.priority < entry.priority);
      this.#waiting.splice(after < 0 ? this.#waiting.length : after, 0, entry);
    }
    this.#changed();
  }

  /** True when `entry` may wait; else it has been refused. */
  #makeRoom(entry: Entry): boolean {
    this.#expire();
    if (this.#mayStart(entry) || this.#waiting.length < this.#capacity) return true;
    const last = this.#waiting.at(-1);
    if (last !== undefined && last.priority < entry.priority) {
      this.#waiting.pop();
      this.#refuse(
        last,
        'QUEUE_EVICTED',
        `made room for one of priority ${entry.priority} in a queue of ${this.#capacity}`,
      );
      return true;
    }
    this.#refuse(
      entry,
      'QUEUE_FULL',
      `found ${this.#waiting.length} waiting, none of a lower priority than ${entry.priority}`,
    );
    return false;
  }

  #expire(): void {
    const now = this.#now();
    for (const entry of this.#waiting.filter(({ deadlineAt }) => deadlineAt <= now)) {
      this.#waiting.splice(this.#waiting.indexOf(entry), 1);
      this.#refuse(entry, 'JOB_DEADLINE', 'was still waiting at its deadline');
    }
  }

  #refuse(entry: Entry, code: Refusal, what: string): void {
    this.#counts[counterOf[code]]++;
    entry.reject(new HearthError(code, `${entry.label}: ${what}`));
  }

  #mayStart({ priority }: Entry): boolean {
    if (this.#paused) return false;
    const running = this.#running.size;
    if (running < Math.max(1, this.#concurrency - 1)) return true;
    return running < this.#concurrency && Array.from(this.#running).every(({ entry }) => entry.priority < priority);
  }

  /** Starts the jobs that may, keeps the deadline timer right, and tells the state. */
  #changed(): void {
    this.#expire();
    for (let next = this.#waiting[0]; next !== undefined && this.#mayStart(next); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#run(next);
    }
    clearTimeout(this.#timer);
    const soonest = Math.min(...this.#waiting.map(({ deadlineAt }) => deadlineAt));
    if (Number.isFinite(soonest)) {
      this.#timer = setTimeout(() => this.#changed(), Math.min(maxTimerMs, Math.max(1, soonest - this.#now())));
      this.#timer.unref();
    }
    this.#state$.next(this.#snapshot());
  }

  #run(entry: Entry): void {
    const abort = new AbortController();
    let running: Running;
    // Not in this turn: a job that submits another must find the queue busy.
    const ended = Promise.resolve()
      .then(() => entry.start(abort.signal))
      .then((tell) => {
        this.#running.delete(running);
        this.#changed();
        tell();
      });
    running = { entry, abort, ended };
    this.#running.add(running);
  }

  #snapshot(): QueueState {
    return { waiting: this.#waiting.length, running: this.#running.size, counts: { ...this.#counts } };
  }
}
