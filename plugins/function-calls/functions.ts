/** The functions of the configuration: checked, compiled, and shown to the model. */
import Ajv2020, { type ValidateFunction } from 'ajv/dist/2020';
import addFormats from 'ajv-formats';
import { type JsonSchema, PluginError, type StreamEvent } from '../../daemon/plugins/api';
import { checkPlaceholders } from './templates';

export type Call = NonNullable<StreamEvent['call']>;

export interface PublishTemplate {
  readonly topic: string;
  readonly payload?: unknown;
  readonly qos: 0 | 1;
  readonly retain: boolean;
}

export interface FunctionConfig {
  readonly name: string;
  readonly description: string;
  readonly parameters: { readonly type: 'object'; readonly properties?: Readonly<Record<string, unknown>> };
  readonly publish?: PublishTemplate;
}

/** A reply longer than this in an error would only fill the log. */
const maxQuotedChars = 120;

export class Functions {
  /** What every reply is: a call of one of the functions, or null. */
  readonly replySchema: JsonSchema;
  /** What the model is told about the functions, as JSON. */
  readonly description: string;
  readonly #byName: ReadonlyMap<string, FunctionConfig>;
  readonly #isReply: ValidateFunction<Call | null>;

  /** Throws `PLUGIN_CONFIG_INVALID`. */
  constructor(functions: readonly FunctionConfig[]) {
    this.#byName = new Map(functions.map((entry) => [entry.name, entry]));
    if (this.#byName.size < functions.length) {
      throw new PluginError('PLUGIN_CONFIG_INVALID', 'functions: expected each name once');
    }
    const ajv = createAjv();
    for (const [index, entry] of functions.entries()) checkFunction(ajv, entry, `functions[${index}]`);
    this.replySchema = {
      anyOf: [
        ...functions.map(({ name, parameters }) => ({
          type: 'object',
          properties: { name: { const: name }, arguments: parameters },
          required: ['name', 'arguments'],
          additionalProperties: false,
        })),
        { type: 'null' },
      ],
    };
    this.description = JSON.stringify(
      functions.map(({ name, description, parameters }) => ({ name, description, parameters })),
    );
    this.#isReply = ajv.compile<Call | null>(this.replySchema);
  }

  get size(): number {
    return this.#byName.size;
  }

  /**
   * The call a reply is, or null for "no call". The reply was constrained while it was decoded, but one that was cut at
   * `maxTokens` is still no JSON, and what moves things is checked where it happens. Throws `PLUGIN_REPLY_INVALID`.
   */
  parse(text: string): Call | null {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new PluginError('PLUGIN_REPLY_INVALID', `call: expected JSON, received ${quote(text)}`, { cause });
    }
    if (this.#isReply(value)) return value;
    throw new PluginError('PLUGIN_REPLY_INVALID', `call: expected a call of a configured function or null, received ${quote(text)}`);
  }

  publishOf(call: Call): PublishTemplate | undefined {
    return this.#byName.get(call.name)?.publish;
  }
}

function createAjv(): Ajv2020 {
  const ajv = new Ajv2020({ strict: false, logger: false });
  addFormats(ajv as never);
  return ajv;
}

function checkFunction(ajv: Ajv2020, { parameters, publish }: FunctionConfig, path: string): void {
  try {
    ajv.compile(parameters);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PluginError('PLUGIN_CONFIG_INVALID', `${path}.parameters: expected a JSON Schema: ${reason}`, { cause });
  }
  if (publish !== undefined) checkPlaceholders(publish, Object.keys(parameters.properties ?? {}), `${path}.publish`);
}

function quote(text: string): string {
  return JSON.stringify(text.length > maxQuotedChars ? `${text.slice(0, maxQuotedChars)}...` : text);
}
