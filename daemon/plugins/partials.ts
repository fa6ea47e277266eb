import type { Bus } from '../bus/bus';

/** At most four a second: a subscriber reads along, it does not count tokens. */
const minIntervalMs = 250;

/** Publishes the text of one job while it grows. */
export class Partials {
  #text = '';
  #seq = 0;
  #nextAt = 0;

  constructor(
    private readonly bus: Pick<Bus, 'publishPartial'>,
    private readonly stream: string,
    private readonly id: string,
  ) {}

  push(piece: string): void {
    this.#text += piece;
    const now = Date.now();
    if (now < this.#nextAt) return;
    this.#nextAt = now + minIntervalMs;
    this.bus.publishPartial(this.stream, { id: this.id, seq: this.#seq++, text: this.#text });
  }
}
