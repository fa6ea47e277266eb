/**
 * What of a schema the runtime will not enforce while decoding, told without a model: a keyword it does not know,
 * keywords that may not stand together, bounds with nothing between them. How large a grammar gets is left to the
 * runtime, which has the last word (`addon/text/schema_compiler.h`).
 */
import { isRecord } from '../json';

type Schema = Readonly<Record<string, unknown>>;

const annotations = [
  'title',
  'description',
  'default',
  'examples',
  '$schema',
  '$id',
  '$comment',
  'deprecated',
  'readOnly',
  'writeOnly',
];
/** Schemas that are only referred to may stand beside anything. */
const beside = [...annotations, '$defs', 'definitions'];
const choices = ['$ref', 'allOf', 'anyOf', 'oneOf', 'const', 'enum'];
const known = [
  ...beside,
  ...choices,
  'type',
  ...['properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties'],
  ...['items', 'prefixItems', 'minItems', 'maxItems'],
  ...['minLength', 'maxLength', 'pattern'],
  ...['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
];
const maxDepth = 100;
const maxPatternBytes = 1024;
const maxMultiples = 10_000;
const largestInteger = 999_999_999_999_999;

/** Where something is not enforced, and what. */
class Unenforced extends Error {
  constructor(path: string, what: string) {
    super(`${path}: ${what}`);
  }
}

/** The first place where a schema is not enforced, such as `#/properties/at: "format" is not enforced`, or undefined. */
export function unenforcedIn(schema: unknown): string | undefined {
  try {
    new Walk(schema).value(schema, '#', 0, []);
    return undefined;
  } catch (error) {
    if (error instanceof Unenforced) return error.message;
    throw error;
  }
}

class Walk {
  readonly #followed = new Set<string>();

  constructor(private readonly root: unknown) {}

  /** `open`: references that were followed since something of the value was written. */
  value(schema: unknown, path: string, depth: number, open: readonly string[]): void {
    if (depth > maxDepth) throw new Unenforced(path.slice(0, 200), `expected at most ${maxDepth} levels`);
    if (typeof schema === 'boolean') return;
    if (!isRecord(schema)) throw new Unenforced(path, 'expected a schema, an object or a boolean');
    const unknown = Object.keys(schema).find((keyword) => !known.includes(keyword));
    if (unknown !== undefined) throw new Unenforced(path, `${quote(unknown)} is not enforced`);
    const choice = choices.find((keyword) => Object.hasOwn(schema, keyword));
    if (choice === undefined) this.#byType(schema, path, depth);
    else this.#choice(schema, choice, path, depth, open);
  }

  #choice(schema: Schema, choice: string, path: string, depth: number, open: readonly string[]): void {
    const values = choice === 'const' || choice === 'enum';
    const other = Object.keys(schema).find(
      (keyword) => keyword !== choice && !beside.includes(keyword) && !(values && keyword === 'type'),
    );
    if (other !== undefined) throw new Unenforced(path, `${quote(other)} beside ${quote(choice)} is not enforced`);
    if (values) return;
    const held = schema[choice];
    if (choice === '$ref') this.#reference(held, path, depth, open);
    else if (!Array.isArray(held) || held.length === 0)
      throw new Unenforced(`${path}/${choice}`, 'expected at least one schema');
    else if (choice === 'allOf' && held.length > 1) this.#merged(held, path, depth);
    else for (const [index, each] of held.entries()) this.value(each, `${path}/${choice}/${index}`, depth + 1, open);
  }

  #reference(pointer: unknown, path: string, depth: number, open: readonly string[]): void {
    if (typeof pointer !== 'string' || !/^#(\/|$)/.test(pointer))
      throw new Unenforced(path, '$ref: expected # or #/ at its beginning');
    if (open.includes(pointer)) throw new Unenforced(path, `the $ref ${quote(pointer)} leads back to itself`);
    if (this.#followed.has(pointer)) return;
    this.#followed.add(pointer);
    let at: unknown = this.root;
    for (const token of pointer.split('/').slice(1)) {
      const name = token.replace(/~[01]/g, (part) => (part === '~0' ? '~' : '/'));
      const found = typeof at === 'object' && at !== null && Object.hasOwn(at, name);
      if (!found) throw new Unenforced(path, `the $ref ${quote(pointer)} leads nowhere`);
      at = Reflect.get(at as object, name);
    }
    this.value(at, pointer, depth + 1, [...open, pointer]);
  }

  /** Several schemas at once are objects whose members can be put together. */
  #merged(parts: readonly unknown[], path: string, depth: number): void {
    const where = `${path}/allOf`;
    const all = new Map<string, unknown>();
    const required: unknown[] = [];
    for (const part of parts) {
      if (!isRecord(part)) throw new Unenforced(where, 'expected objects');
      for (const [keyword, value] of Object.entries(part)) {
        if ((keyword === 'type' && value === 'object') || annotations.includes(keyword)) continue;
        if (keyword === 'required' && Array.isArray(value)) required.push(...(value as unknown[]));
        else if (keyword !== 'properties' || !isRecord(value))
          throw new Unenforced(where, `${quote(keyword)} in one of several schemas is not enforced`);
        else
          for (const [name, child] of Object.entries(value)) {
            if (all.has(name)) throw new Unenforced(where, `${quote(name)} is declared twice`);
            all.set(name, child);
          }
      }
    }
    this.#byType({ type: 'object', properties: Object.fromEntries(all), required }, where, depth + 1);
  }

  /** Keywords of a type that is ruled out do not matter. */
  #byType(schema: Schema, path: string, depth: number): void {
    const { type } = schema;
    const types = type === undefined ? undefined : Array.isArray(type) ? (type as unknown[]) : [type];
    const may = (name: string): boolean => types === undefined || types.includes(name);
    if (may('string')) checkString(schema, path);
    if (may('number') || may('integer')) {
      checkMultiples(schema, may('number'), path);
      checkBounds(schema, may('number'), path);
    }
    if (may('array')) this.#array(schema, path, depth);
    if (may('object')) this.#object(schema, path, depth);
  }

  #array(schema: Schema, path: string, depth: number): void {
    const { items, prefixItems = [] } = schema;
    checkCounts(schema, 'minItems', 'maxItems', path);
    if (!Array.isArray(prefixItems)) throw new Unenforced(`${path}/prefixItems`, 'expected a list of schemas');
    for (const [index, each] of prefixItems.entries()) this.value(each, `${path}/prefixItems/${index}`, depth + 1, []);
    if (items !== undefined) this.value(items, `${path}/items`, depth + 1, []);
  }

  #object(schema: Schema, path: string, depth: number): void {
    const { properties, required = [], additionalProperties: additional } = schema;
    const declared = isRecord(properties) ? properties : {};
    for (const name of Array.isArray(required) ? (required as unknown[]) : []) {
      if (typeof name !== 'string' || !Object.hasOwn(declared, name))
        throw new Unenforced(`${path}/required`, `${quote(name)} is not declared in properties`);
    }
    const counted = schema['minProperties'] !== undefined || schema['maxProperties'] !== undefined;
    if (properties === undefined && additional !== false) {
      checkCounts(schema, 'minProperties', 'maxProperties', path);
      if (Number(schema['minProperties'] ?? 0) > 1) throw new Unenforced(path, 'minProperties above 1 is not enforced');
      if (additional !== undefined) this.value(additional, `${path}/additionalProperties`, depth + 1, []);
      return;
    }
    if (additional !== undefined && typeof additional !== 'boolean')
      throw new Unenforced(`${path}/additionalProperties`, 'a schema beside "properties" is not enforced');
    if (counted) throw new Unenforced(path, 'minProperties and maxProperties are enforced without "properties" only');
    for (const [name, child] of Object.entries(declared))
      this.value(child, `${path}/properties/${name.slice(0, 80)}`, depth + 1, []);
  }
}

