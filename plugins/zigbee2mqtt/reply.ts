/** A model's reply, read as a call and as the message it becomes. The decoder was held to the same; this does not rely on it. */
import { PluginError } from '../../daemon/plugins/api';
import type { SetFunction, ValueSchema } from './devices';

export interface Call {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

export interface Message {
  readonly device: string;
  readonly payload: string;
}

const quote = (text: string): string => JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}...` : text);

function fits(schema: ValueSchema, value: unknown): boolean {
  if ('enum' in schema) return schema.enum.some((allowed) => allowed === value);
  if (schema.type === 'boolean') return typeof value === 'boolean';
  const { type, minimum = Number.NEGATIVE_INFINITY, maximum = Number.POSITIVE_INFINITY } = schema;
  if (typeof value !== 'number' || !Number.isFinite(value) || (type === 'integer' && !Number.isInteger(value)))
    return false;
  return value >= minimum && value <= maximum;
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

/** Throws `PLUGIN_REPLY_INVALID`. Null is the agreed "no call". */
export function parseReply(
  text: string,
  truncated: boolean,
  functions: readonly SetFunction[],
  deviceArgument: string,
): { readonly call: Call; readonly message: Message } | null {
  const invalid = (expected: string): PluginError =>
    new PluginError('PLUGIN_REPLY_INVALID', `expected ${expected}, received ${quote(text)}`);
  if (truncated) throw invalid('a whole call within maxTokens');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid('a call as JSON or null');
  }
  if (value === null) return null;
  const call = asRecord(value);
  const args = asRecord(call['arguments']);
  const device = Object.hasOwn(args, deviceArgument) ? args[deviceArgument] : undefined;
  const target = functions.find(
    (each) =>
      each.name === call['name'] &&
      each.devices.some((name) => name === device) &&
      Object.hasOwn(args, each.argument) &&
      fits(each.value, args[each.argument]) &&
      Object.keys(args).length === 2,
  );
  if (target === undefined || Object.keys(call).length !== 2 || typeof device !== 'string') {
    throw invalid('a call of a known function and device or null');
  }
  const said = args[target.argument];
  const sent = target.sent === undefined ? said : target.sent[said === true ? 'on' : 'off'];
  const payload = JSON.stringify({ [target.property]: sent });
  return { call: { name: target.name, arguments: args }, message: { device, payload } };
}
