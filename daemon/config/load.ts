/** File, environment and flags to one checked, frozen `Config`. The only place that reads the environment. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import convict from 'convict';
import { distance } from 'fastest-levenshtein';
import { parseDocument } from 'yaml';
import { isName } from '../bus/topics';
import { HearthError } from '../errors';
import { messageOf } from '../log';
import { fits, type Values } from './option';
import {
  isOption,
  type Leaf,
  leaves,
  type PluginConfig,
  pluginSchema,
  type Schema,
  schema,
  type StreamConfig,
  streamSchemas,
} from './schema';

type Loaded = Omit<Values<Schema>, 'streams' | 'plugins'>;

/** Everything the daemon was told, checked. `null` stands for "not set". */
export interface Config extends Loaded {
  readonly streams: Readonly<Record<string, StreamConfig>>;
  readonly plugins: Readonly<Record<string, PluginConfig>>;
  /** The file it came from, if any. */
  readonly file: string | null;
}

export type { CameraConfig, MicrophoneConfig, PluginConfig, StreamConfig } from './schema';

export interface ConfigSources {
  /** Path of a YAML or JSON file. Without one, `HEARTH_CONFIG`, then `/etc/hearth/hearth.yaml` if it is there. */
  readonly file?: string | undefined;
  /** Flags by name without dashes (`mqtt-url`). */
  readonly flags?: Readonly<Record<string, string>> | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

/** One thing that is wrong with the configuration. */
export interface ConfigProblem {
  readonly path: string;
  readonly expected: string;
  /** As JSON, shortened; never the value of a secret. */
  readonly received: string;
  /** `/etc/hearth/hearth.yaml`, `HEARTH_MQTT_URL` or `--mqtt-url`. */
  readonly origin: string;
}

/** `CONFIG_INVALID` with all problems at once. */
export class ConfigError extends HearthError {
  constructor(readonly problems: readonly ConfigProblem[]) {
    super('CONFIG_INVALID', problems.map(describe).join('; '));
  }
}

function describe({ path, expected, received, origin }: ConfigProblem): string {
  return `${path}: expected ${expected}, received ${received} (${origin})`;
}

const systemFile = '/etc/hearth/hearth.yaml';
const maxFileBytes = 1 << 20;
const allLeaves = leaves();

/** Throws `ConfigError`, or `FILE_UNREADABLE` where the file itself cannot be read. */
export function loadConfig(sources: ConfigSources = {}): Config {
  const env = withoutEmpty(sources.env ?? process.env);
  const flags = sources.flags ?? {};
  const problems: ConfigProblem[] = [];
  const file = sources.file ?? env['HEARTH_CONFIG'] ?? (existsSync(systemFile) ? systemFile : undefined);
  const raw = file === undefined ? {} : parseFile(file, problems);

  checkNames('environment', Object.keys(env).filter((name) => name.startsWith('HEARTH_')), envNames(), problems, (name) => name);
  checkNames('flags', Object.keys(flags), argNames(), problems, (name) => `--${name}`);

  const origins = new Map<string, string>();
  const fromFile = collect(schema, raw, '', file ?? '', problems);
  const byPath = new Map(allLeaves.map((leaf) => [leaf.path, leaf]));
  const values = convict(withEnvironment(schema) as convict.Schema<Record<string, unknown>>, { env, args: [] });
  for (const [path, value] of fromFile) {
    values.set(path, value);
    origins.set(path, file ?? '');
  }
  // Puts the environment above the file again.
  values.load({});
  for (const { path, env: name, arg } of allLeaves) {
    if (name !== undefined && env[name] !== undefined) origins.set(path, name);
    if (arg !== undefined && flags[arg] !== undefined) {
      values.set(path, flags[arg]);
      origins.set(path, `--${arg}`);
    }
  }
  if (values.get('stateDirectory' as never) === '') values.set('stateDirectory', defaultStateDirectory(env));

  for (const [path, leaf] of byPath) check(leaf, values.get(path as never), origins.get(path) ?? 'default', problems);
  const tree = values.getProperties() as unknown as Values<Schema>;
  const streams = loadStreams(tree, file ?? '', problems);
  const plugins = loadPlugins(tree, file ?? '', problems);
  const mqtt = { ...tree.mqtt, password: readPassword(tree.mqtt, file, origins, problems) };
  checkTogether(tree, streams, origins, problems);
  if (problems.length > 0) throw new ConfigError(problems);
  return deepFreeze({ ...tree, mqtt, streams, plugins, file: file ?? null });
}

/** Every flag there is, for the command line's own help. */
export function configFlags(): readonly Leaf[] {
  return allLeaves.filter((leaf) => leaf.arg !== undefined);
}

function withoutEmpty(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== ''));
}

function envNames(): string[] {
  return ['HEARTH_CONFIG', ...allLeaves.flatMap(({ env }) => (env === undefined ? [] : [env]))];
}

