/** The functions that plugins have registered, and a way to each: one plugin's function can be called from another's. */
import Ajv from 'ajv';
import type { FunctionDeclaration } from '../calls';
import { HearthError } from '../errors';
import { unenforcedIn } from '../inference/enforced';
import { isDeeperThan, isRecord, maxJsonDepth } from '../json';
import { messageOf } from '../log';
import type { CallContext } from './api';

export type RunFunction = (args: Readonly<Record<string, unknown>>, context: CallContext) => Promise<unknown>;

interface Registered {
  readonly plugin: string;
  readonly declaration: FunctionDeclaration;
  readonly run: RunFunction;
  /** While calls wait for what takes its place: settles then, or when nothing does. */
  held?: Promise<void>;
  wake?: () => void;
}

/** One function of one run of a plugin. Neither touches what has taken its place. */
export interface Registration {
  end(): void;
  /** From now on calls wait until the name is registered again, or `end`. */
  hold(): void;
}

const maxFunctions = 1000;
/** In the schema of a reply, parameters are five levels deeper than here. */
const maxDeclarationDepth = maxJsonDepth - 5;
const maxDeclarationCharacters = 1 << 16;
const maxResultCharacters = 16_384;
const callTimeoutMs = 30_000;

const invalid = (what: string): HearthError => new HearthError('CALL_FUNCTION_INVALID', `registerFunction: ${what}`);

/** Throws `CALL_FUNCTION_INVALID`. */
function checkDeclaration(value: unknown): FunctionDeclaration {
  if (!isRecord(value) || isDeeperThan(value, maxDeclarationDepth))
    throw invalid(`expected { name, description, parameters } of at most ${maxDeclarationDepth} levels`);
  const { name, description, parameters } = value;
  if (typeof name !== 'string' || !/^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/.test(name))
    throw invalid(`name: expected 1 to 64 of A-Z a-z 0-9 _ . -, received ${JSON.stringify(name ?? null).slice(0, 80)}`);
  if (description !== undefined && (typeof description !== 'string' || description.length > 1024))
    throw invalid(`${name}: description: expected text of at most 1024 characters`);
  if (!isRecord(parameters) || JSON.stringify(parameters).length > maxDeclarationCharacters)
    throw invalid(`${name}: parameters: expected a JSON Schema of at most ${maxDeclarationCharacters} characters`);
  try {
    new Ajv({ strict: false, validateFormats: false }).compile(parameters);
  } catch (cause) {
    throw invalid(`${name}: parameters: ${messageOf(cause).slice(0, 300)}`);
  }
  // One that the runtime refuses would take every reply down with it.
  const unenforced = unenforcedIn(parameters);
  if (unenforced !== undefined)
    throw invalid(`${name}: parameters: expected what can be enforced while decoding; ${unenforced}`);
  return { name, ...(description !== undefined && { description }), parameters };
}

/** A result as the caller gets it: plain JSON. Throws `CALL_RESULT_INVALID`. */
function plain(name: string, value: unknown): unknown {
  let text: string | undefined;
  try {
    text = JSON.stringify(value ?? null);
  } catch {
    text = undefined;
  }
  if (text !== undefined && text.length <= maxResultCharacters) return JSON.parse(text) as unknown;
  throw new HearthError(
    'CALL_RESULT_INVALID',
    `${name}: expected a result of at most ${maxResultCharacters} characters of JSON`,
  );
}

export class FunctionRegistry {
  readonly #functions = new Map<string, Registered>();

  constructor(private readonly timeoutMs = callTimeoutMs) {}

  /** The same plugin may register a name again, which replaces it. Throws `CALL_FUNCTION_INVALID`. */
  register(plugin: string, declaration: unknown, run: RunFunction): Registration {
    const checked = checkDeclaration(declaration);
    const { name } = checked;
    const before = this.#functions.get(name);
    if (before !== undefined && before.plugin !== plugin)
      throw invalid(`${name}: expected a name of its own, the plugin ${before.plugin} has it`);
    if (before === undefined && this.#functions.size >= maxFunctions)
      throw invalid(`${name}: expected at most ${maxFunctions} functions of all plugins`);
    const registered: Registered = { plugin, declaration: checked, run };
    this.#functions.set(name, registered);
    before?.wake?.();
    return {
      end: () => this.#end(registered),
      hold: () => {
        registered.held ??= new Promise((resolve) => {
          registered.wake = resolve;
        });
      },
    };
  }

  /** All of one plugin. */
  endAll(plugin: string): void {
    for (const registered of [...this.#functions.values()]) if (registered.plugin === plugin) this.#end(registered);
  }

  /** Those of all plugins, or of one. */
  list(of?: string): FunctionDeclaration[] {
    return Array.from(this.#functions.values()).flatMap(({ plugin, declaration }) =>
      of === undefined || of === plugin ? [declaration] : [],
    );
  }

  /**
   * Waits where another run of the plugin is taking over; the time a call may take begins after that. Rejects with
   * `CALL_FUNCTION_UNKNOWN`, `CALL_TIMEOUT`, `CALL_RESULT_INVALID`, or as the function does.
   */
  async call(name: string, args: Readonly<Record<string, unknown>>, context: CallContext): Promise<unknown> {
    let registered = this.#functions.get(name);
    while (registered?.held !== undefined) {
      await registered.held;
      registered = this.#functions.get(name);
    }
    if (registered === undefined)
      throw new HearthError(
        'CALL_FUNCTION_UNKNOWN',
        `expected a function that a plugin has registered, received ${JSON.stringify(name.slice(0, 80))}`,
      );
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new HearthError('CALL_TIMEOUT', `${name}: expected a result within ${this.timeoutMs} ms`)),
        this.timeoutMs,
      );
    });
    try {
      return plain(name, await Promise.race([registered.run(args, context), late]));
    } finally {
      clearTimeout(timer);
    }
  }

  #end(registered: Registered): void {
    const { name } = registered.declaration;
    if (this.#functions.get(name) === registered) this.#functions.delete(name);
    registered.wake?.();
  }
}
