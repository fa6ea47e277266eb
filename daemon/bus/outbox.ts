/**
 * What has to reach the broker and has not yet: QoS 1 messages in order, bounded in number, bytes and time. A message
 * stays here until it is acknowledged, so a lost connection costs nothing but a repetition; a durable one stays in a
 * file as well, so that the end of the process costs no more.
 */
import { HearthError } from '../errors';
import type { Stored } from './journal';

export interface Outgoing extends Stored {
  /**
   * `state` goes before all else, and newer state replaces what waits for the same topic. Where there is no room,
   * `disposable` messages give way first, then the oldest of the others.
   */
  readonly rank: 'state' | 'normal' | 'disposable';
  readonly durable: boolean;
}

/** Where durable messages are kept, too. */
export interface Store {
  put(message: Stored): number;
  remove(key: number): void;
}

interface Entry {
  readonly message: Outgoing;
  /** Of a durable message. */
  readonly key: number | undefined;
  readonly resolve: () => void;
  readonly reject: (error: HearthError) => void;
  inFlight: boolean;
  settled: boolean;
}

export interface OutboxOptions {
  readonly maxMessages: number;
  readonly maxBytes: number;
  /** At most this many unacknowledged at once, whatever the broker allows. */
  readonly maxInFlight: number;
  /** Hands one message to the broker; `acknowledged` is called once, with an error where the broker refused it. */
  readonly send: (message: Outgoing, acknowledged: (error?: HearthError) => void) => void;
  readonly store?: Store;
  readonly now?: () => number;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #entries: Entry[] = [];
  #bytes = 0;
  #open = false;
  #maxInFlight: number;
  /** Acknowledgements of an earlier connection do not count. */
  #generation = 0;
  #evicted = 0;
  #expired = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #idle = new Set<() => void>();

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#maxInFlight = options.maxInFlight;
  }

  get size(): number {
    return this.#entries.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Messages that gave way to others, or were too large to wait. */
  get evicted(): number {
    return this.#evicted;
  }

  /** Messages that waited longer than they are worth. */
  get expired(): number {
    return this.#expired;
  }

  /**
   * Resolves when the broker has it, or newer state in its place. Rejects with `BUS_OUTBOX_FULL`, `BUS_EXPIRED`, or what
   * `send` reported. `key`: it is in the store already.
   */
  push(message: Outgoing, key?: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const sizeBytes = sizeOf(message);
      if (sizeBytes > this.#options.maxBytes) {
        this.#evicted++;
        if (key !== undefined) this.#options.store?.remove(key);
        reject(
          new HearthError(
            'BUS_OUTBOX_FULL',
            `message of ${sizeBytes} bytes: expected at most ${this.#options.maxBytes} to wait`,
          ),
        );
        return;
      }
      if (message.options.retain === true) this.#replace(message.topic);
      const kept = key ?? (message.durable ? this.#options.store?.put(message) : undefined);
      this.#insert({ message, key: kept, resolve, reject, inFlight: false, settled: false });
      this.#bytes += sizeBytes;
      this.#makeRoom();
      this.#pump();
    });
  }

  /** A connection is there that takes so many unacknowledged ones: everything unacknowledged goes out, in order. */
  open(receiveMaximum = Number.POSITIVE_INFINITY): void {
    this.#generation++;
    this.#open = true;
    this.#maxInFlight = Math.min(this.#options.maxInFlight, receiveMaximum);
    for (const entry of this.#entries) entry.inFlight = false;
    this.#pump();
  }

  /** The connection is gone. */
  shut(): void {
    this.#generation++;
    this.#open = false;
    for (const entry of this.#entries) entry.inFlight = false;
    this.#expire();
  }

  /** Resolves when nothing waits, or after `timeoutMs`. */
  async drain(timeoutMs: number): Promise<void> {
    if (this.#entries.length === 0) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#idle.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#idle.add(done);
    });
  }

  /** Gives up everything that still waits; what is in the store stays there. */
  abandon(error: HearthError): void {
    this.#open = false;
    clearTimeout(this.#timer);
    for (const entry of [...this.#entries]) this.#settle(entry, error, { keep: true });
  }

  /** A retained message is worth nothing once there is a newer one. */
  #replace(topic: string): void {
    const older = this.#entries.find(
      ({ message, inFlight }) => !inFlight && message.options.retain === true && message.topic === topic,
    );
    if (older !== undefined) this.#settle(older);
  }

  #insert(entry: Entry): void {
    const firstOther =
      entry.message.rank === 'state'
        ? this.#entries.findIndex(({ message, inFlight }) => !inFlight && message.rank !== 'state')
        : -1;
    if (firstOther === -1) this.#entries.push(entry);
    else this.#entries.splice(firstOther, 0, entry);
  }

  #makeRoom(): void {
    while (this.#entries.length > this.#options.maxMessages || this.#bytes > this.#options.maxBytes) {
      // What is on the wire cannot be taken back; of the rest, the oldest is the least use to anyone.
      const waiting = this.#entries.filter(({ inFlight }) => !inFlight);
      const oldest =
        waiting.find(({ message }) => message.rank === 'disposable') ??
        waiting.find(({ message }) => message.rank === 'normal') ??
        waiting[0] ??
        this.#entries[0];
      if (oldest === undefined) return;
      this.#evicted++;
      this.#settle(
        oldest,
        new HearthError(
          'BUS_OUTBOX_FULL',
          `${oldest.message.topic}: gave way to newer messages while there was no connection`,
        ),
      );
    }
  }

  #pump(): void {
    this.#expire();
    if (!this.#open) return;
    let inFlight = this.#entries.reduce((count, entry) => count + (entry.inFlight ? 1 : 0), 0);
    for (const entry of [...this.#entries]) {
      if (inFlight >= this.#maxInFlight) return;
      if (entry.inFlight || entry.settled) continue;
      entry.inFlight = true;
      inFlight++;
      const generation = this.#generation;
      this.#options.send(entry.message, (error) => {
        if (generation !== this.#generation || entry.settled) return;
        this.#settle(entry, error);
        this.#pump();
      });
    }
  }

  /** Gives up what nobody wants any more, and comes back when the next one is due. */
  #expire(): void {
    clearTimeout(this.#timer);
    const now = (this.#options.now ?? Date.now)();
    for (const entry of this.#entries.filter(({ inFlight, message }) => !inFlight && message.expiresAtMs <= now)) {
      this.#expired++;
      this.#settle(
        entry,
        new HearthError('BUS_EXPIRED', `${entry.message.topic}: waited for the broker longer than it is worth`),
      );
    }
    const next = Math.min(
      ...this.#entries.filter(({ inFlight }) => !inFlight).map(({ message }) => message.expiresAtMs),
    );
    if (Number.isFinite(next))
      this.#timer = setTimeout(() => this.#expire(), Math.min(Math.max(1, next - now), 60_000)).unref();
  }

  #settle(entry: Entry, error?: HearthError, { keep = false } = {}): void {
    if (entry.settled) return;
    entry.settled = true;
    this.#entries.splice(this.#entries.indexOf(entry), 1);
    this.#bytes -= sizeOf(entry.message);
    if (entry.key !== undefined && !keep) this.#options.store?.remove(entry.key);
    if (error === undefined) entry.resolve();
    else entry.reject(error);
    if (this.#entries.length === 0) for (const done of [...this.#idle]) done();
  }
}

/** With what a requester may choose as freely as the rest. */
function sizeOf({ topic, payload, options }: Outgoing): number {
  return payload.length + Buffer.byteLength(topic) + (options.correlationData?.length ?? 0);
}
