/**
 * Functions a model may call: the JSON Schema of a reply that calls some of them or none, and how such a reply is read.
 * The HTTP server and the plugins (by way of their API) share it.
 */
import { HearthError } from './errors';
import type { JsonSchema, ModelPrompts } from './inference/types';
import { isRecord } from './json';

export interface FunctionDeclaration {
  readonly name: string;
  readonly description?: string;
  /** JSON Schema of the arguments, an object. */
  readonly parameters: Readonly<Record<string, unknown>>;
}

export interface FunctionCall {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

export interface ReplyForm {
  /** Calls in one reply, at most; one when left out. */
  readonly maxCalls?: number;
  /** Whether some function has to be called. */
  readonly required?: boolean;
}

export const noParameters = { type: 'object', properties: {}, additionalProperties: false } as const;

/** The runtime enforces no more either. */
const maxSchemaDepth = 100;

/** References to the root of a function's own schema, from where it is in the reply's: a part of that, without an `$id`. */
function rebase(value: unknown, root: string, depth = 0): unknown {
  if (depth > maxSchemaDepth)
    throw new HearthError('SCHEMA_INVALID', `parameters: expected at most ${maxSchemaDepth} levels`);
  if (Array.isArray(value)) return value.map((element) => rebase(element, root, depth + 1));
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, child]) => {
      if (key === '$id' && typeof child === 'string') return [];
      const own = key === '$ref' && typeof child === 'string' && child.startsWith('#');
      return [[key, own ? root + child.slice(1) : rebase(child, root, depth + 1)]];
    }),
  );
}

/** The name comes before the arguments: once it is decoded, only that function's arguments are possible. */
function callSchemas(functions: readonly FunctionDeclaration[], root: string): object[] {
  return functions.map(({ name, parameters }, index) => ({
    type: 'object',
    properties: { name: { const: name }, arguments: rebase(parameters, `${root}/${index}/properties/arguments`) },
    required: ['name', 'arguments'],
    additionalProperties: false,
  }));
}

/**
 * One call or, unless one is required, `null`; where several are allowed, a list of 2 to `maxCalls`, too. One call stays
 * the plain object that models are trained on. Throws `SCHEMA_INVALID` for parameters that are nested too deeply.
 */
export function replySchema(
  functions: readonly FunctionDeclaration[],
  { maxCalls = 1, required = false }: ReplyForm = {},
): JsonSchema {
  const none = required ? [] : [{ type: 'null' }];
  if (maxCalls <= 1) return { anyOf: [...callSchemas(functions, '#/anyOf'), ...none] };
  const one = { $ref: '#/$defs/call' };
  return {
    anyOf: [one, ...none, { type: 'array', items: one, minItems: 2, maxItems: maxCalls }],
    $defs: { call: { anyOf: callSchemas(functions, '#/$defs/call/anyOf') } },
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

/** A prompt for calls with `{functions}`, `{text}` and `{max}` filled in, once each: neither is a template itself. */
export function fillCallPrompt(
  template: string,
  functions: readonly FunctionDeclaration[],
  text: string,
  maxCalls = 1,
): string {
  return template
    .replace(/\{(functions|text|max)\}/g, (_match, slot: string) =>
      slot === 'text' ? text : slot === 'max' ? String(maxCalls) : describeFunctions(functions),
    )
    .trim();
}

/** The model's own prompt for one call, or for several. */
export function callPrompt(
  prompts: ModelPrompts,
  functions: readonly FunctionDeclaration[],
  text: string,
  maxCalls = 1,
): string {
  return fillCallPrompt(maxCalls > 1 ? prompts.calls : prompts.call, functions, text, maxCalls);
}

/** A call as it stands in a conversation: the form it was written in. */
export function callText({ name, arguments: args }: FunctionCall): string {
  return JSON.stringify({ name, arguments: args });
}

/** What came back from a function, as the model is told. */
export function resultText(name: string | undefined, content: string): string {
  return `${name === undefined ? 'Result' : `Result of ${name}`}: ${content}`;
}

/** The calls of a whole reply under `replySchema`; none for `null`. Throws a `SyntaxError` for what is not JSON. */
export function parseCalls(text: string): FunctionCall[] {
  const value = JSON.parse(text) as unknown;
  return (Array.isArray(value) ? (value as unknown[]) : [value]).flatMap((call) =>
    isRecord(call) && typeof call['name'] === 'string' && isRecord(call['arguments'])
      ? [{ name: call['name'], arguments: call['arguments'] }]
      : [],
  );
}
