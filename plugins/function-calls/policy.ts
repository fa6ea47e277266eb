/**
 * Whether a call that the model proposed may take effect: allow-lists by where it came from, dry runs, confirmation and
 * rate limits. Plain decisions; what follows from them is done elsewhere.
 */
import { PluginError } from '../../daemon/plugins/api';
import type { Call } from './functions';

export type Source = 'speech' | 'picture' | 'text';

export interface Origin {
  readonly source: Source;
  /** The microphone or camera; null for a request. */
  readonly stream: string | null;
}

export interface RateLimit {
  readonly calls: number;
  readonly seconds: number;
}

/** What holds for one function. */
export interface FunctionPolicy {
  readonly confirm?: boolean;
  readonly dryRun?: boolean;
  readonly rateLimit?: RateLimit;
}

export interface PolicyOptions {
  /** Names of functions, or beginnings of names with a `*` behind; all where there is no list. */
  readonly allow: { readonly [source in Source]?: readonly string[] };
  readonly allowStreams: Readonly<Record<string, readonly string[]>>;
  readonly dryRun: boolean;
  readonly confirmSeconds: number;
  readonly rateLimit: RateLimit | null;
}

export type Decision =
  | { readonly verdict: 'execute' | 'dry-run' | 'confirm' }
  | { readonly verdict: 'refuse'; readonly reason: 'not-allowed' | 'rate-limited' | 'too-many-pending' };

export interface Pending {
  readonly id: string;
  readonly call: Call;
  readonly origin: Origin;
  /** Unix time in milliseconds. */
  readonly expiresAt: number;
}

const maxPending = 64;
const maxBuckets = 4096;

export function isListed(name: string, list: readonly string[] | undefined): boolean {
  return (
    list === undefined ||
    list.some((entry) => (entry.endsWith('*') ? name.startsWith(entry.slice(0, -1)) : name === entry))
  );
}

/** A bucket holds `calls` tokens at most and gains as many in `seconds`. Times in milliseconds. */
class Buckets {
  readonly #levels = new Map<string, { readonly tokens: number; readonly at: number }>();

  take(key: string, { calls, seconds }: RateLimit, now: number): boolean {
    const { tokens, at } = this.#levels.get(key) ?? { tokens: calls, at: now };
    const level = Math.min(calls, tokens + (Math.max(0, now - at) * calls) / (seconds * 1000));
    const taken = level >= 1;
    this.#levels.delete(key);
    this.#levels.set(key, { tokens: taken ? level - 1 : level, at: now });
    const [oldest] = this.#levels.keys();
    if (this.#levels.size > maxBuckets && oldest !== undefined) this.#levels.delete(oldest);
    return taken;
  }
}

export class Policy {
  readonly #options: PolicyOptions;
  readonly #now: () => number;
  readonly #buckets = new Buckets();
  readonly #pending = new Map<string, Pending>();

  /** `now`: Unix time in milliseconds. */
  constructor(options: PolicyOptions, now: () => number = Date.now) {
    this.#options = options;
    this.#now = now;
  }

  /** Takes a token of the rate limit where the call may go on, a dry run included. */
  decide({ name }: Call, origin: Origin, own: FunctionPolicy, dryRun: boolean): Decision {
    const { allow, allowStreams, rateLimit: general } = this.#options;
    const streams = origin.stream !== null && Object.hasOwn(allowStreams, origin.stream);
    const ofStream = streams ? allowStreams[origin.stream ?? ''] : undefined;
    if (!isListed(name, allow[origin.source]) || !isListed(name, ofStream))
      return { verdict: 'refuse', reason: 'not-allowed' };
    const rateLimit = own.rateLimit ?? general;
    // A request has no stream; neither is a stream's name.
    const key = JSON.stringify([name, origin.stream]);
    if (rateLimit !== null && !this.#buckets.take(key, rateLimit, this.#now()))
      return { verdict: 'refuse', reason: 'rate-limited' };
    if (dryRun || this.#options.dryRun || own.dryRun === true) return { verdict: 'dry-run' };
    if (own.confirm !== true) return { verdict: 'execute' };
    return this.#pending.size < maxPending ? { verdict: 'confirm' } : { verdict: 'refuse', reason: 'too-many-pending' };
  }

  /** Remembers a call until it is confirmed, rejected or expires. */
  hold(id: string, call: Call, origin: Origin): Pending {
    const pending = { id, call, origin, expiresAt: this.#now() + this.#options.confirmSeconds * 1000 };
    this.#pending.set(id, pending);
    return pending;
  }

  /** Takes it out: a call is confirmed or rejected once. Throws `CALL_NOT_PENDING`. */
  release(id: string): Pending {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (pending !== undefined && pending.expiresAt > this.#now()) return pending;
    const why = pending === undefined ? 'the id of a call that waits for it' : 'it sooner: the call has expired';
    throw new PluginError('CALL_NOT_PENDING', `call: expected ${why}, received ${JSON.stringify(id.slice(0, 60))}`);
  }

  /** Takes out what has expired, or will have by then. */
  expire(now = this.#now()): Pending[] {
    const expired = [...this.#pending.values()].filter(({ expiresAt }) => expiresAt <= now);
    for (const { id } of expired) this.#pending.delete(id);
    return expired;
  }
}
