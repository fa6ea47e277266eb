/** Values of one part of the schema, and the mappings whose entries have schemas of their own. */
import { dirname, resolve } from 'node:path';
import convict from 'convict';
import { isName } from '../bus/topics';
import { isLoopback } from './loopback';
import { fits, type Values } from './option';
import { type ConfigProblem, isRecord, show, suggestion } from './problems';
import {
  isOption,
  type Leaf,
  leaves,
  type ModelSourceConfig,
  modelSourceSchema,
  type PluginConfig,
  pluginSchema,
  type Schema,
  type StreamConfig,
  streamSchemas,
} from './schema';

/** The values of `raw` by dotted path; what the schema does not know becomes a problem. */
export function collect(
  node: object,
  raw: Readonly<Record<string, unknown>>,
  prefix: string,
  origin: string,
  problems: ConfigProblem[],
): [string, unknown][] {
  const known = Object.keys(node);
  return Object.entries(raw).flatMap(([key, value]): [string, unknown][] => {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    if (!known.includes(key)) {
      problems.push({ path, expected: `a known option${suggestion(key, known)}`, received: show(key), origin });
      return [];
    }
    const child = (node as Record<string, object>)[key] as object;
    if (isOption(child)) return value === undefined ? [] : [[path, value]];
    if (value === null) return [];
    if (!isRecord(value)) {
      problems.push({
        path,
        expected: `a section with ${Object.keys(child).join(', ')}`,
        received: show(value),
        origin,
      });
      return [];
    }
    return collect(child, value, path, origin, problems);
  });
}

export function check(leaf: Leaf, value: unknown, origin: string, problems: ConfigProblem[]): void {
  const { option, path } = leaf;
  if (option.format === 'Object') {
    if (!isRecord(value)) problems.push({ path, expected: 'a mapping', received: show(value), origin });
    return;
  }
  if (!fits(option.format, value)) {
    problems.push({
      path,
      expected: option.format,
      received: option.sensitive === true ? 'a value that is not shown' : show(value),
      origin,
    });
  }
}

/** One entry of a mapping, with its defaults: `collect`, `set`, `check` on a schema of its own. */
function loadEntry(
  entrySchema: object,
  defaults: readonly (readonly [string, unknown])[],
  raw: unknown,
  path: string,
  origin: string,
  problems: ConfigProblem[],
): unknown {
  if (!isRecord(raw)) {
    problems.push({
      path,
      expected: `a mapping with ${Object.keys(entrySchema).join(', ')}`,
      received: show(raw),
      origin,
    });
    return undefined;
  }
  const entry = convict(entrySchema as convict.Schema<Record<string, unknown>>, { env: {}, args: [] });
  for (const [name, value] of defaults) entry.set(name, value);
  const given = new Set<string>();
  // `collect` works on paths from the top; convict wants those of the entry.
  for (const [fullPath, value] of collect(entrySchema, raw, path, origin, problems)) {
    const name = fullPath.slice(path.length + 1);
    entry.set(name, value);
    given.add(name);
  }
  for (const leaf of leaves(entrySchema)) {
    // Inherited values were checked where they were given.
    if (given.has(leaf.path))
      check({ ...leaf, path: `${path}.${leaf.path}` }, entry.get(leaf.path as never), origin, problems);
  }
  return entry.getProperties();
}

