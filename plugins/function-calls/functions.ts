/** The functions a configuration declares, and the JSON Schema of a reply that calls one of them or none. */
import { type JsonSchema, PluginError } from '../../daemon/plugins/api';
import { checkTopicTemplate } from './templates';

export interface FunctionDeclaration {
  readonly name: string;
  readonly description?: string;
  /** JSON Schema of the arguments, an object. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly publish?: {
    readonly topic: string;
    readonly payload?: unknown;
    readonly qos: 0 | 1;
    readonly retain: boolean;
  };
}

export interface Call {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

export const noParameters = { type: 'object', properties: {}, additionalProperties: false } as const;

/** References to the root of a function's own schema, from where it is in the reply's. */
function rebase(value: unknown, root: string): unknown {
  if (Array.isArray(value)) return value.map((element) => rebase(element, root));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, child]: [string, unknown]) => [
      key,
      key === '$ref' && typeof child === 'string' && child.startsWith('#')
        ? root + child.slice(1)
        : rebase(child, root),
    ]),
  );
}

/** The name comes before the arguments: once it is decoded, only that function's arguments are possible. */
export function replySchema(functions: readonly FunctionDeclaration[]): JsonSchema {
  return {
    anyOf: [
      ...functions.map(({ name, parameters }, index) => ({
        type: 'object',
        properties: { name: { const: name }, arguments: rebase(parameters, `#/anyOf/${index}/properties/arguments`) },
        required: ['name', 'arguments'],
        additionalProperties: false,
      })),
      { type: 'null' },
    ],
  };
}

/** The functions as a prompt shows them to a model that was not trained on them: one JSON object a line. */
export function describeFunctions(functions: readonly FunctionDeclaration[]): string {
  return functions
    .map(({ name, description, parameters }) =>
      JSON.stringify({ name, ...(description !== undefined && { description }), parameters }),
    )
    .join('\n');
}

/** Throws `PLUGIN_CONFIG_INVALID` for what the schema of the configuration cannot tell. */
export function checkFunctions(functions: readonly FunctionDeclaration[]): void {
  const names = new Set<string>();
  for (const [index, { name, parameters, publish }] of functions.entries()) {
    const where = `plugins.function-calls.config.functions.${index}`;
    if (names.has(name))
      throw new PluginError(
        'PLUGIN_CONFIG_INVALID',
        `${where}.name: expected a name of its own, received ${name} again`,
      );
    names.add(name);
    if (parameters['type'] !== 'object') {
      throw new PluginError(
        'PLUGIN_CONFIG_INVALID',
        `${where}.parameters: expected a JSON Schema with "type": "object"`,
      );
    }
    if (publish !== undefined) checkTopicTemplate(publish.topic, parameters, `${where}.publish.topic`);
  }
}