function argNames(): string[] {
  return allLeaves.flatMap(({ arg }) => (arg === undefined ? [] : [arg]));
}

function checkNames(
  origin: string,
  given: readonly string[],
  known: readonly string[],
  problems: ConfigProblem[],
  show: (name: string) => string,
): void {
  for (const name of given) {
    if (!known.includes(name)) {
      problems.push({ path: show(name), expected: `a known option${suggestion(name, known, show)}`, received: show(name), origin });
    }
  }
}

function suggestion(given: string, known: readonly string[], show: (name: string) => string = (name) => name): string {
  if (given.length > 128) return '';
  const letters = (name: string): string => [...name.toLowerCase()].sort().join('');
  const ranked = known
    // Two letters that changed places count as two edits, so between equals the same letters decide.
    .map((name) => ({ name, edits: distance(given.toLowerCase(), name.toLowerCase()), moved: letters(name) === letters(given) ? 0 : 1 }))
    .sort((a, b) => a.edits - b.edits || a.moved - b.moved);
  const nearest = ranked[0];
  return nearest !== undefined && nearest.edits <= Math.max(2, Math.ceil(nearest.name.length / 3)) ? ` (did you mean ${show(nearest.name)}?)` : '';
}

function parseFile(path: string, problems: ConfigProblem[]): Record<string, unknown> {
  let content: string;
  try {
    const { size } = statSync(path);
    if (size > maxFileBytes) {
      throw new HearthError('FILE_UNREADABLE', `configuration ${path}: expected at most ${maxFileBytes} bytes, received ${size}`);
    }
    content = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof HearthError) throw error;
    throw new HearthError('FILE_UNREADABLE', `configuration ${path}: ${reasonOf(error)}`, { cause: error });
  }
  // JSON is YAML 1.2, so one parser serves both. Aliases are refused beyond a few: they can multiply without bound.
  const document = parseDocument(content, { prettyErrors: true, uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined) {
    problems.push({ path: '(file)', expected: 'YAML or JSON', received: error.message.split('\n')[0] ?? error.code, origin: path });
    return {};
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    problems.push({ path: '(file)', expected: 'at most 100 aliases', received: reasonOf(cause), origin: path });
    return {};
  }
  if (value === null || value === undefined) return {};
  if (!isRecord(value)) {
    problems.push({ path: '(file)', expected: 'a mapping of sections', received: show(value), origin: path });
    return {};
  }
  return value;
}

/** The values of `raw` by dotted path; what the schema does not know becomes a problem. */
function collect(
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
      problems.push({ path, expected: `a section with ${Object.keys(child).join(', ')}`, received: show(value), origin });
      return [];
    }
    return collect(child, value, path, origin, problems);
  });
}

function withEnvironment(node: object, prefix = ''): object {
  return Object.fromEntries(
    Object.entries(node).map(([key, child]: [string, object]) => {
      const path = prefix === '' ? key : `${prefix}.${key}`;
      if (!isOption(child)) return [key, withEnvironment(child, path)];
      const leaf = allLeaves.find((candidate) => candidate.path === path);
      return [key, { ...child, ...(leaf?.env === undefined ? {} : { env: leaf.env }), ...(leaf?.arg === undefined ? {} : { arg: leaf.arg }) }];
    }),
  );
}

function check(leaf: Leaf, value: unknown, origin: string, problems: ConfigProblem[]): void {
  const { option, path } = leaf;
  if (option.format === 'Object') {
    if (!isRecord(value)) problems.push({ path, expected: 'a mapping', received: show(value), origin });
    return;
  }
  if (!fits(option.format, value)) {
    problems.push({ path, expected: option.format, received: option.sensitive === true ? 'a value that is not shown' : show(value), origin });
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
    problems.push({ path, expected: `a mapping with ${Object.keys(entrySchema).join(', ')}`, received: show(raw), origin });
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
    if (given.has(leaf.path)) check({ ...leaf, path: `${path}.${leaf.path}` }, entry.get(leaf.path as never), origin, problems);
  }
  return entry.getProperties();
}

