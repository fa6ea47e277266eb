/**
 * Functions a client lets the model call. Whether one is called is asked first, with a reply that can be nothing but a
 * call of one of them or `null`; only after `null` does the model write text. So a call always fits its schema, and text
 * is text, whatever the model was trained on.
 */
import { HearthError } from '../errors';
import type { JsonSchema } from '../inference/types';
import { isRecord } from '../json';

export interface ToolFunction {
  readonly name: string;
  readonly description?: string;
  /** JSON Schema of the arguments, an object. */
  readonly parameters: Readonly<Record<string, unknown>>;
}

export interface ToolCall {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** `required`: one has to be called. */
export interface Tools {
  readonly functions: readonly ToolFunction[];
  readonly required: boolean;
}

const maxFunctions = 128;
const maxDescription = 4096;
const noParameters = { type: 'object', properties: {}, additionalProperties: false } as const;

const invalid = (where: string, expected: string): HearthError =>
  new HearthError('REQUEST_INVALID', `${where}: expected ${expected}`);

/** `tools` as both front doors have it: `{type: 'function', function: {name, description?, parameters?}}`. */
export function parseTools(value: unknown): ToolFunction[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > maxFunctions) throw invalid('tools', `at most ${maxFunctions} tools`);
  const functions = value.map((tool: unknown, index): ToolFunction => {
    const where = `tools[${index}]`;
    const declared = isRecord(tool) ? tool['function'] : undefined;
    if (!isRecord(tool) || (tool['type'] ?? 'function') !== 'function' || !isRecord(declared)) {
      throw invalid(where, '{"type": "function", "function": {"name": ...}}');
    }
    const { name, description, parameters } = declared;
    if (typeof name !== 'string' || !/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(name)) {
      throw invalid(`${where}.function.name`, 'a name of 1 to 64 of A-Z a-z 0-9 _ . -');
    }
    if (
      description !== undefined &&
      description !== null &&
      !(typeof description === 'string' && description.length <= maxDescription)
    )
      throw invalid(`${where}.function.description`, `text of at most ${maxDescription} characters`);
    if (parameters !== undefined && parameters !== null && !(isRecord(parameters) && parameters['type'] === 'object')) {
      throw invalid(`${where}.function.parameters`, 'a JSON Schema with "type": "object"');
    }
    return {
      name,
      ...(typeof description === 'string' && { description }),
      parameters: isRecord(parameters) ? parameters : noParameters,
    };
  });
  const names = functions.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw invalid('tools', `each name once, received ${twice} twice`);
  return functions;
}

/** References to the root of a function's own schema, from where it is in the reply's. */
function rebase(value: unknown, root: string): unknown {
  if (Array.isArray(value)) return value.map((element) => rebase(element, root));
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [
      key,
      key === '$ref' && typeof child === 'string' && child.startsWith('#')
        ? root + child.slice(1)
        : rebase(child, root),
    ]),
  );
}

/** The name comes before the arguments: once it is decoded, only that function's arguments are possible. */
export function replySchema({ functions, required }: Tools): JsonSchema {
  return {
    anyOf: [
      ...functions.map(({ name, parameters }, index) => ({
        type: 'object',
        properties: { name: { const: name }, arguments: rebase(parameters, `#/anyOf/${index}/properties/arguments`) },
        required: ['name', 'arguments'],
        additionalProperties: false,
      })),
      ...(required ? [] : [{ type: 'null' }]),
    ],
  };
}

/** The model's own prompt for calls, with the functions and the user's words where it has them. */
export function callPrompt(template: string, { functions }: Tools, text: string): string {
  const described = functions
    .map(({ name, description, parameters }) =>
      JSON.stringify({ name, ...(description !== undefined && { description }), parameters }),
    )
    .join('\n');
  return template
    .replace(/\{(functions|text)\}/g, (_match, slot: string) => (slot === 'text' ? text : described))
    .trim();
}

/** A call as it stands in a conversation: the form it was written in. */
export function callText({ name, arguments: args }: ToolCall): string {
  return JSON.stringify({ name, arguments: args });
}

/** What came back from a function, as the model is told. */
export function resultText(name: string | undefined, content: string): string {
  return `${name === undefined ? 'Result' : `Result of ${name}`}: ${content}`;
}

/** A whole reply under `replySchema`; null for no call. */
export function parseCall(text: string): ToolCall | null {
  const value = JSON.parse(text) as unknown;
  if (!isRecord(value) || typeof value['name'] !== 'string' || !isRecord(value['arguments'])) return null;
  return { name: value['name'], arguments: value['arguments'] };
}
