/** What is told while a model is loaded, which takes a moment from an SSD and minutes from a slow SD card. */
import type { Log } from '../log';

export interface LoadProgressOptions {
  /** Publishes a health report. */
  readonly report: () => void;
  readonly log: Log;
  readonly now?: () => number;
}

const reportIntervalMs = 2000;
const logIntervalMs = 10_000;

export class LoadProgress {
  readonly #options: LoadProgressOptions;
  #fraction = Number.POSITIVE_INFINITY;
  #reportedAt = 0;
  #loggedAt = 0;

  constructor(options: LoadProgressOptions) {
    this.#options = options;
  }

  /** `fraction` of the weights is in memory: a line in the log every 10 s, a health report every 2 s. A smaller one than before is another load. */
  note(fraction: number): void {
    const { report, log, now = Date.now } = this.#options;
    const at = now();
    if (fraction < this.#fraction) {
      this.#reportedAt = at;
      this.#loggedAt = at;
    }
    this.#fraction = fraction;
    if (at - this.#loggedAt >= logIntervalMs) {
      this.#loggedAt = at;
      log.info(
        { fraction: Math.round(fraction * 100) / 100 },
        `the model is loaded to ${Math.floor(fraction * 100)} %`,
      );
    }
    if (at - this.#reportedAt >= reportIntervalMs) {
      this.#reportedAt = at;
      report();
    }
  }
}