export function loadStreams(
  tree: Values<Schema>,
  origin: string,
  problems: ConfigProblem[],
): Record<string, StreamConfig> {
  const streams: [string, StreamConfig][] = [];
  for (const [name, raw] of entriesOf(tree.streams, 'streams', origin, problems)) {
    const path = `streams.${name}`;
    const kind = isRecord(raw) ? raw['kind'] : undefined;
    if (kind !== 'camera' && kind !== 'microphone') {
      const expected = isRecord(raw) ? 'one of camera, microphone' : 'a mapping with kind, topics, ...';
      problems.push({
        path: isRecord(raw) ? `${path}.kind` : path,
        expected,
        received: isRecord(raw) ? show(kind) : show(raw),
        origin,
      });
      continue;
    }
    const defaults = tree.defaults[kind];
    const inherited = leaves(streamSchemas[kind])
      .filter((leaf) => leaf.path !== 'kind' && leaf.path !== 'topics')
      .map((leaf) => [leaf.path, valueAt(defaults, leaf.path)] as const);
    const entry = loadEntry(streamSchemas[kind], inherited, raw, path, origin, problems);
    if (entry !== undefined) streams.push([name, entry as StreamConfig]);
  }
  return Object.fromEntries(streams);
}

export function loadPlugins(
  tree: Values<Schema>,
  origin: string,
  problems: ConfigProblem[],
): Record<string, PluginConfig> {
  const plugins: [string, PluginConfig][] = [];
  for (const [name, raw] of entriesOf(tree.plugins, 'plugins', origin, problems)) {
    const entry = loadEntry(pluginSchema, [], raw ?? {}, `plugins.${name}`, origin, problems) as
      | PluginConfig
      | undefined;
    if (entry === undefined) continue;
    plugins.push([name, { ...entry, path: fromFile(entry.path, origin) }]);
  }
  return Object.fromEntries(plugins);
}

export function loadModelSources(
  tree: Values<Schema>,
  origin: string,
  problems: ConfigProblem[],
): Record<string, ModelSourceConfig> {
  const sources: [string, ModelSourceConfig][] = [];
  for (const [name, raw] of entriesOf(tree.model.sources, 'model.sources', origin, problems)) {
    const path = `model.sources.${name}`;
    const entry = loadEntry(modelSourceSchema, [], raw, path, origin, problems) as ModelSourceConfig | undefined;
    if (entry === undefined) continue;
    checkModelSource(entry, path, origin, problems);
    sources.push([name, { ...entry, tokenFile: fromFile(entry.tokenFile, origin) }]);
  }
  return Object.fromEntries(sources);
}

/** What one option of a source alone cannot tell. */
function checkModelSource(entry: ModelSourceConfig, path: string, origin: string, problems: ConfigProblem[]): void {
  const missing = (where: string, expected: string): void => {
    problems.push({ path: where, expected, received: 'nothing', origin });
  };
  if (entry.url === null) missing(`${path}.url`, 'a URL');
  if (entry.sha256 === null) missing(`${path}.sha256`, '64 hexadecimal digits, without which nothing is downloaded');
  const { mmproj, tokenFile } = entry;
  if ((mmproj.url === null) !== (mmproj.sha256 === null))
    missing(`${path}.mmproj.${mmproj.url === null ? 'url' : 'sha256'}`, 'both url and sha256 of the encoders');
  for (const url of [entry.url, mmproj.url]) {
    if (tokenFile === null || url === null || !URL.canParse(url)) continue;
    const { protocol, hostname } = new URL(url);
    if (protocol === 'https:' || isLoopback(hostname)) continue;
    problems.push({ path: `${path}.tokenFile`, expected: 'none, or https URLs', received: show(url), origin });
  }
}

function entriesOf(section: unknown, path: string, origin: string, problems: ConfigProblem[]): [string, unknown][] {
  if (!isRecord(section)) return [];
  return Object.entries(section).filter(([name]) => {
    if (isName(name)) return true;
    problems.push({
      path: `${path}.${name.slice(0, 80)}`,
      expected: 'a name of 1 to 64 of a-z 0-9 _ -',
      received: show(name),
      origin,
    });
    return false;
  });
}

function valueAt(node: unknown, path: string): unknown {
  return path.split('.').reduce((at, key) => (isRecord(at) ? at[key] : undefined), node);
}

/** A path as it stands in the file at `origin`: relative to that file. */
export function fromFile(path: string | null, origin: string): string | null {
  return path === null || origin === '' ? path : resolve(dirname(origin), path);
}
