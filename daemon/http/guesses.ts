/** Wrong tokens by address: a few a minute, then none is looked at until the minute is over. */
import { HearthError } from '../errors';

const maxGuesses = 5;
const periodMs = 60_000;
const maxAddresses = 1024;

export class Guesses {
  /** Oldest first. */
  readonly #wrong = new Map<string, { count: number; readonly until: number }>();

  constructor(private readonly now: () => number = Date.now) {}

  /** Throws `HTTP_TOO_MANY_GUESSES`. */
  check(address: string): void {
    const entry = this.#wrong.get(address);
    if (entry === undefined || entry.count < maxGuesses) return;
    const seconds = Math.ceil((entry.until - this.now()) / 1000);
    if (seconds > 0)
      throw new HearthError('HTTP_TOO_MANY_GUESSES', `${maxGuesses} wrong tokens came; try again in ${seconds} s`);
    this.#wrong.delete(address);
  }

  wrong(address: string): void {
    const now = this.now();
    for (const [known, { until }] of this.#wrong) {
      if (until > now && this.#wrong.size < maxAddresses) break;
      this.#wrong.delete(known);
    }
    const entry = this.#wrong.get(address);
    if (entry === undefined) this.#wrong.set(address, { count: 1, until: now + periodMs });
    else entry.count++;
  }
}
