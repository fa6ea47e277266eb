/** The functions a configuration declares. */
import { type FunctionCall, type FunctionDeclaration, PluginError, unenforcedIn } from '../../daemon/plugins/api';
import type { FunctionPolicy } from './policy';
import { checkTopicTemplate } from './templates';

export type Call = FunctionCall;

/** What holds for a function, whoever runs it. */
export interface FunctionTerms extends FunctionPolicy {
  /** Arguments the audit does not show. */
  readonly secrets?: readonly string[];
}

export interface OwnFunction extends FunctionDeclaration, FunctionTerms {
  readonly publish?: {
    readonly topic: string;
    readonly payload?: unknown;
    readonly qos: 0 | 1;
    readonly retain: boolean;
  };
  /** Where who executes it says what came of it. */
  readonly result?: { readonly topic: string; readonly timeoutMs: number };
}

/** Functions of other plugins that are offered, by name or the beginning of names with a `*` behind. */
export interface RegisteredTerms extends FunctionTerms {
  readonly name: string;
}

const invalid = (what: string): PluginError => new PluginError('PLUGIN_CONFIG_INVALID', what);

/** Throws `PLUGIN_CONFIG_INVALID` for what the schema of the configuration cannot tell. */
export function checkFunctions(functions: readonly OwnFunction[]): void {
  const names = new Set<string>();
  for (const [index, { name, parameters, publish, result }] of functions.entries()) {
    const where = `plugins.function-calls.config.functions.${index}`;
    if (names.has(name)) throw invalid(`${where}.name: expected a name of its own, received ${name} again`);
    names.add(name);
    if (parameters['type'] !== 'object')
      throw invalid(`${where}.parameters: expected a JSON Schema with "type": "object"`);
    const unenforced = unenforcedIn(parameters);
    if (unenforced !== undefined)
      throw invalid(`${where}.parameters: expected what can be enforced while decoding; ${unenforced}`);
    if (publish !== undefined) checkTopicTemplate(publish.topic, parameters, `${where}.publish.topic`);
    if (result === undefined) continue;
    if (publish === undefined) throw invalid(`${where}.result: expected publish, which tells who executes it`);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: NUL is what MQTT forbids.
    if (/[+#{}\u0000]/.test(result.topic))
      throw invalid(`${where}.result.topic: expected a topic, received ${JSON.stringify(result.topic.slice(0, 120))}`);
  }
}