/** Throws for counts that are none, or leave nothing between them. */
function checkCounts(schema: Schema, minimum: string, maximum: string, path: string): void {
  for (const keyword of [minimum, maximum]) {
    const count = schema[keyword];
    if (count !== undefined && !/^\d{1,7}$/.test(JSON.stringify(count)))
      throw new Unenforced(`${path}/${keyword}`, 'expected a count of at most seven digits');
  }
  if (Number(schema[maximum] ?? Number.POSITIVE_INFINITY) < Number(schema[minimum] ?? 0))
    throw new Unenforced(path, `${maximum} is less than ${minimum}`);
}

function checkBounds(schema: Schema, mayBeNumber: boolean, path: string): void {
  const bound = (keyword: string, otherwise: number): number => {
    const value = schema[keyword] ?? otherwise;
    const exact = mayBeNumber && schema[keyword] !== undefined;
    if (typeof value === 'number' && !(exact && !/^-?\d{1,15}(?:\.\d{1,6})?$/.test(JSON.stringify(value))))
      return value;
    throw new Unenforced(`${path}/${keyword}`, 'expected at most 15 digits, and six behind the point');
  };
  const low = bound('minimum', -largestInteger);
  const high = bound('maximum', largestInteger);
  const [above, below] = [bound('exclusiveMinimum', -Infinity), bound('exclusiveMaximum', Infinity)];
  const none = mayBeNumber
    ? Math.max(low, above) > Math.min(high, below) || above >= Math.min(high, below) || below <= Math.max(low, above)
    : Math.max(Math.ceil(low), Math.floor(above) + 1, -largestInteger) >
      Math.min(Math.floor(high), Math.ceil(below) - 1, largestInteger);
  if (none) throw new Unenforced(path, 'no number is within the bounds');
}

