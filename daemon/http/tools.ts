/**
 * Functions a client lets the model call. Whether one is called is asked first, with a reply that can be nothing but a
 * call of one of them or `null`; only after `null` does the model write text. So a call always fits its schema, and text
 * is text, whatever the model was trained on.
 */
import { type FunctionDeclaration, noParameters } from '../calls';
import { HearthError } from '../errors';
import { isRecord } from '../json';

/** `required`: one has to be called. */
export interface Tools {
  readonly functions: readonly FunctionDeclaration[];
  readonly required: boolean;
  /** Calls in one reply, at most. */
  readonly maxCalls: number;
}

/** Of one reply, where a client takes several. */
export const maxParallelCalls = 8;

const maxFunctions = 128;
const maxDescription = 4096;

const invalid = (where: string, expected: string): HearthError =>
  new HearthError('REQUEST_INVALID', `${where}: expected ${expected}`);

/** `tools` as both front doors have it: `{type: 'function', function: {name, description?, parameters?}}`. */
export function parseTools(value: unknown): FunctionDeclaration[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > maxFunctions) throw invalid('tools', `at most ${maxFunctions} tools`);
  const functions = value.map((tool: unknown, index): FunctionDeclaration => {
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
