/** File, environment and flags to one checked, frozen `Config`. The only place that reads the environment. */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import convict from 'convict';
import { check, collect, fromFile, loadPlugins, loadStreams } from './entries';
import { parseFile } from './file';
import type { Values } from './option';
import { ConfigError, type ConfigProblem, reasonOf, show, suggestion } from './problems';
import { isOption, type Leaf, leaves, type PluginConfig, type Schema, type StreamConfig, schema } from './schema';

type Loaded = Omit<Values<Schema>, 'streams' | 'plugins'>;

/** Everything the daemon was told, checked. `null` stands for "not set". */
export interface Config extends Loaded {
  readonly streams: Readonly<Record<string, StreamConfig>>;
  readonly plugins: Readonly<Record<string, PluginConfig>>;
  /** The file it came from, if any. */
  readonly file: string | null;
}

export interface ConfigSources {
  /** Path of a YAML or JSON file. Without one, `HEARTH_CONFIG`, then `/etc/hearth/hearth.yaml` if it is there. */
  readonly file?: string | undefined;
  /** Flags by name without dashes (`mqtt-url`). */
  readonly flags?: Readonly<Record<string, string>> | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

const systemFile = '/etc/hearth/hearth.yaml';
const allLeaves = leaves();

/** Throws `ConfigError`, or `FILE_UNREADABLE` where the file itself cannot be read. */
export function loadConfig(sources: ConfigSources = {}): Config {
  const env = withoutEmpty(sources.env ?? process.env);
  const flags = sources.flags ?? {};
  const problems: ConfigProblem[] = [];
  const file = sources.file ?? env['HEARTH_CONFIG'] ?? (existsSync(systemFile) ? systemFile : undefined);
  const raw = file === undefined ? {} : parseFile(file, problems);

  checkNames(
    'environment',
    Object.keys(env).filter((name) => name.startsWith('HEARTH_')),
    envNames(),
    problems,
    (name) => name,
  );
  checkNames('flags', Object.keys(flags), argNames(), problems, (name) => `--${name}`);

  const origins = new Map<string, string>();
  const byPath = new Map(allLeaves.map((leaf) => [leaf.path, leaf]));
  const values = convict(withEnvironment(schema) as convict.Schema<Record<string, unknown>>, { env, args: [] });
  for (const [path, value] of collect(schema, raw, '', file ?? '', problems)) {
    const isPath = byPath.get(path)?.option.isPath === true && typeof value === 'string';
    values.set(path, isPath ? fromFile(value, file ?? '') : value);
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
  const mqtt = { ...tree.mqtt, password: readPassword(tree.mqtt, origins, problems) };
  checkTogether(tree, streams, origins, problems);
  if (problems.length > 0) throw new ConfigError(problems);
  return deepFreeze({ ...tree, mqtt, streams, plugins, file: file ?? null });
}

/** Every flag there is, for the command line's own help. */
export function configFlags(): readonly Leaf[] {
  return allLeaves.filter((leaf) => leaf.arg !== undefined);
}

function withoutEmpty(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== ''),
  );
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
      problems.push({
        path: show(name),
        expected: `a known option${suggestion(name, known, show)}`,
        received: show(name),
        origin,
      });
    }
  }
}

function withEnvironment(node: object, prefix = ''): object {
  return Object.fromEntries(
    Object.entries(node).map(([key, child]: [string, object]) => {
      const path = prefix === '' ? key : `${prefix}.${key}`;
      if (!isOption(child)) return [key, withEnvironment(child, path)];
      const leaf = allLeaves.find((candidate) => candidate.path === path);
      return [
        key,
        {
          ...child,
          ...(leaf?.env === undefined ? {} : { env: leaf.env }),
          ...(leaf?.arg === undefined ? {} : { arg: leaf.arg }),
        },
      ];
    }),
  );
}

/** What one option alone cannot tell. */
function checkTogether(
  { mqtt, defaults, limits, governor }: Values<Schema>,
  streams: Readonly<Record<string, StreamConfig>>,
  origins: ReadonlyMap<string, string>,
  problems: ConfigProblem[],
): void {
  const both = (first: 'certFile' | 'keyFile', second: 'certFile' | 'keyFile'): void => {
    if (mqtt.tls[first] !== null && mqtt.tls[second] === null) {
      const origin = origins.get(`mqtt.tls.${first}`) ?? 'default';
      problems.push({
        path: `mqtt.tls.${second}`,
        expected: `a file, since mqtt.tls.${first} is set`,
        received: 'nothing',
        origin,
      });
    }
  };
  both('certFile', 'keyFile');
  both('keyFile', 'certFile');
  for (const [path, stream] of [
    ['defaults.camera', defaults.camera],
    ...Object.entries(streams).map(([n, s]) => [`streams.${n}`, s] as const),
  ] as const) {
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
  if (governor.warmC !== null && governor.hotC !== null && governor.warmC > governor.hotC) {
    problems.push({
      path: 'governor.warmC',
      expected: `at most governor.hotC (${governor.hotC})`,
      received: String(governor.warmC),
      origin: origins.get('governor.warmC') ?? 'default',
    });
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
  origins: ReadonlyMap<string, string>,
  problems: ConfigProblem[],
): string | null {
  if (typeof mqtt.passwordFile !== 'string') return mqtt.password;
  const origin = origins.get('mqtt.passwordFile') ?? 'default';
  if (mqtt.password !== null) {
    problems.push({
      path: 'mqtt.passwordFile',
      expected: 'nothing, since mqtt.password is set',
      received: show(mqtt.passwordFile),
      origin,
    });
    return null;
  }
  const path = mqtt.passwordFile;
  try {
    const password = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
    if (password === '' || password.length > 65_535) throw new Error(`it holds ${password.length} characters`);
    return password;
  } catch (error) {
    problems.push({
      path: 'mqtt.passwordFile',
      expected: 'a readable file with 1 to 65535 characters',
      received: `${show(path)}: ${reasonOf(error)}`,
      origin,
    });
    return null;
  }
}

/** systemd names the directory in `STATE_DIRECTORY`, and several with colons between. */
function defaultStateDirectory(env: Readonly<Record<string, string>>): string {
  const fromSystemd = env['STATE_DIRECTORY']?.split(':')[0];
  return fromSystemd ?? join(env['XDG_STATE_HOME'] ?? join(homedir(), '.local/state'), 'hearth');
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const child of Object.values(value)) deepFreeze(child);
  }
  return value;
}
