/** Where the model's files are: the configured one, and the encoders that lie beside it. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Config } from '../config';
import { HearthError } from '../errors';

export interface ModelFiles {
  readonly modelPath: string;
  readonly multimodalPath: string | undefined;
}

/** Throws `CONFIG_INVALID` or `FILE_UNREADABLE`. */
export function locateModel({ model }: Pick<Config, 'model'>): ModelFiles {
  if (model.path === null) {
    throw new HearthError('CONFIG_INVALID', 'model.path: expected the path of a GGUF file, received nothing');
  }
  checkFile('model.path', model.path);
  if (model.multimodalPath !== null) {
    checkFile('model.multimodalPath', model.multimodalPath);
    return { modelPath: model.path, multimodalPath: model.multimodalPath };
  }
  return { modelPath: model.path, multimodalPath: siblingEncoders(model.path) };
}

function checkFile(option: string, path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isFile()) {
    throw new HearthError(
      'FILE_UNREADABLE',
      `${option}: expected a file, received ${path}${stat === undefined ? ', which does not exist' : ''}`,
    );
  }
}

/** The one `mmproj-*.gguf` beside the model; of several, the one that is named after it. */
export function siblingEncoders(modelPath: string): string | undefined {
  const directory = dirname(modelPath);
  const named = join(directory, `mmproj-${basename(modelPath)}`);
  if (existsSync(named)) return named;
  const candidates = readdirSync(directory).filter((name) => /^mmproj-.*\.gguf$/i.test(name));
  if (candidates.length > 1) {
    throw new HearthError(
      'CONFIG_INVALID',
      `model.multimodalPath: expected one of several beside the model to be named (${candidates.sort().slice(0, 8).join(', ')}), received nothing`,
    );
  }
  return candidates[0] === undefined ? undefined : join(directory, candidates[0]);
}
