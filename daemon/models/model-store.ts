/**
 * The model directory: a directory `<name>-<key>` for each version that was downloaded, whole and checked, and `.pull`
 * for what is on its way. Files of the owner's may lie beside them.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, isAbsolute, join, relative, resolve } from 'node:path';
import { isName } from '../bus/topics';
import type { Config } from '../config';
import { HearthError } from '../errors';
import { messageOf } from '../log';
import type { ModelSource } from './catalogue';
import { type ModelFiles, siblingEncoders } from './locate';
import { writeJson } from './write-json';

export interface InstalledModel {
  readonly name: string;
  readonly title: string;
  readonly version: string;
  readonly key: string;
  readonly sizeBytes: number;
  /** Unix time in milliseconds. */
  readonly installedMs: number;
  readonly files: ModelFiles;
}

interface Manifest {
  readonly v: 1;
  readonly name: string;
  readonly title: string;
  readonly version: string;
  readonly key: string;
  readonly multimodal: boolean;
  readonly installedMs: number;
}

const manifestName = 'model.json';
const stagingName = '.pull';

export function modelDirectoryOf({ model, stateDirectory }: Pick<Config, 'model' | 'stateDirectory'>): string {
  return resolve(model.directory ?? join(stateDirectory, 'models'));
}

export class ModelStore {
  constructor(readonly directory: string) {}

  /** Newest first. What is broken or none of ours is left out. */
  installed(): readonly InstalledModel[] {
    const entries = existsSync(this.directory) ? readdirSync(this.directory, { withFileTypes: true }) : [];
    return entries
      .filter((entry) => entry.isDirectory() && entry.name !== stagingName)
      .flatMap(({ name }) => this.#read(name))
      .sort((a, b) => b.installedMs - a.installedMs);
  }

  find(name: string, key?: string): InstalledModel | undefined {
    return this.installed().find((model) => model.name === name && (key === undefined || model.key === key));
  }

  /** The same error, with file names in place of paths: who asks over the bus need not know where things are. */
  withoutPaths(error: unknown): unknown {
    if (!(error instanceof HearthError)) return error;
    const message = error.message
      .split(' ')
      .map((word) => (word.startsWith(`${this.directory}/`) ? basename(word) : word))
      .join(' ');
    return new HearthError(error.code, message, { cause: error });
  }

  /** Files for a path relative to the directory. Throws `FILE_UNREADABLE`; what is outside is not looked at. */
  locate(path: string): ModelFiles {
    const inside = join(this.directory, path);
    const refusal = (why: string): HearthError =>
      new HearthError(
        'FILE_UNREADABLE',
        `model: expected a .gguf file in the model directory, received ${JSON.stringify(path.slice(0, 120))}${why}`,
      );
    if (isAbsolute(path) || path.includes('\0') || !/\.gguf$/i.test(path) || !isWithin(this.directory, inside))
      throw refusal('');
    try {
      // A link may lead out of it.
      if (!isWithin(realpathSync(this.directory), realpathSync(inside))) throw refusal(', which leads out of it');
      if (!statSync(inside).isFile()) throw refusal(', which is no file');
    } catch (error) {
      throw error instanceof HearthError ? error : refusal(', which is not there');
    }
    return { modelPath: inside, multimodalPath: siblingEncoders(inside) };
  }

  /** Where the files of a source are put together, and what they are called there. Throws `FILE_WRITE_FAILED`. */
  stage(source: ModelSource): { readonly directory: string; readonly files: ModelFiles } {
    const pulls = this.pullDirectory();
    const directory = join(pulls, directoryName(source));
    try {
      // One at a time: what an earlier download has left is of no use any more.
      for (const entry of readdirSync(pulls, { withFileTypes: true })) {
        if (entry.isDirectory() && entry.name !== directoryName(source))
          rmSync(join(pulls, entry.name), { recursive: true, force: true });
      }
      mkdirSync(directory, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new HearthError('FILE_WRITE_FAILED', `${directory}: ${messageOf(error)}`, { cause: error });
    }
    return { directory, files: filesIn(directory, source.name, source.mmproj !== null) };
  }

  /** Where the state of a download is. Throws `FILE_WRITE_FAILED`. */
  pullDirectory(): string {
    const path = join(this.directory, stagingName);
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new HearthError('FILE_WRITE_FAILED', `${path}: ${messageOf(error)}`, { cause: error });
    }
    return path;
  }

  /** Everything is there and checked: at once, or not at all. Throws `FILE_WRITE_FAILED`. */
  install(source: ModelSource): InstalledModel {
    const { directory } = this.stage(source);
    const { name, title, version, key, mmproj } = source;
    const manifest: Manifest = {
      v: 1,
      name,
      title,
      version,
      key,
      multimodal: mmproj !== null,
      installedMs: Date.now(),
    };
    const target = join(this.directory, directoryName(source));
    writeJson(join(directory, manifestName), manifest);
    try {
      rmSync(target, { recursive: true, force: true });
      renameSync(directory, target);
    } catch (error) {
      throw new HearthError('FILE_WRITE_FAILED', `${target}: ${messageOf(error)}`, { cause: error });
    }
    const [installed] = this.#read(directoryName(source));
    if (installed !== undefined) return installed;
    throw new HearthError('FILE_WRITE_FAILED', `${target}: expected the files that were put there`);
  }

  remove(model: InstalledModel): void {
    rmSync(join(this.directory, directoryName(model)), { recursive: true, force: true });
  }

  #read(directory: string): InstalledModel[] {
    try {
      const path = join(this.directory, directory);
      const manifest = JSON.parse(readFileSync(join(path, manifestName), 'utf8')) as Partial<Manifest>;
      const { v, name, title, version, key, multimodal, installedMs } = manifest;
      const texts = [title, version, key].every((text) => typeof text === 'string');
      if (v !== 1 || typeof name !== 'string' || !isName(name) || !texts || typeof installedMs !== 'number') return [];
      const described = { name, title, version, key, installedMs } as Omit<InstalledModel, 'files' | 'sizeBytes'>;
      if (directoryName(described) !== directory) return [];
      const files = filesIn(path, name, multimodal === true);
      const sizeBytes = [files.modelPath, files.multimodalPath]
        .flatMap((file) => (file === undefined ? [] : [statSync(file).size]))
        .reduce((sum, size) => sum + size, 0);
      return [{ ...described, files, sizeBytes }];
    } catch {
      return [];
    }
  }
}

function directoryName({ name, key }: { readonly name: string; readonly key: string }): string {
  return `${name}-${key}`;
}

function filesIn(directory: string, name: string, multimodal: boolean): ModelFiles {
  return {
    modelPath: join(directory, `${name}.gguf`),
    multimodalPath: multimodal ? join(directory, `mmproj-${name}.gguf`) : undefined,
  };
}

function isWithin(directory: string, path: string): boolean {
  const way = relative(directory, path);
  return way !== '' && way.split('/')[0] !== '..' && !isAbsolute(way);
}
