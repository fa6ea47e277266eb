/** What rxjs lacks for live input: operators that drop visibly. */
import {
  asyncScheduler,
  from,
  type MonoTypeOperatorFunction,
  Observable,
  type ObservableInput,
  type OperatorFunction,
  type SchedulerLike,
} from 'rxjs';

/**
 * Lets a value through when at least `minIntervalMs()` has passed since the last one it let through; the others go to
 * `onSkip`. Unlike `throttleTime` it holds nothing back and hides nothing.
 */
export function rateLimit<T>(
  minIntervalMs: () => number,
  onSkip: (value: T) => void,
  scheduler: SchedulerLike = asyncScheduler,
): MonoTypeOperatorFunction<T> {
  return (source) =>
    new Observable((subscriber) => {
      let last = Number.NEGATIVE_INFINITY;
      return source.subscribe({
        next: (value) => {
          const now = scheduler.now();
          // A clock that was set back must not silence the stream.
          if (now >= last && now - last < minIntervalMs()) {
            onSkip(value);
            return;
          }
          last = now;
          subscriber.next(value);
        },
        error: (error) => subscriber.error(error),
        complete: () => subscriber.complete(),
      });
    });
}

export interface OneAtATimeOptions<T> {
  /** How many values may wait. */
  readonly capacity: number;
  /** Which one leaves when there is no room: `oldest` and a capacity of 1 is "latest wins", `newest` a bounded FIFO. */
  readonly drop: 'oldest' | 'newest';
  /** Hears of every value that `project` never saw; `unsubscribed` are those that still waited at the end. */
  readonly onDropped: (value: T, why: 'full' | 'unsubscribed') => void;
}

/**
 * Runs `project` for one value at a time, in order, with a bounded number waiting. When the source completes, what runs
 * and what waits is finished first.
 */
export function oneAtATime<T, R>(
  project: (value: T) => ObservableInput<R>,
  options: OneAtATimeOptions<T>,
): OperatorFunction<T, R> {
  const { capacity, drop, onDropped } = options;
  return (source) =>
    new Observable((subscriber) => {
      let running = false;
      let completed = false;
      // Boxed, so that undefined is a value like any other.
      const waiting: { readonly value: T }[] = [];
      const run = (value: T): void => {
        running = true;
        subscriber.add(
          from(project(value)).subscribe({
            next: (result) => subscriber.next(result),
            error: (error) => subscriber.error(error),
            complete: () => {
              running = false;
              const next = waiting.shift();
              if (next !== undefined) run(next.value);
              else if (completed) subscriber.complete();
            },
          }),
        );
      };
      subscriber.add(
        source.subscribe({
          next: (value) => {
            if (!running) {
              run(value);
              return;
            }
            waiting.push({ value });
            const dropped =
              waiting.length <= capacity ? undefined : drop === 'oldest' ? waiting.shift() : waiting.pop();
            if (dropped !== undefined) onDropped(dropped.value, 'full');
          },
          error: (error) => subscriber.error(error),
          complete: () => {
            completed = true;
            if (!running) subscriber.complete();
          },
        }),
      );
      subscriber.add(() => {
        for (const { value } of waiting.splice(0)) onDropped(value, 'unsubscribed');
      });
    });
}
