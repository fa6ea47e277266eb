/** File, environment and flags to one checked, frozen `Config`. The only place that reads the environment. */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import convict from 'convict';
import { clusterLevel } from '../bus/topics';
import { check, collect, fromFile, loadModelSources, loadPlugins, loadStreams } from './entries';
import { parseFile } from './file';
import { isLoopback } from './loopback';
import type { Values } from './option';
import { ConfigError, type ConfigProblem, reasonOf, show, suggestion } from './problems';
import {
  isOption,
  isToken,
  type Leaf,
  leaves,
  type ModelSourceConfig,
  type PluginConfig,
  type Schema,
  type StreamConfig,
  schema,
} from './schema';

type Loaded = Omit<Values<Schema>, 'streams' | 'plugins' | 'model'>;

/** Everything the daemon was told, checked. `null` stands for "not set". */
export interface Config extends Loaded {
  readonly model: Omit<Values<Schema>['model'], 'sources'> & {
    readonly sources: Readonly<Record<string, ModelSourceConfig>>;
  };
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
  if (values.get('pluginDirectory' as never) === '') {
    values.set('pluginDirectory', join(values.get('stateDirectory' as never) as string, 'plugins'));
  }

  for (const [path, leaf] of byPath) check(leaf, values.get(path as never), origins.get(path) ?? 'default', problems);
  const tree = values.getProperties() as unknown as Values<Schema>;
  const streams = loadStreams(tree, file ?? '', problems);
  const plugins = loadPlugins(tree, file ?? '', problems);
  const model = { ...tree.model, sources: loadModelSources(tree, file ?? '', problems) };
  const mqtt = {
    ...tree.mqtt,
    password: readSecret(passwordOption, tree.mqtt.password, tree.mqtt.passwordFile, origins, problems),
  };
  const http = {
    ...tree.http,
    token: readSecret(tokenOption, tree.http.token, tree.http.tokenFile, origins, problems),
  };
  checkTogether({ ...tree, http }, streams, origins, problems);
  if (problems.length > 0) throw new ConfigError(problems);
  return deepFreeze({ ...tree, model, mqtt, http, streams, plugins, file: file ?? null });
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
  { node, mqtt, cluster, http, defaults, limits, governor }: Values<Schema>,
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
  if (cluster.name !== null && node.id === clusterLevel) {
    problems.push({
      path: 'node.id',
      expected: `another name than ${clusterLevel}, whose topics are those of clusters`,
      received: node.id,
      origin: origins.get('node.id') ?? 'default',
    });
  }
  if (governor.warmC !== null && governor.hotC !== null && governor.warmC > governor.hotC) {
    problems.push({
      path: 'governor.warmC',
      expected: `at most governor.hotC (${governor.hotC})`,
      received: String(governor.warmC),
      origin: origins.get('governor.warmC') ?? 'default',
    });
  }
  // A token file that cannot be read is a problem of its own.
  if (http.enabled && !isLoopback(http.host) && http.token === null && http.tokenFile === null) {
    problems.push({
      path: 'http.token',
      expected: `a token or http.tokenFile, since http.host (${http.host}) can be reached from other machines`,
      received: 'nothing',
      origin: origins.get('http.host') ?? 'default',
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

/** An option that may stand in a file of its own. */
interface SecretOption {
  readonly path: string;
  readonly filePath: string;
  readonly expected: string;
  readonly accepts: (secret: string) => boolean;
}

const passwordOption: SecretOption = {
  path: 'mqtt.password',
  filePath: 'mqtt.passwordFile',
  expected: '1 to 65535 characters',
  accepts: (secret) => secret !== '' && secret.length <= 65_535,
};

const tokenOption: SecretOption = {
  path: 'http.token',
  filePath: 'http.tokenFile',
  expected: '16 to 512 printable ASCII characters without spaces',
  accepts: isToken,
};

function readSecret(
  { path, filePath, expected, accepts }: SecretOption,
  value: string | null,
  file: string | null,
  origins: ReadonlyMap<string, string>,
  problems: ConfigProblem[],
): string | null {
  if (typeof file !== 'string') return value;
  const origin = origins.get(filePath) ?? 'default';
  if (value !== null) {
    problems.push({ path: filePath, expected: `nothing, since ${path} is set`, received: show(file), origin });
    return null;
  }
  try {
    return readSecretFile(file, accepts);
  } catch (error) {
    problems.push({
      path: filePath,
      expected: `a readable file with ${expected}`,
      received: `${show(file)}: ${reasonOf(error)}`,
      origin,
    });
    return null;
  }
}

/** Without the newline at its end. Throws what reading throws, and where the file holds nothing that can be one. */
function readSecretFile(file: string, accepts: (secret: string) => boolean): string {
  const secret = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  if (!accepts(secret)) throw new Error(`it holds ${secret.length} characters`);
  return secret;
}

/** Reads `mqtt.passwordFile` again: it may have changed since the configuration was loaded. */
export function readMqttPassword(file: string): string {
  return readSecretFile(file, passwordOption.accepts);
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