function loadStreams(tree: Values<Schema>, origin: string, problems: ConfigProblem[]): Record<string, StreamConfig> {
  const streams: [string, StreamConfig][] = [];
  for (const [name, raw] of entriesOf(tree.streams, 'streams', origin, problems)) {
    const path = `streams.${name}`;
    const kind = isRecord(raw) ? raw['kind'] : undefined;
    if (kind !== 'camera' && kind !== 'microphone') {
      const expected = isRecord(raw) ? 'one of camera, microphone' : 'a mapping with kind, topics, ...';
      problems.push({ path: isRecord(raw) ? `${path}.kind` : path, expected, received: isRecord(raw) ? show(kind) : show(raw), origin });
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

function loadPlugins(tree: Values<Schema>, origin: string, problems: ConfigProblem[]): Record<string, PluginConfig> {
  const plugins: [string, PluginConfig][] = [];
  for (const [name, raw] of entriesOf(tree.plugins, 'plugins', origin, problems)) {
    const entry = loadEntry(pluginSchema, [], raw ?? {}, `plugins.${name}`, origin, problems) as PluginConfig | undefined;
    if (entry === undefined) continue;
    const path = entry.path === null || origin === '' ? entry.path : resolve(dirname(origin), entry.path);
    plugins.push([name, { ...entry, path }]);
  }
  return Object.fromEntries(plugins);
}

function entriesOf(section: unknown, path: string, origin: string, problems: ConfigProblem[]): [string, unknown][] {
  if (!isRecord(section)) return [];
  return Object.entries(section).filter(([name]) => {
    if (isName(name)) return true;
    problems.push({ path: `${path}.${name.slice(0, 80)}`, expected: 'a name of 1 to 64 of a-z 0-9 _ -', received: show(name), origin });
    return false;
  });
}

/** What one option alone cannot tell. */
function checkTogether(
  { mqtt, defaults, limits }: Values<Schema>,
  streams: Readonly<Record<string, StreamConfig>>,
  origins: ReadonlyMap<string, string>,
  problems: ConfigProblem[],
): void {
  const both = (first: 'certFile' | 'keyFile', second: 'certFile' | 'keyFile'): void => {
    if (mqtt.tls[first] !== null && mqtt.tls[second] === null) {
      const origin = origins.get(`mqtt.tls.${first}`) ?? 'default';
      problems.push({ path: `mqtt.tls.${second}`, expected: `a file, since mqtt.tls.${first} is set`, received: 'nothing', origin });
    }
  };
  both('certFile', 'keyFile');
  both('keyFile', 'certFile');
  for (const [path, stream] of [['defaults.camera', defaults.camera], ...Object.entries(streams).map(([n, s]) => [`streams.${n}`, s] as const)] as const) {
    if (!('raw' in stream)) continue;
    const { pixelFormat, width, height } = stream.raw;
    if (pixelFormat !== null && (width === null || height === null)) {
      problems.push({
        path: `${path}.raw`,
        expected: 'width and height, since pixelFormat is set',
        received: show(stream.raw),
        origin: origins.get(`${path}.raw.pixelFormat`) ?? 'file',
      });
    }
  }
  const listed = Object.keys(streams).length;
  if (listed > limits.maxStreams) {
    problems.push({
      path: 'streams',
      expected: `at most limits.maxStreams (${limits.maxStreams}) streams`,
      received: String(listed),
      origin: origins.get('streams') ?? 'file',
    });
  }
}

function readPassword(
  mqtt: Values<Schema>['mqtt'],
  file: string | undefined,
  origins: ReadonlyMap<string, string>,
  problems: ConfigProblem[],
): string | null {
  if (typeof mqtt.passwordFile !== 'string') return mqtt.password;
  const origin = origins.get('mqtt.passwordFile') ?? 'default';
  if (mqtt.password !== null) {
    problems.push({ path: 'mqtt.passwordFile', expected: 'nothing, since mqtt.password is set', received: show(mqtt.passwordFile), origin });
    return null;
  }
  // A path in the file is relative to the file, one on the command line to where one stands.
  const path = origin === file ? resolve(dirname(origin), mqtt.passwordFile) : mqtt.passwordFile;
  try {
    const password = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
    if (password === '' || password.length > 65_535) throw new Error(`it holds ${password.length} characters`);
    return password;
  } catch (error) {
    problems.push({ path: 'mqtt.passwordFile', expected: 'a readable file with 1 to 65535 characters', received: `${show(path)}: ${reasonOf(error)}`, origin });
    return null;
  }
}

/** systemd names the directory in `STATE_DIRECTORY`, and several with colons between. */
function defaultStateDirectory(env: Readonly<Record<string, string>>): string {
  const fromSystemd = env['STATE_DIRECTORY']?.split(':')[0];
  return fromSystemd ?? join(env['XDG_STATE_HOME'] ?? join(homedir(), '.local/state'), 'hearth');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function valueAt(node: unknown, path: string): unknown {
  return path.split('.').reduce((at, key) => (isRecord(at) ? at[key] : undefined), node);
}

/** As JSON, at most 80 characters of it; without what a URL may carry before its @. */
function show(value: unknown): string {
  const json = JSON.stringify(value, (_key, entry: unknown) => (typeof entry === 'bigint' ? `${entry}n` : entry)) ?? String(value);
  const safe = json.replace(/:\/\/[^@/]*@/g, '://***@');
  return safe.length > 80 ? `${safe.slice(0, 80)}...` : safe;
}

function reasonOf(error: unknown): string {
  if (isRecord(error) && typeof error['code'] === 'string') return error['code'];
  return messageOf(error);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const child of Object.values(value)) deepFreeze(child);
  }
  return value;
}
