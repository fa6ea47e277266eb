/** The options of a plugin as Markdown, from the schema in its manifest; a plugin's README has a copy of it. */
import type { JsonSchema } from './api';

type SchemaObject = Exclude<JsonSchema, boolean>;

interface Row {
  readonly path: string;
  readonly schema: SchemaObject;
  readonly required: boolean;
}

function asObject(schema: unknown): SchemaObject {
  return typeof schema === 'object' && schema !== null && !Array.isArray(schema) ? (schema as SchemaObject) : {};
}

/** The properties of an object, and those of the objects in its arrays, in the order they are written in. */
function rowsOf(schema: SchemaObject, prefix: string): Row[] {
  const required = Array.isArray(schema['required']) ? (schema['required'] as unknown[]) : [];
  return Object.entries(asObject(schema['properties'])).flatMap(([name, value]): Row[] => {
    const property = asObject(value);
    const path = `${prefix}${name}`;
    // An option that holds a JSON Schema has no options of its own.
    const below =
      property['additionalProperties'] === false
        ? rowsOf(property, `${path}.`)
        : rowsOf(asObject(property['items']), `${path}[].`);
    return [{ path, schema: property, required: required.includes(name) }, ...below];
  });
}

function range(unit: string, minimum: unknown, maximum: unknown): string {
  if (minimum !== undefined && maximum !== undefined) return ` of ${String(minimum)} to ${String(maximum)}${unit}`;
  if (minimum !== undefined) return ` of at least ${String(minimum)}${unit}`;
  return maximum === undefined ? '' : ` of at most ${String(maximum)}${unit}`;
}

function expectedOf(schema: SchemaObject): string {
  if (Array.isArray(schema['enum'])) return schema['enum'].map((value) => JSON.stringify(value)).join(', ');
  if (Array.isArray(schema['type'])) return schema['type'].map((type) => expectedOf({ ...schema, type })).join(' or ');
  switch (schema['type']) {
    case 'string': {
      const { pattern } = schema as { pattern?: unknown };
      if (typeof pattern === 'string') return `text that matches \`${pattern}\``;
      return `text${range(' characters', schema['minLength'], schema['maxLength'])}`;
    }
    case 'integer':
    case 'number':
      return `${schema['type'] === 'integer' ? 'an integer' : 'a number'}${range('', schema['minimum'], schema['maximum'])}`;
    case 'boolean':
      return 'true or false';
    case 'array': {
      const items = asObject(schema['items']);
      return `a list${range(' entries', schema['minItems'], schema['maxItems'])}${items['type'] === 'string' ? `, each ${expectedOf(items)}` : ''}`;
    }
    case 'object':
      return 'a mapping';
    case 'null':
      return 'null';
    default:
      return 'anything';
  }
}

function cell(text: unknown): string {
  return typeof text === 'string' ? text.replace(/\|/g, '\\|').replace(/\n/g, ' ') : '';
}

function defaultOf({ schema, required }: Row): string {
  if (required) return 'required';
  return schema['default'] === undefined ? '' : `\`${cell(JSON.stringify(schema['default']))}\``;
}

/** A Markdown table without a newline at its end; one sentence where there are no options. */
export function pluginOptionTable(configSchema: JsonSchema | undefined): string {
  const rows = rowsOf(asObject(configSchema), '');
  if (rows.length === 0) return 'It has no options.';
  return [
    '| option | default | expected | |',
    '|---|---|---|---|',
    ...rows.map(
      (row) =>
        `| \`${row.path}\` | ${defaultOf(row)} | ${cell(expectedOf(row.schema))} | ${cell(row.schema['description'])} |`,
    ),
  ].join('\n');
}
