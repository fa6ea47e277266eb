/** The configuration as text: the README's table of options, and what is in force without its secrets. */
import type { Config } from './load';
import type { Option } from './option';
import { type Leaf, leaves, modelSourceSchema, pluginSchema, schema, streamSchemas } from './schema';

/** The option table as Markdown; `npm run docs` and a test keep the README's copy equal to it. */
export function optionTable(): string {
  return [
    ...table(leaves(schema)),
    '',
    'One entry of `streams` (what is left out comes from `defaults.<kind>`):',
    '',
    ...entryTable('kind', {
      kind: { ...streamSchemas.camera.kind, format: 'camera or microphone', default: '' },
      topics: streamSchemas.camera.topics,
    }),
    '',
    'One entry of `model.sources` (`url` and `sha256` are required; `mmproj` is for the encoders):',
    '',
    ...entryTable('', modelSourceSchema),
    '',
    'One entry of `plugins`:',
    '',
    ...entryTable('', pluginSchema),
    '',
  ].join('\n');
}

function table(rows: readonly Leaf[]): string[] {
  return [
    '| option | default | expected | environment | flag | |',
    '|---|---|---|---|---|---|',
    ...rows.map(
      ({ path, option, env, arg }) =>
        `| \`${path}\` | ${defaultOf(option)} | ${cell(expectedOf(option))} | ${code(env)} | ${code(arg === undefined ? undefined : `--${arg}`)} | ${cell(option.doc)} |`,
    ),
  ];
}

function entryTable(required: string, entrySchema: object): string[] {
  return [
    '| option | default | expected | |',
    '|---|---|---|---|',
    ...leaves(entrySchema).map(
      ({ path, option }) =>
        `| \`${path}\` | ${path === required ? 'required' : defaultOf(option)} | ${cell(expectedOf(option))} | ${cell(option.doc)} |`,
    ),
  ];
}

function expectedOf(option: Option<unknown>): string {
  return option.format === 'Object' ? 'a mapping' : option.format;
}

function defaultOf(option: Option<unknown>): string {
  if (option.defaultDoc !== undefined) return cell(option.defaultDoc);
  if (option.default === null || option.default === '') return '';
  return code(typeof option.default === 'object' ? JSON.stringify(option.default) : String(option.default));
}

function code(text: string | undefined): string {
  return text === undefined ? '' : `\`${text}\``;
}

function cell(text: string): string {
  return text.replace(/\|/g, '\\|').replace(/\n/g, ' ');
}

const hidden = '***';

/**
 * What is in force, fit for a log: the values of secret options are replaced, and so is everything in a plugin's own
 * options whose name says that it is one.
 */
export function redact(config: Config): Record<string, unknown> {
  const secret = new Set(leaves(schema).flatMap(({ path, option }) => (option.sensitive === true ? [path] : [])));
  const walk = (value: unknown, path: string, name: string): unknown => {
    if (value === null) return null;
    if (secret.has(path) || (path.startsWith('plugins.') && /pass|secret|token|key|credential|auth/i.test(name)))
      return hidden;
    if (Array.isArray(value)) return value.map((entry) => walk(entry, path, name));
    if (typeof value !== 'object') return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, child]) => [key, walk(child, path === '' ? key : `${path}.${key}`, key)]),
    );
  };
  return walk(config, '', '') as Record<string, unknown>;
}
