/** Which topics a plugin may use: the filters its manifest declares, with its configuration filled in. */
import { checkFilter, matchesFilter } from '../bus/topics';
import { HearthError } from '../errors';
import type { PluginManifest } from './api';

const configPlaceholder = /\{config\.([^{}]+)\}/;

/** Everything at a dotted path; `*` stands for each element of an array. */
function valuesAt(root: unknown, path: readonly string[]): unknown[] {
  const [key, ...rest] = path;
  if (key === undefined) return [root];
  if (key === '*') return Array.isArray(root) ? root.flatMap((element) => valuesAt(element, rest)) : [];
  if (typeof root !== 'object' || root === null || !Object.hasOwn(root, key)) return [];
  return valuesAt((root as Record<string, unknown>)[key], rest);
}

function fillIn(template: string, config: unknown): string[] {
  const found = configPlaceholder.exec(template);
  if (found === null) return [template];
  const [placeholder, path = ''] = found;
  return valuesAt(config, path.split('.')).flatMap((value) => {
    if (typeof value !== 'string' && typeof value !== 'number') return [];
    const before = template.slice(0, found.index);
    const after = template.slice(found.index + placeholder.length);
    // What was filled in is not looked at again: a value is no template of the manifest's.
    return fillIn(after, config).map((rest) => before + String(value) + rest);
  });
}

/**
 * The topic filters a declaration stands for. A level that still holds `{...}` becomes `+`; one whose value is not
 * configured stands for none. Throws `PLUGIN_CONFIG_INVALID` where the result is no topic filter.
 */
export function expandDeclared(declared: readonly string[], config: unknown): string[] {
  return declared.flatMap((template) =>
    fillIn(template, config).map((filled) => {
      const levels = filled.split('/').map((level) => (/\{[^{}]*\}/.test(level) ? '+' : level));
      try {
        return checkFilter(levels.join('/'));
      } catch (cause) {
        throw new HearthError(
          'PLUGIN_CONFIG_INVALID',
          `topic ${JSON.stringify(template)}: expected its configuration to make a topic filter, received ${JSON.stringify(filled.slice(0, 120))}`,
          { cause },
        );
      }
    }),
  );
}

/** Whether every topic that matches `filter` matches `declared` too. */
export function coversFilter(declared: string, filter: string): boolean {
  const outer = declared.split('/');
  const inner = filter.split('/');
  if (inner[0]?.startsWith('$') === true && (outer[0] === '+' || outer[0] === '#')) return false;
  for (const [index, level] of outer.entries()) {
    if (level === '#') return true;
    const other = inner[index];
    if (other === undefined || other === '#' || (level !== '+' && level !== other)) return false;
  }
  return outer.length === inner.length;
}

export interface OwnTopics {
  readonly base: string;
  readonly node: string;
}

export class TopicRules {
  readonly #publish: readonly string[];
  readonly #subscribe: readonly string[];

  /** `own` is what `{base}` and `{node}` stand for. Throws `PLUGIN_CONFIG_INVALID`. */
  constructor({ topics }: Pick<PluginManifest, 'topics'>, config: unknown, own: OwnTopics) {
    // Before the configuration is filled in: its values are no templates.
    const named = (declared: readonly string[] = []): string[] =>
      declared.map((template) => template.replaceAll('{base}', own.base).replaceAll('{node}', own.node));
    this.#publish = expandDeclared(named(topics?.publish), config);
    this.#subscribe = expandDeclared(named(topics?.subscribe), config);
  }

  /** Throws `PLUGIN_TOPIC_UNDECLARED`. */
  checkPublish(topic: string): void {
    if (this.#publish.some((filter) => matchesFilter(filter, topic))) return;
    throw undeclared('publish', this.#publish, topic);
  }

  /** Throws `PLUGIN_TOPIC_UNDECLARED`. */
  checkSubscribe(filter: string): void {
    if (this.#subscribe.some((declared) => coversFilter(declared, filter))) return;
    throw undeclared('subscribe', this.#subscribe, filter);
  }
}

function undeclared(what: string, declared: readonly string[], received: string): HearthError {
  const expected = declared.length === 0 ? 'none, since the manifest declares none' : declared.join(' ');
  return new HearthError(
    'PLUGIN_TOPIC_UNDECLARED',
    `${what}: expected ${expected.slice(0, 300)}, received ${JSON.stringify(received.slice(0, 120))}`,
  );
}
