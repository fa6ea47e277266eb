/** The sessions jobs run on: made when first needed, never more than a fixed number, so that their memory is bounded. */
import { HearthError } from '../errors';

/** What the pool needs of a session. */
export interface Pooled {
  /** Memory of its keys and values. */
  readonly kvBytes: number;
}

export class SessionPool<S extends Pooled> {
  /** The one used last at the end: a conversation is likely to find its own timeline there. */
  readonly #idle: S[] = [];
  /** Every session there is, with its memory when it was last idle. */
  readonly #sessions = new Map<S, number>();

  constructor(
    private readonly make: () => S,
    readonly size: number,
  ) {}

  get available(): boolean {
    return this.#idle.length > 0 || this.#sessions.size < this.size;
  }

  /** Memory of all keys and values; what jobs in hand have added is counted when they end. */
  get kvBytes(): number {
    let sum = 0;
    for (const bytes of this.#sessions.values()) sum += bytes;
    return sum;
  }

  /** Throws what making a session does; ask `available` before. */
  take(): S {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    if (!this.available) throw new HearthError('INTERNAL', `a session was wanted beyond the ${this.size} there may be`);
    const session = this.make();
    this.#sessions.set(session, session.kvBytes);
    return session;
  }

  give(session: S): void {
    this.#sessions.set(session, session.kvBytes);
    this.#idle.push(session);
  }
}
