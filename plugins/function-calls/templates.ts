/** `{arguments.x}` in topics and payloads. */
import { PluginError } from '../../daemon/plugins/api';
import type { Call, PublishTemplate } from './functions';

const placeholder = /\{([^{}/]*)\}/g;
const argumentForm = /^arguments\.([A-Za-z0-9_-]+)$/;

function argumentNames(text: string): (string | undefined)[] {
  return Array.from(text.matchAll(placeholder), ([, path]) => argumentForm.exec(path ?? '')?.[1]);
}

/** Every text in a payload template, at any depth. */
function texts(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(texts) : [];
}

/**
 * Throws `PLUGIN_CONFIG_INVALID` unless the topic can be published on and every placeholder is a parameter. Braces in a
 * payload that are no `{arguments.x}` are left alone, since payloads are often JSON.
 */
export function checkPlaceholders({ topic, payload }: PublishTemplate, parameters: readonly string[], path: string): void {
  const inTopic = argumentNames(topic);
  if (/[+#\0]/.test(topic) || /[{}]/.test(topic.replace(placeholder, '')) || inTopic.includes(undefined)) {
    throw new PluginError(
      'PLUGIN_CONFIG_INVALID',
      `${path}.topic: expected a topic without + # or NUL and with no placeholders but {arguments.<name>}, received ${JSON.stringify(topic)}`,
    );
  }
  const unknown = [...inTopic, ...texts(payload).flatMap(argumentNames)].find(
    (name) => name !== undefined && !parameters.includes(name),
  );
  if (unknown !== undefined) {
    throw new PluginError(
      'PLUGIN_CONFIG_INVALID',
      `${path}: expected placeholders of ${parameters.join(' ') || 'no parameters'}, received {arguments.${unknown}}`,
    );
  }
}

function argumentOf(call: Call, name: string): unknown {
  return Object.hasOwn(call.arguments, name) ? call.arguments[name] : undefined;
}

/**
 * The topic of a call. An argument fills a level or a part of one and never makes another: the words come from a model
 * that listens to anybody. Throws `CALL_TOPIC_UNSAFE`.
 */
export function topicOf(template: string, call: Call): string {
  return template.replace(placeholder, (_text, path: string) => {
    const name = argumentForm.exec(path)?.[1] ?? '';
    const value = argumentOf(call, name);
    const level = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
    if (level === '' || /[/+#\0]/.test(level)) {
      throw new PluginError(
        'CALL_TOPIC_UNSAFE',
        `${call.name}.${name}: expected text without / + # or NUL for a topic, received ${JSON.stringify(value)?.slice(0, 80) ?? 'nothing'}`,
      );
    }
    return level;
  });
}

/** A text that is one placeholder becomes the argument itself, with its type; others have it filled in as text. */
function fill(value: unknown, call: Call): unknown {
  if (typeof value === 'string') {
    const whole = /^\{arguments\.([A-Za-z0-9_-]+)\}$/.exec(value)?.[1];
    return whole === undefined ? fillText(value, call) : argumentOf(call, whole);
  }
  if (Array.isArray(value)) return value.map((entry) => fill(entry, call));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, fill(entry, call)]));
}

function fillText(template: string, call: Call): string {
  return template.replace(placeholder, (text, path: string) => {
    const name = argumentForm.exec(path)?.[1];
    if (name === undefined) return text;
    const value = argumentOf(call, name);
    return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  });
}

/** A text template gives text, any other JSON; without a template, the arguments. */
export function payloadOf(template: unknown, call: Call): string {
  if (typeof template === 'string') return fillText(template, call);
  return JSON.stringify(template === undefined ? call.arguments : fill(template, call));
}
