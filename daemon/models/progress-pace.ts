/** Progress at a pace somebody can follow: a new phase and its end at once, what comes between once an interval, the newest. */
import type { Progress } from './model-update';

export class ProgressPace {
  readonly #tell: (progress: Progress) => void;
  readonly #intervalMs: number;
  #phase: Progress['phase'] | undefined;
  #next: Progress | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(tell: (progress: Progress) => void, intervalMs = 1000) {
    this.#tell = tell;
    this.#intervalMs = intervalMs;
  }

  note(progress: Progress): void {
    const whole = progress.receivedBytes === progress.totalBytes;
    this.#next = progress;
    if (progress.phase !== this.#phase || whole || this.#timer === undefined) this.#now();
  }

  /** Nothing is told any more. */
  end(): void {
    clearTimeout(this.#timer);
    this.#next = undefined;
  }

  #now(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const progress = this.#next;
    if (progress === undefined) return;
    this.#next = undefined;
    this.#phase = progress.phase;
    this.#tell(progress);
    this.#timer = setTimeout(() => this.#now(), this.#intervalMs);
    this.#timer.unref();
  }
}
