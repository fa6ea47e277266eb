/** The model that is loaded and those that are not, by the names clients use for them. */
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { HearthError } from '../errors';
import type { ModelInfo } from '../inference/types';
import type { ModelSource } from '../models/catalogue';
import type { ModelFiles } from '../models/locate';
import type { PullTerms } from '../models/model-puller';
import type { InstalledModel } from '../models/model-store';

/** The models that were downloaded, and the way to more of them. */
export interface ModelsAccess {
  readonly installed: () => readonly InstalledModel[];
  /** Entry of the catalogue that the loaded model is of. */
  readonly inUse: () => string | null;
  /** Throws `MODEL_UNKNOWN` for what is not in the catalogue. */
  readonly source: (name: string) => ModelSource;
  readonly pull: (name: string, terms: PullTerms) => Promise<InstalledModel>;
  readonly cancel: (id: string) => boolean;
}

/** What is known of the file beside what is in it. */
export interface ModelFile {
  readonly sizeBytes: number;
  /** Unix time in milliseconds. */
  readonly modifiedMs: number;
}

/** Of the text model and the encoders together. */
export function modelFileOf({ modelPath, multimodalPath }: ModelFiles): ModelFile {
  const stats = [modelPath, multimodalPath].flatMap((path) => (path === undefined ? [] : [statSync(path)]));
  return {
    sizeBytes: stats.reduce((sum, { size }) => sum + size, 0),
    modifiedMs: Math.max(...stats.map(({ mtimeMs }) => mtimeMs)),
  };
}

/** A name of letters, digits and `. _ -`, as ids of models are. */
export function modelId({ name }: Pick<ModelInfo, 'name'>): string {
  const id = name
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^-+|-+$/g, '');
  return id === '' ? 'model' : id;
}

/** Not of the file's bytes, of which there may be gigabytes: the same for as long as the file stays as it is. */
export function modelDigest(info: ModelInfo, { sizeBytes, modifiedMs }: ModelFile): string {
  return createHash('sha256').update(`${info.name}\0${info.parameters}\0${sizeBytes}\0${modifiedMs}`).digest('hex');
}

/**
 * What a request's `model` means: the id, or the id with `:latest` or the name of a slice behind it. Throws
 * `MODEL_UNKNOWN` for any other, `ENGINE_NOT_READY` while there is none.
 */
export function resolveModel(
  wanted: string | undefined,
  info: ModelInfo | undefined,
): { readonly info: ModelInfo; readonly slice?: string } {
  if (info === undefined) throw new HearthError('ENGINE_NOT_READY', 'the model is not loaded yet');
  const id = modelId(info);
  if (wanted === undefined || wanted === id || wanted === `${id}:latest`) return { info };
  const slice = wanted.startsWith(`${id}:`) ? wanted.slice(id.length + 1) : undefined;
  if (slice !== undefined && info.slices.includes(slice)) return { info, slice };
  throw new HearthError(
    'MODEL_UNKNOWN',
    `model: expected ${id}, or ${id}: and one of ${info.slices.join(', ')}, received ${JSON.stringify(wanted.slice(0, 80))}`,
  );
}

/**
 * The same, and the loaded model by the name it was pulled by, too. One that is installed and not loaded is refused: a
 * client of HTTP does not take the model away from the cameras.
 */
export function modelFor(
  { model, models }: { readonly model: () => ModelInfo | undefined; readonly models?: ModelsAccess },
  wanted: string | undefined,
): { readonly info: ModelInfo; readonly slice?: string } {
  const info = model();
  const [name, ...rest] = wanted?.split(':') ?? [];
  const own = info !== undefined && name !== undefined && name === models?.inUse();
  try {
    return resolveModel(own ? [modelId(info), ...rest].join(':') : wanted, info);
  } catch (error) {
    const there = models?.installed().some((installed) => installed.name === name) === true;
    if (info === undefined || !there || own) throw error;
    throw new HearthError(
      'MODEL_UNKNOWN',
      `model: expected ${modelId(info)}, which is loaded; ${name} is installed, and loaded by the request model/load`,
    );
  }
}
