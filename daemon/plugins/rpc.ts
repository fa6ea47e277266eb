/**
 * Calls in both directions over one message port. Each side names the methods it answers and the notices it takes; the
 * types of both are in `protocol.ts`. Values are structured clones; buffers in a `Transferred` result move instead.
 */
import type { Transferable } from 'node:worker_threads';

export interface Port {
  postMessage(value: unknown, transfer?: readonly Transferable[]): void;
  on(event: 'message', listener: (value: unknown) => void): unknown;
}

// biome-ignore lint/suspicious/noExplicitAny: the parameters of a method are its own affair.
export type Methods = Readonly<Record<string, (...args: any[]) => unknown>>;

/** An error as it crosses: `code` is undefined where the thrown value had none. */
export interface WireError {
  readonly code?: string | undefined;
  readonly message: string;
  readonly retryable: boolean;
}

type WireMessage =
  | { readonly type: 'call'; readonly id: number; readonly method: string; readonly args: readonly unknown[] }
  | { readonly type: 'notice'; readonly method: string; readonly args: readonly unknown[] }
  | { readonly type: 'result'; readonly id: number; readonly value: unknown }
  | { readonly type: 'error'; readonly id: number; readonly error: WireError };

/** What a method returns when buffers in `value` are to be moved, not copied. */
export class Transferred<T> {
  constructor(
    readonly value: T,
    readonly transfer: readonly Transferable[],
  ) {}
}

type Result<F> = F extends (...args: never[]) => infer R
  ? Awaited<R> extends Transferred<infer T>
    ? T
    : Awaited<R>
  : never;
type Args<F> = F extends (...args: infer A) => unknown ? A : never;

const maxMessageCharacters = 500;

export function toWireError(error: unknown): WireError {
  const thrown =
    typeof error === 'object' && error !== null
      ? (error as { code?: unknown; message?: unknown; retryable?: unknown })
      : undefined;
  return {
    code: typeof thrown?.code === 'string' ? thrown.code : undefined,
    message: String(thrown?.message ?? error).slice(0, maxMessageCharacters),
    retryable: thrown?.retryable === true,
  };
}

interface Pending {
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

export interface RpcOptions {
  readonly methods: Methods;
  readonly notices: Methods;
  /** Makes the error a caller sees of what came over. */
  readonly toError: (error: WireError) => Error;
  /** Something came that is no message of this protocol: others may post on the port, too. */
  readonly onMalformed: (reason: string) => void;
}

export class Rpc<Remote, RemoteNotices> {
  readonly #port: Port;
  readonly #options: RpcOptions;
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  #closed: Error | undefined;

  constructor(port: Port, options: RpcOptions) {
    this.#port = port;
    this.#options = options;
    port.on('message', (message) => {
      try {
        this.#receive(message as WireMessage);
      } catch (error) {
        options.onMalformed(toWireError(error).message);
      }
    });
  }

  /** Rejects with the other side's error, or with `DataCloneError` for arguments that cannot cross. */
  call<K extends keyof Remote & string>(
    method: K,
    args: Args<Remote[K]>,
    transfer: readonly Transferable[] = [],
  ): Promise<Result<Remote[K]>> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== undefined) {
        reject(this.#closed);
        return;
      }
      const id = this.#nextId++;
      this.#post({ type: 'call', id, method, args }, transfer);
      this.#pending.set(id, { resolve, reject });
    });
  }

  notify<K extends keyof RemoteNotices & string>(method: K, args: Args<RemoteNotices[K]>): void {
    if (this.#closed === undefined) this.#post({ type: 'notice', method, args });
  }

  /** Rejects what is pending and every later call with `error`; what still comes in is ignored. */
  close(error: Error): void {
    this.#closed ??= error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  #post(message: WireMessage, transfer: readonly Transferable[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  #receive(message: WireMessage): void {
    if (this.#closed !== undefined) return;
    switch (message.type) {
      case 'call':
        void this.#answer(message.id, message.method, message.args);
        break;
      case 'notice':
        if (!Object.hasOwn(this.#options.notices, message.method)) throw new Error('expected a known notice');
        this.#options.notices[message.method]?.(...message.args);
        break;
      case 'result':
        this.#take(message.id)?.resolve(message.value as never);
        break;
      case 'error':
        this.#take(message.id)?.reject(this.#options.toError(message.error));
        break;
      default:
        throw new Error('expected a call, a notice, a result or an error');
    }
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  async #answer(id: number, method: string, args: readonly unknown[]): Promise<void> {
    try {
      const handler = Object.hasOwn(this.#options.methods, method) ? this.#options.methods[method] : undefined;
      if (handler === undefined) throw new Error(`there is no method ${method}`);
      const returned: unknown = await handler(...args);
      if (this.#closed !== undefined) return;
      if (returned instanceof Transferred) this.#post({ type: 'result', id, value: returned.value }, returned.transfer);
      else this.#post({ type: 'result', id, value: returned });
    } catch (error) {
      if (this.#closed === undefined) this.#post({ type: 'error', id, error: toWireError(error) });
    }
  }
}
