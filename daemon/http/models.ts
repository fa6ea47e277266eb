/** The one model this daemon has, by the names clients use for it. */
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { HearthError } from '../errors';
import type { ModelInfo } from '../inference/types';
import type { ModelFiles } from '../models/locate';

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