function checkString(schema: Schema, path: string): void {
  const { pattern, minLength, maxLength } = schema;
  checkCounts(schema, 'minLength', 'maxLength', path);
  if (pattern === undefined) return;
  if (Number(minLength ?? 0) > 0 || maxLength !== undefined)
    throw new Unenforced(path, '"pattern" together with a length is not enforced');
  if (typeof pattern !== 'string' || Buffer.byteLength(pattern) > maxPatternBytes)
    throw new Unenforced(`${path}/pattern`, `expected text of at most ${maxPatternBytes} bytes`);
  const fail = (token: string): never => {
    throw new Unenforced(`${path}/pattern`, `${token} is not enforced`);
  };
  let depth = 0;
  let anchored = false;
  let choice = false;
  for (const { 0: token, index } of pattern.matchAll(/\\.|\[(?:\\.|[^\]\\])*\]|\(\?(?!:)|[()|^$]/gsu)) {
    if (token === '(') depth++;
    else if (token === ')') depth--;
    else if (token === '|') choice ||= depth === 0;
    else if (token === '(?' || /^\\(?![dDwWsStnrfvxu])[A-Za-z0-9]/.test(token)) fail(token);
    else if (token === '^' || token === '$') {
      anchored = true;
      if (index !== (token === '^' ? 0 : pattern.length - 1)) fail(`${token} within the pattern`);
    }
  }
  if (choice && anchored) fail('^ or $ beside a | that is in no group');
}

function checkMultiples(schema: Schema, mayBeNumber: boolean, path: string): void {
  const { multipleOf: step } = schema;
  if (step === undefined) return;
  if (mayBeNumber || typeof step !== 'number' || !Number.isInteger(step) || step < 1)
    throw new Unenforced(`${path}/multipleOf`, 'only whole numbers, of integers, are enforced');
  const from = Number(schema['minimum'] ?? schema['exclusiveMinimum'] ?? Number.NEGATIVE_INFINITY);
  const to = Number(schema['maximum'] ?? schema['exclusiveMaximum'] ?? Number.POSITIVE_INFINITY);
  if (step > 1 && (to - from) / step > maxMultiples)
    throw new Unenforced(`${path}/multipleOf`, `expected bounds with at most ${maxMultiples} multiples between them`);
}

function quote(text: unknown): string {
  return JSON.stringify(String(text).slice(0, 80));
}
