/** The MQTT subscriptions of one run of a plugin, with a bound on what it has not taken yet. */
import type { Bus, Unsubscribe } from '../bus/bus';
import { HearthError } from '../errors';
import { type Log, messageOf } from '../log';

/** Messages on their way to one plugin at most. */
const maxInHand = 64;
const reportIntervalMs = 10_000;

export interface SubscriptionsOptions {
  readonly bus: Pick<Bus, 'subscribe'>;
  readonly deliver: (filter: string, topic: string, payload: Uint8Array<ArrayBuffer>) => Promise<void>;
  readonly log: Log;
}

function reasonOf(error: unknown): string {
  return error instanceof HearthError ? `${error.code}: ${error.message}` : messageOf(error);
}

export class Subscriptions {
  readonly #ends = new Map<string, Unsubscribe>();
  #inHand = 0;
  #dropped = 0;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(private readonly options: SubscriptionsOptions) {}

  async add(filter: string): Promise<void> {
    if (this.#ends.has(filter)) return;
    const end = await this.options.bus.subscribe(filter, (topic, payload) => this.#take(filter, topic, payload), {
      qos: 1,
      acceptRetained: true,
    });
    if (this.#closed) await end();
    else this.#ends.set(filter, end);
  }

  close(): void {
    this.#closed = true;
    for (const end of this.#ends.values()) {
      end().catch((error: unknown) => this.options.log.debug({ reason: String(error) }, 'an unsubscribe failed'));
    }
    this.#ends.clear();
  }

  #take(filter: string, topic: string, payload: Buffer): void {
    if (this.#closed) return;
    if (this.#inHand >= maxInHand) {
      this.#drop();
      return;
    }
    this.#inHand++;
    this.options
      .deliver(filter, topic, new Uint8Array(payload))
      .catch((error: unknown) => this.options.log.warn({ topic, reason: reasonOf(error) }, 'a message handler failed'))
      .finally(() => this.#inHand--);
  }

  #drop(): void {
    this.#dropped++;
    const now = performance.now();
    if (now - this.#reportedAt < reportIntervalMs) return;
    this.#reportedAt = now;
    this.options.log.warn(
      { dropped: this.#dropped },
      `messages came faster than the plugin takes them; ${this.#dropped} dropped so far`,
    );
  }
}
