/**
 * What happens, for everyone who watches the page: server-sent events from a bounded memory. Nothing is queued for a
 * client that reads slowly. It has a place in the events that are kept, and of what only has a present state it gets
 * the latest; one that falls behind all that is kept, or comes from before a restart, is told to look anew.
 */
import { randomBytes } from 'node:crypto';

export interface FeedOptions {
  /** Events that are kept, and their characters together. */
  readonly maxEvents: number;
  readonly maxCharacters: number;
  /** A comment goes out where nothing else did for this long, so that both ends notice a dead connection. */
  readonly heartbeatMs: number;
}

interface Kept {
  readonly data: unknown;
  readonly piece: string;
}

interface Client {
  /** States it has not been told yet. */
  readonly stale: Set<string>;
  wake: () => void;
}

function pieceOf(name: string, data: unknown, id?: string): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

export class Feed {
  readonly #options: FeedOptions;
  /** Of this process: sequence numbers of another one mean nothing here. */
  readonly #epoch = randomBytes(6).toString('hex');
  readonly #kept: Kept[] = [];
  #characters = 0;
  /** Sequence number of the first one in `#kept`. */
  #first = 1;
  readonly #states = new Map<string, string>();
  readonly #clients = new Set<Client>();

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Of the latest event; what `follow` goes on after. */
  get lastId(): string {
    return this.#id(this.#next - 1);
  }

  /** The events that are kept, oldest first. */
  recent(): unknown[] {
    return this.#kept.map(({ data }) => data);
  }

  /** Something happened: every client hears of it once. */
  append(name: string, data: unknown): void {
    const { maxEvents, maxCharacters } = this.#options;
    const piece = pieceOf(name, data, this.#id(this.#next));
    this.#kept.push({ data, piece });
    this.#characters += piece.length;
    while (this.#kept.length > maxEvents || this.#characters > maxCharacters) {
      this.#characters -= this.#kept.shift()?.piece.length ?? 0;
      this.#first++;
    }
    for (const client of this.#clients) client.wake();
  }

  /** Something is now like this: clients hear of the latest for each `key`. */
  set(key: string, name: string, data: unknown): void {
    this.#states.set(key, pieceOf(name, data));
    for (const client of this.#clients) {
      client.stale.add(key);
      client.wake();
    }
  }

  /** Nothing is to be said about `key` any more. */
  remove(key: string): void {
    this.#states.delete(key);
    for (const { stale } of this.#clients) stale.delete(key);
  }

  /**
   * Server-sent events from the one after the id `after` on, until `signal` is aborted. What is said first is how all
   * states are. Without an `after` that is still known, an event `reset` comes first.
   */
  async *follow(after: string | undefined, signal: AbortSignal): AsyncGenerator<string, void> {
    const client: Client = { stale: new Set(this.#states.keys()), wake: () => undefined };
    const aborted = (): void => client.wake();
    this.#clients.add(client);
    signal.addEventListener('abort', aborted);
    try {
      yield 'retry: 2000\n\n';
      let next = this.#after(after);
      while (!signal.aborted) {
        let pieces = '';
        if (next === undefined || next < this.#first) pieces = pieceOf('reset', {}, this.lastId);
        else for (const { piece } of this.#kept.slice(next - this.#first)) pieces += piece;
        next = this.#next;
        for (const key of client.stale) pieces += this.#states.get(key) ?? '';
        client.stale.clear();
        if (pieces !== '') yield pieces;
        else if (!(await this.#woken(client))) yield ':\n\n';
      }
    } finally {
      signal.removeEventListener('abort', aborted);
      this.#clients.delete(client);
    }
  }

  /** Resolves to false when the heartbeat is due. */
  async #woken(client: Client): Promise<boolean> {
    return await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), this.#options.heartbeatMs);
      timer.unref();
      client.wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  get #next(): number {
    return this.#first + this.#kept.length;
  }

  #id(sequence: number): string {
    return `${this.#epoch}-${sequence}`;
  }

  /** The sequence number after the one of an id; undefined for an id that is not of this process. */
  #after(id: string | undefined): number | undefined {
    const [epoch, sequence] = (id ?? '').split('-');
    const number = /^\d{1,15}$/.test(sequence ?? '') ? Number(sequence) : Number.NaN;
    return epoch === this.#epoch && number < this.#next ? number + 1 : undefined;
  }
}
