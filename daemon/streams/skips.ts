/**
 * Every input that is not used ends here: counted per stream and reason, and published as `skipped` events. A camera at
 * 30 frames a second must not become 30 events a second, so a stream and reason get at most one event per window; its
 * `count` says how many inputs it stands for, and the counts of all events add up to the inputs skipped.
 */
import { asyncScheduler, type Observable, type SchedulerLike, Subject, type Subscription } from 'rxjs';
import { ulid } from 'ulid';
import type { ErrorCode, HearthError } from '../errors';
import type { SkipReason, StreamEvent } from '../events';

/** The stream that stands for all inputs without a usable stream name, and for those over the limit of streams. */
export const otherStream = '_other';

export interface Skip {
  readonly stream: string;
  readonly reason: SkipReason;
  /** Unix time in seconds when the input arrived; now, when left out. */
  readonly capturedTs?: number;
  readonly topic?: string;
  readonly sha256?: string;
  readonly error?: HearthError;
  /** Inputs it stands for; 1 when left out. */
  readonly count?: number;
}

export interface SkipsOptions {
  readonly node: string;
  /** Milliseconds between two events of a stream and reason. */
  readonly windowMs?: number;
  /** Also the clock: `scheduler.now()` is Unix time in milliseconds. */
  readonly scheduler?: SchedulerLike;
}

export type SkipCounts = Readonly<Record<string, Readonly<Partial<Record<SkipReason, number>>>>>;

interface Window {
  /** Skips since the last event. */
  count: number;
  latest: Skip;
  timer: Subscription;
}

const reasons: Partial<Record<ErrorCode, SkipReason>> = {
  QUEUE_FULL: 'queue-full',
  QUEUE_EVICTED: 'queue-full',
  MEDIA_STORE_FULL: 'queue-full',
  JOB_DEADLINE: 'deadline',
  BARGE_IN: 'barge-in',
  SHUTDOWN: 'shutdown',
  ITEM_UNWANTED: 'no-consumer',
  MEDIA_IMAGE_TOO_LARGE: 'too-large',
  MEDIA_TOO_LARGE: 'too-large',
  MEDIA_AUDIO_TOO_LONG: 'too-long',
};

/** The reason when an error means "not used" rather than "tried and failed"; undefined otherwise. */
export function skipReasonOf(error: unknown): SkipReason | undefined {
  const code = typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === 'string' && Object.hasOwn(reasons, code) ? reasons[code as ErrorCode] : undefined;
}

export class Skips {
  readonly #event$ = new Subject<StreamEvent>();
  /** `skipped` events, ready to be published. Completes on `stop`. */
  readonly event$: Observable<StreamEvent> = this.#event$.asObservable();
  readonly #node: string;
  readonly #windowMs: number;
  readonly #scheduler: SchedulerLike;
  readonly #windows = new Map<string, Window>();
  readonly #counts = new Map<string, Map<SkipReason, number>>();
  #stopped = false;

  constructor({ node, windowMs = 1000, scheduler = asyncScheduler }: SkipsOptions) {
    this.#node = node;
    this.#windowMs = windowMs;
    this.#scheduler = scheduler;
  }

  /** Skips by stream and reason since the start. */
  counts(): SkipCounts {
    return Object.fromEntries(Array.from(this.#counts, ([stream, byReason]) => [stream, Object.fromEntries(byReason)]));
  }

  skip(skip: Skip): void {
    const byReason = this.#counts.get(skip.stream) ?? new Map<SkipReason, number>();
    this.#counts.set(skip.stream, byReason);
    const { count = 1 } = skip;
    byReason.set(skip.reason, (byReason.get(skip.reason) ?? 0) + count);

    const stamped = { ...skip, capturedTs: skip.capturedTs ?? this.#scheduler.now() / 1000 };
    const key = `${skip.stream}/${skip.reason}`;
    const open = this.#windows.get(key);
    if (open !== undefined) {
      open.count += count;
      open.latest = stamped;
      return;
    }
    this.#publish(stamped, count);
    if (!this.#stopped) this.#openWindow(key, stamped);
  }

  /** Publishes what is still being counted, without waiting for the window to end. */
  flush(): void {
    for (const [key, window] of this.#windows) {
      window.timer.unsubscribe();
      this.#windows.delete(key);
      if (window.count > 0) this.#publish(window.latest, window.count);
    }
  }

  /** Flushes and completes `event$`; what is skipped after that is only counted. */
  stop(): void {
    this.#stopped = true;
    this.flush();
    this.#event$.complete();
  }

  #openWindow(key: string, latest: Skip): void {
    const timer = this.#scheduler.schedule(() => {
      const window = this.#windows.get(key);
      this.#windows.delete(key);
      if (window === undefined || window.count === 0) return;
      this.#publish(window.latest, window.count);
      this.#openWindow(key, window.latest);
    }, this.#windowMs);
    this.#windows.set(key, { count: 0, latest, timer });
  }

  #publish(skip: Skip, count: number): void {
    const now = this.#scheduler.now();
    const capturedTs = skip.capturedTs ?? now / 1000;
    this.#event$.next({
      v: 1,
      id: ulid(),
      kind: 'skipped',
      node: this.#node,
      stream: skip.stream,
      ts: now / 1000,
      captured_ts: capturedTs,
      latency_ms: Math.max(0, Math.round(now - capturedTs * 1000)),
      reason: skip.reason,
      count,
      ...(skip.topic !== undefined && {
        source: { topic: skip.topic, ...(skip.sha256 !== undefined && { sha256: skip.sha256 }) },
      }),
      ...(skip.error !== undefined && { error: skip.error.toJSON() }),
    });
  }
}
