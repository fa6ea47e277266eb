/**
 * What has to reach the broker and has not yet: QoS 1 messages in order, bounded in number, bytes and time. A message
 * stays here until it is acknowledged, so a lost connection costs nothing but a repetition.
 */
import { HearthError } from '../errors';

export interface Outgoing {
  readonly topic: string;
  readonly payload: Buffer;
  /** Unix time in milliseconds after which it is worth nothing; infinite for what stays true. */
  readonly expiresAtMs: number;
}

interface Entry<T extends Outgoing> {
  readonly message: T;
  readonly resolve: () => void;
  readonly reject: (error: HearthError) => void;
  inFlight: boolean;
  settled: boolean;
}

export interface OutboxOptions<T extends Outgoing> {
  readonly maxMessages: number;
  readonly maxBytes: number;
  /** At most this many unacknowledged at once. */
  readonly maxInFlight: number;
  /** Hands one message to the broker; `acknowledged` is called once, with an error where the broker refused it. */
  readonly send: (message: T, acknowledged: (error?: HearthError) => void) => void;
  readonly now?: () => number;
}

export class Outbox<T extends Outgoing> {
  readonly #options: OutboxOptions<T>;
  readonly #entries: Entry<T>[] = [];
  #bytes = 0;
  #open = false;
  /** Acknowledgements of an earlier connection do not count. */
  #generation = 0;
  #dropped = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #idle = new Set<() => void>();

  constructor(options: OutboxOptions<T>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.length;
  }

  /** Messages that were given up: expired, or pushed out by newer ones. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Resolves when the broker has it. Rejects with `BUS_OUTBOX_FULL`, `BUS_EXPIRED`, or what `send` reported. */
  push(message: T): Promise<void> {
    return new Promise((resolve, reject) => {
      if (message.payload.length > this.#options.maxBytes) {
        this.#dropped++;
        reject(
          new HearthError(
            'BUS_OUTBOX_FULL',
            `message of ${message.payload.length} bytes: expected at most ${this.#options.maxBytes} to wait`,
          ),
        );
        return;
      }
      this.#entries.push({ message, resolve, reject, inFlight: false, settled: false });
      this.#bytes += message.payload.length;
      this.#makeRoom();
      this.#pump();
    });
  }

  /** A connection is there: everything unacknowledged goes out, in order. */
  open(): void {
    this.#generation++;
    this.#open = true;
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

  /** Gives up everything that still waits. */
  abandon(error: HearthError): void {
    this.#open = false;
    clearTimeout(this.#timer);
    for (const entry of [...this.#entries]) this.#settle(entry, error);
  }

  #makeRoom(): void {
    while (this.#entries.length > this.#options.maxMessages || this.#bytes > this.#options.maxBytes) {
      // The oldest is the least use to anyone; what is on the wire cannot be taken back.
      const oldest = this.#entries.find((entry) => !entry.inFlight) ?? this.#entries[0];
      if (oldest === undefined) return;
      this.#dropped++;
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
      if (inFlight >= this.#options.maxInFlight) return;
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
      this.#dropped++;
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

  #settle(entry: Entry<T>, error?: HearthError): void {
    if (entry.settled) return;
    entry.settled = true;
    this.#entries.splice(this.#entries.indexOf(entry), 1);
    this.#bytes -= entry.message.payload.length;
    if (error === undefined) entry.resolve();
    else entry.reject(error);
    if (this.#entries.length === 0) for (const done of [...this.#idle]) done();
  }
}
