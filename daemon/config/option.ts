/**
 * The kinds of value an option can have. Each kind is a convict format whose name is what a message calls it, so
 * that one text serves the check, the error and the README's table.
 */
import convict from 'convict';

/** A leaf of the schema. Its environment name and flag are derived from its path, see `leaves`. */
export interface Option<T> {
  readonly default: T;
  readonly doc: string;
  readonly format: string;
  readonly sensitive?: true;
  /** A value of its own is computed when there is none; said in the table in place of the default. */
  readonly defaultDoc?: string;
  /** A relative path in the file is relative to the file. */
  readonly isPath?: true;
}

/** What a schema's values look like once loaded. */
export type Values<Schema> = {
  readonly [Key in keyof Schema]: Schema[Key] extends Option<infer T> ? T : Values<Schema[Key]>;
};

interface Format {
  readonly accepts: (value: unknown) => boolean;
  readonly parse: (text: string) => unknown;
}

const formats = new Map<string, Format>();

function format(expected: string, accepts: Format['accepts'], parse: Format['parse'] = (text) => text): string {
  if (!formats.has(expected)) {
    formats.set(expected, { accepts, parse });
    convict.addFormat({
      name: expected,
      validate: (value) => {
        if (!accepts(value)) throw new Error(`expected ${expected}`);
      },
      coerce: (value) => (typeof value === 'string' ? parse(value) : value),
    });
  }
  return expected;
}

/** Whether a value fits the format of that name. */
export function fits(formatName: string, value: unknown): boolean {
  const found = formats.get(formatName);
  if (found === undefined) throw new Error(`no such format: ${formatName}`);
  return found.accepts(value);
}

function orNothing(expected: string, accepts: Format['accepts'], parse?: Format['parse']): string {
  return format(`${expected}, or nothing`, (value) => value === null || accepts(value), parse);
}

interface Extra {
  readonly sensitive?: true;
  readonly defaultDoc?: string;
}

const parseNumber = (text: string): unknown =>
  /^[+-]?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text.trim()) ? Number(text) : text;
const parseBoolean = (text: string): unknown => ({ true: true, false: false })[text.trim().toLowerCase()] ?? text;

function isText(value: unknown, maxLength: number): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= maxLength && !value.includes('\0');
}

/** A whole number. */
export function integer(doc: string, fallback: number, min: number, max: number): Option<number> {
  const accepts = (value: unknown): boolean =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
  return { doc, default: fallback, format: format(`a whole number from ${min} to ${max}`, accepts, parseNumber) };
}

export function number(doc: string, fallback: number, min: number, max: number): Option<number> {
  const accepts = (value: unknown): boolean => typeof value === 'number' && value >= min && value <= max;
  return { doc, default: fallback, format: format(`a number from ${min} to ${max}`, accepts, parseNumber) };
}

export function optionalInteger(doc: string, min: number, max: number, extra: Extra = {}): Option<number | null> {
  const accepts = (value: unknown): boolean =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
  return {
    doc,
    default: null,
    format: orNothing(`a whole number from ${min} to ${max}`, accepts, parseNumber),
    ...extra,
  };
}

export function flag(doc: string, fallback: boolean): Option<boolean> {
  return {
    doc,
    default: fallback,
    format: format('true or false', (value) => typeof value === 'boolean', parseBoolean),
  };
}

export function text(doc: string, fallback: string, extra: Extra = {}, maxLength = 4096): Option<string> {
  return {
    doc,
    default: fallback,
    format: format(`text of 1 to ${maxLength} characters`, (value) => isText(value, maxLength)),
    ...extra,
  };
}

export function optionalPath(doc: string, extra: Extra = {}): Option<string | null> {
  return { ...optionalText(doc, extra), isPath: true };
}

export function optionalText(doc: string, extra: Extra = {}, maxLength = 4096): Option<string | null> {
  const accepts = (value: unknown): boolean => isText(value, maxLength);
  return { doc, default: null, format: orNothing(`text of 1 to ${maxLength} characters`, accepts), ...extra };
}

/** Text of a form that `expected` describes. */
export function pattern(
  doc: string,
  fallback: string,
  expected: string,
  form: RegExp,
  extra: Extra = {},
): Option<string> {
  return {
    doc,
    default: fallback,
    format: format(expected, (value) => typeof value === 'string' && form.test(value)),
    ...extra,
  };
}

export function optionalPattern(
  doc: string,
  expected: string,
  accepts: (value: string) => boolean,
  extra: Extra = {},
): Option<string | null> {
  return {
    doc,
    default: null,
    format: orNothing(expected, (value) => typeof value === 'string' && accepts(value)),
    ...extra,
  };
}

const sizeUnits: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

function parseSize(given: string): unknown {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)\s*([a-z]*)$/i.exec(given.trim());
  const unit = sizeUnits[match?.[2]?.toLowerCase() ?? ''];
  return match === null || unit === undefined ? given : Math.round(Number(match[1]) * unit);
}

/** Bytes: a number, or a text such as `2GB` (10^9 each) or `1.5GiB` (2^30 each). */
export function optionalSize(doc: string, min: number, max: number, extra: Extra = {}): Option<number | null> {
  const accepts = (value: unknown): boolean =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
  const gibibytes = (bytes: number): string =>
    `${bytes >= 2 ** 30 ? bytes / 2 ** 30 : bytes / 2 ** 20}${bytes >= 2 ** 30 ? 'GiB' : 'MiB'}`;
  const expected = `a size such as 2GB or 1500MiB, from ${gibibytes(min)} to ${gibibytes(max)}`;
  return { doc, default: null, format: orNothing(expected, accepts, parseSize), ...extra };
}

function parseChoice(values: readonly unknown[]): Format['parse'] {
  return (given) => values.find((value) => String(value) === given.trim()) ?? given;
}

function oneOf(values: readonly unknown[]): string {
  return `one of ${values.map(String).join(', ')}`;
}

/** One of a few values. */
export function choice<const T extends string | number>(
  doc: string,
  fallback: NoInfer<T>,
  values: readonly T[],
): Option<T> {
  const accepts = (value: unknown): boolean => (values as readonly unknown[]).includes(value);
  return { doc, default: fallback, format: format(oneOf(values), accepts, parseChoice(values)) };
}

export function optionalChoice<const T extends string | number>(
  doc: string,
  values: readonly T[],
  extra: Extra = {},
): Option<T | null> {
  const accepts = (value: unknown): boolean => (values as readonly unknown[]).includes(value);
  return { doc, default: null, format: orNothing(oneOf(values), accepts, parseChoice(values)), ...extra };
}

/** A list; in the environment and in flags, separated by commas. */
export function list(
  doc: string,
  expected: string,
  accepts: (entry: string) => boolean,
  extra: Extra = {},
): Option<readonly string[]> {
  return { doc, default: [], format: format(`a list of ${expected}`, listOf(accepts), parseList), ...extra };
}

export function optionalList(
  doc: string,
  expected: string,
  accepts: (entry: string) => boolean,
  extra: Extra = {},
): Option<readonly string[] | null> {
  return { doc, default: null, format: orNothing(`a list of ${expected}`, listOf(accepts), parseList), ...extra };
}

function listOf(accepts: (entry: string) => boolean): Format['accepts'] {
  return (value) =>
    Array.isArray(value) && value.length <= 256 && value.every((entry) => typeof entry === 'string' && accepts(entry));
}

const parseList = (given: string): unknown =>
  given
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');

/** A mapping from names to settings; only from the file. */
export function map(doc: string): Option<Readonly<Record<string, unknown>>> {
  return { doc, default: {}, format: 'Object' };
}
