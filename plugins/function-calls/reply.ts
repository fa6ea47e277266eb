/** A model's reply, read as calls. The decoder was constrained to the same schema; this does not rely on it. */
import Ajv, { type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import { type JsonSchema, PluginError, parseCalls } from '../../daemon/plugins/api';
import type { Call } from './functions';

/** None for "no call". */
export type ReplyParser = (text: string, truncated: boolean) => Call[];

const quote = (text: string): string => JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}...` : text);

/** Throws `PLUGIN_CONFIG_INVALID` for parameters that are no JSON Schema. The parser throws `PLUGIN_REPLY_INVALID`. */
export function replyParser(schema: JsonSchema): ReplyParser {
  let validate: ValidateFunction;
  try {
    // Not strict: what the decoder takes is for the runtime to say, and it refuses what it cannot enforce.
    const ajv = new Ajv({ strict: false });
    addFormats(ajv);
    validate = ajv.compile(schema);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.slice(0, 300) : 'not a JSON Schema';
    throw new PluginError('PLUGIN_CONFIG_INVALID', `plugins.function-calls.config.functions: parameters: ${reason}`, {
      cause,
    });
  }
  return (text, truncated) => {
    if (truncated)
      throw new PluginError('PLUGIN_REPLY_INVALID', `expected a whole call within maxTokens, received ${quote(text)}`);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new PluginError('PLUGIN_REPLY_INVALID', `expected a call as JSON or null, received ${quote(text)}`, {
        cause,
      });
    }
    if (validate(value)) return parseCalls(text);
    throw new PluginError(
      'PLUGIN_REPLY_INVALID',
      `expected calls of declared functions or null, received ${quote(text)}`,
    );
  };
}
