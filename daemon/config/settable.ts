/** The options of a stream that can be changed while the daemon runs, and what changes make of its configuration. */
import { fits } from './option';
import { show, suggestion } from './problems';
import { type CameraConfig, leaves, type MicrophoneConfig, streamSchemas } from './schema';

export type StreamKind = keyof typeof streamSchemas;

/** Values by the path of their option, such as `motion.threshold`. */
export type StreamChanges = Readonly<Record<string, unknown>>;

/** What a stream has, whatever its topics. */
export type StreamOptions<T extends CameraConfig | MicrophoneConfig> = Omit<T, 'kind' | 'topics'>;

const common = ['enabled', 'schedule', 'priority', 'deadlineMs', 'prompt', 'language'];

export const settable: Readonly<Record<StreamKind, readonly string[]>> = {
  camera: [...common, 'minIntervalMs', 'duplicateThreshold', 'motion.threshold'],
  microphone: common,
};

const formats = {
  camera: new Map(leaves(streamSchemas.camera).map(({ path, option }) => [path, option.format])),
  microphone: new Map(leaves(streamSchemas.microphone).map(({ path, option }) => [path, option.format])),
};

/**
 * What is wrong with a change for a stream that may be of these kinds, as `expected ..., received ...`. Null fits every
 * option: it is the way back to the configuration.
 */
export function changeProblem(kinds: readonly StreamKind[], path: string, value: unknown): string | undefined {
  const kind = kinds.find((candidate) => settable[candidate].includes(path));
  if (kind === undefined) {
    const known = [...new Set(kinds.flatMap((candidate) => settable[candidate]))];
    return `expected one of ${known.join(', ')}${suggestion(path, known)}, received ${show(path)}`;
  }
  const format = formats[kind].get(path) ?? '';
  return value === null || fits(format, value) ? undefined : `expected ${format}, received ${show(value)}`;
}

/** A copy in which the settable options of `changes` have their values; those of other kinds are left out. */
export function withChanges<T extends object>(kind: StreamKind, options: T, changes: StreamChanges): T {
  const paths = Object.keys(changes).filter((path) => settable[kind].includes(path));
  return paths.reduce((changed, path) => replaced(changed, path.split('.'), changes[path]), options);
}

function replaced<T extends object>(node: T, [name = '', ...rest]: readonly string[], value: unknown): T {
  const child = (node as Record<string, unknown>)[name];
  return { ...node, [name]: rest.length === 0 ? value : replaced(child as object, rest, value) };
}

/** The settable options by their paths. */
export function settableValues(kind: StreamKind, options: object): Record<string, unknown> {
  const at = (path: string): unknown =>
    path.split('.').reduce<unknown>((node, name) => (node as Record<string, unknown>)[name], options);
  return Object.fromEntries(settable[kind].map((path) => [path, at(path)]));
}
