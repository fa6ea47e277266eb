/** Topics and payloads with a call's arguments filled in. */
import { PluginError } from '../../daemon/plugins/api';
import type { Call } from './functions';

/** A call with its id, which `{id}` stands for in a payload. */
type Filled = Call & { readonly id?: string };

const placeholder = /\{(id|name|arguments(?:\.[A-Za-z0-9_-]+)*)\}/g;
const wholePlaceholder = /^\{(id|name|arguments(?:\.[A-Za-z0-9_-]+)*)\}$/;
const maxTopicBytes = 65_535;

function valueAt(call: Filled, path: string): unknown {
  let value: unknown = call;
  for (const key of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

function asText(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A value as part of a topic level. Throws `CALL_TOPIC_UNSAFE`. */
function levelOf(value: unknown, path: string, first: boolean): string {
  const text =
    typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))
      ? String(value)
      : '';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: brokers may refuse them, NUL they must.
  if (text === '' || /[/+#\p{Surrogate}\u0000-\u001f\u007f-\u009f]/u.test(text) || (first && text.startsWith('$'))) {
    const received = JSON.stringify(value ?? null).slice(0, 80);
    throw new PluginError(
      'CALL_TOPIC_UNSAFE',
      `${path}: expected text without / + # or control characters, to be part of a topic, received ${received}`,
    );
  }
  return text;
}

/** Throws `PLUGIN_CONFIG_INVALID` unless every placeholder is a required argument and the rest is a topic. */
export function checkTopicTemplate(
  template: string,
  parameters: Readonly<Record<string, unknown>>,
  where: string,
): void {
  const required = Array.isArray(parameters['required']) ? (parameters['required'] as unknown[]) : [];
  for (const [whole, path = ''] of template.matchAll(placeholder)) {
    const [root, argument] = path.split('.');
    if (root === 'name' || (argument !== undefined && required.includes(argument))) continue;
    throw new PluginError(
      'PLUGIN_CONFIG_INVALID',
      `${where}: expected placeholders of required arguments, received ${whole}`,
    );
  }
  const rest = template.replace(placeholder, 'x');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: NUL is what MQTT forbids.
  if (/[+#{}\u0000]/.test(rest)) {
    throw new PluginError(
      'PLUGIN_CONFIG_INVALID',
      `${where}: expected a topic with placeholders such as {arguments.room}, received ${JSON.stringify(template.slice(0, 120))}`,
    );
  }
}

/** Throws `CALL_TOPIC_UNSAFE` for a value that would change which levels the topic has, or is no text at all. */
export function fillTopic(template: string, call: Call): string {
  const topic = template.replace(placeholder, (_whole, path: string, offset: number) =>
    levelOf(valueAt(call, path), path, offset === 0),
  );
  if (Buffer.byteLength(topic) > maxTopicBytes)
    throw new PluginError('CALL_TOPIC_UNSAFE', `expected a topic of at most ${maxTopicBytes} bytes`);
  return topic;
}

function fillValue(template: unknown, call: Filled): unknown {
  if (typeof template === 'string') {
    // Alone, a placeholder keeps its type: {"on": "{arguments.on}"} gives {"on": true}.
    const [, path] = wholePlaceholder.exec(template) ?? [];
    if (path !== undefined) return valueAt(call, path) ?? null;
    return template.replace(placeholder, (_whole, inner: string) => asText(valueAt(call, inner)));
  }
  if (Array.isArray(template)) return template.map((element) => fillValue(element, call));
  if (typeof template !== 'object' || template === null) return template;
  return Object.fromEntries(Object.entries(template).map(([key, value]) => [key, fillValue(value, call)]));
}

/** Text is filled in as it is; any other template is JSON. Without one, the arguments as JSON. */
export function fillPayload(template: unknown, call: Filled): string {
  if (template === undefined) return JSON.stringify(call.arguments);
  if (typeof template === 'string')
    return template.replace(placeholder, (_whole, path: string) => asText(valueAt(call, path)));
  return JSON.stringify(fillValue(template, call));
}
