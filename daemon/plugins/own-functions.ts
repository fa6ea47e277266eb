/**
 * The functions one run of a plugin has registered. They end with it, unless another run is to take over: then they stay
 * listed, and calls wait, until that one has registered them again.
 */
import { isRecord } from '../json';
import type { CallContext } from './api';
import type { FunctionRegistry, Registration } from './function-registry';

export interface OwnFunctionsOptions {
  readonly registry: FunctionRegistry;
  readonly plugin: () => string;
  readonly run: (name: string, args: Readonly<Record<string, unknown>>, context: CallContext) => Promise<unknown>;
  /** How long they stay after `release`: some are registered on a message that comes after `start`. */
  readonly graceMs: number;
}

export class OwnFunctions {
  readonly #registrations = new Map<string, Registration>();
  #inHand = 0;
  #kept = false;
  #held = false;

  constructor(private readonly options: OwnFunctionsOptions) {}

  /** Calls that run. */
  get inHand(): number {
    return this.#inHand;
  }

  /** Throws `CALL_FUNCTION_INVALID`. */
  register(declaration: unknown): void {
    const { registry, plugin, run } = this.options;
    const name = isRecord(declaration) ? String(declaration['name']) : '';
    const registration = registry.register(plugin(), declaration, async (args, context) => {
      this.#inHand++;
      return await run(name, args, context).finally(() => this.#inHand--);
    });
    this.#registrations.set(name, registration);
    if (this.#held) registration.hold();
  }

  /** Not once calls wait: a plugin that tidies up at its end would leave a gap. */
  end(name: string): void {
    if (this.#held) return;
    this.#registrations.get(name)?.end();
    this.#registrations.delete(name);
  }

  /** A successor is waited for: they outlive this run. */
  keep(): void {
    this.#kept = true;
  }

  /** From now on calls are the successor's. */
  hold(): void {
    this.#held = true;
    for (const registration of this.#registrations.values()) registration.hold();
  }

  /** The successor has started. */
  release(): void {
    setTimeout(() => this.#endAll(), this.options.graceMs).unref();
  }

  close(): void {
    if (this.#kept) this.hold();
    else this.#endAll();
  }

  #endAll(): void {
    for (const registration of this.#registrations.values()) registration.end();
    this.#registrations.clear();
  }
}
