/**
 * The MQTT subscriptions of one run of a plugin, with a bound on what it has not taken yet. Where another run is to take
 * over, what comes in between is held for it.
 */
import type { Bus, Unsubscribe } from '../bus/bus';
import { HearthError } from '../errors';
import { type Log, messageOf } from '../log';

/** Messages on their way to one plugin at most. */
const maxInHand = 64;
const reportIntervalMs = 10_000;

export interface SubscriptionsOptions {
  readonly bus: Pick<Bus, 'subscribe'>;
  readonly deliver: (filter: string, topic: string, payload: Uint8Array<ArrayBuffer>) => Promise<void>;
  /** The subscriptions of the run before, which hold what comes until this one subscribes. */
  readonly predecessor?: () => Subscriptions | undefined;
  readonly log: Log;
}

interface Message {
  readonly topic: string;
  readonly payload: Buffer;
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
  /** By filter, once a successor is waited for. */
  #held: Map<string, Message[]> | undefined;

  constructor(private readonly options: SubscriptionsOptions) {}

  /** Messages whose handlers run. */
  get inHand(): number {
    return this.#inHand;
  }

  async add(filter: string): Promise<void> {
    if (this.#ends.has(filter)) return;
    const { bus } = this.options;
    const predecessor = this.options.predecessor?.();
    // All in one turn: a message goes to one of the two, never to both and never to none.
    for (const { topic, payload } of predecessor?.handOver(filter) ?? []) this.#take(filter, topic, payload);
    const subscribed = bus.subscribe(filter, (topic, payload) => this.#take(filter, topic, payload), {
      qos: 1,
      acceptRetained: true,
    });
    predecessor?.end(filter);
    const end = await subscribed;
    if (this.#closed) await end();
    else this.#ends.set(filter, end);
  }

  /** From now on what comes is held for a successor; `close` leaves the subscriptions until `release`. */
  hold(): void {
    this.#held = new Map(Array.from(this.#ends.keys(), (filter) => [filter, []]));
  }

  /** The successor has subscribed to what it wants. */
  release(): void {
    this.#held = undefined;
    this.close();
  }

  close(): void {
    this.#closed = true;
    if (this.#held !== undefined) return;
    for (const filter of [...this.#ends.keys()]) this.end(filter);
  }

  /** What was held; from now on what comes is the successor's. */
  handOver(filter: string): readonly Message[] {
    const held = this.#held?.get(filter) ?? [];
    this.#held?.delete(filter);
    return held;
  }

  end(filter: string): void {
    const end = this.#ends.get(filter);
    this.#ends.delete(filter);
    end?.().catch((error: unknown) => this.options.log.debug({ reason: String(error) }, 'an unsubscribe failed'));
  }

  #take(filter: string, topic: string, payload: Buffer): void {
    if (this.#held !== undefined) {
      this.#hold(filter, { topic, payload });
      return;
    }
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

  #hold(filter: string, message: Message): void {
    const held = this.#held?.get(filter);
    // Taken over already.
    if (held === undefined) return;
    if (held.length >= maxInHand) this.#drop();
    else held.push(message);
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
