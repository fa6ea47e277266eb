/**
 * Downloads models of the catalogue, one at a time. Who asks for the one that is under way waits with the others; when
 * nobody wants it any more, it ends. What was under way when the daemon ended goes on when it starts again.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { HearthError } from '../errors';
import { type Log, messageOf } from '../log';
import { type Catalogue, type ModelSource, sourceNamed } from './catalogue';
import { type DownloadOptions, download } from './download';
import type { ModelFiles } from './locate';
import type { InstalledModel, ModelStore } from './model-store';
import type { Progress } from './model-update';
import { ProgressPace } from './progress-pace';
import { takePullLock } from './pull-lock';
import { readToken } from './token';
import { writeJson } from './write-json';

export interface ModelPullerOptions {
  readonly catalogue: Catalogue;
  readonly store: ModelStore;
  /** Resolves when the runtime has looked at the files; rejects with its code. */
  readonly check: (files: ModelFiles) => Promise<void>;
  readonly onProgress: (source: ModelSource, progress: Progress) => void;
  readonly onEnd: (error: HearthError | null) => void;
  /** Versions that must not be removed: the one that is loaded, and the one to go back to. */
  readonly inUse: (model: InstalledModel) => boolean;
  readonly log: Log;
  readonly tuning?: Pick<DownloadOptions, 'stallMs' | 'retryDelayMs' | 'maxAttempts' | 'lookup' | 'freeBytes'>;
}

export interface PullTerms {
  /** Who asks; `cancel` takes it back. */
  readonly id: string;
  /** The model is to be loaded once it is there. Kept for `resume`. */
  readonly load?: boolean;
  readonly onProgress?: (progress: Progress) => void;
}

/** What goes on after a restart. */
export interface Interrupted {
  readonly name: string;
  readonly ids: readonly string[];
  readonly load: boolean;
}

interface Pull {
  readonly source: ModelSource;
  readonly abort: AbortController;
  readonly owners: Set<string>;
  readonly listeners: Set<(progress: Progress) => void>;
  load: boolean;
  readonly done: Promise<InstalledModel>;
}

export class ModelPuller {
  readonly #options: ModelPullerOptions;
  #current: Pull | undefined;
  #stopped = false;

  constructor(options: ModelPullerOptions) {
    this.#options = options;
  }

  /**
   * Resolves once the model is installed, at once if it is. Rejects with `MODEL_UNKNOWN`, `MODEL_BUSY`, `SHUTDOWN`, as `download`
   * does, or with what the runtime says of the file.
   */
  async pull(name: string, { id, load = false, onProgress }: PullTerms): Promise<InstalledModel> {
    const { catalogue, store } = this.#options;
    const source = sourceNamed(catalogue, name);
    // One that was cancelled takes nobody with it who asks now.
    while (this.#current?.abort.signal.aborted === true) await this.#current.done.catch(() => undefined);
    if (this.#stopped) throw new HearthError('SHUTDOWN', 'the daemon is stopping');
    const installed = store.find(source.name, source.key);
    if (installed !== undefined) return installed;
    const pull = this.#join(source, id, load);
    if (onProgress !== undefined) pull.listeners.add(onProgress);
    try {
      const left = new Promise<never>((_resolve, reject) => {
        pull.abort.signal.addEventListener('abort', () => {
          if (this.#stopped) reject(new HearthError('SHUTDOWN', 'the daemon is stopping'));
        });
      });
      return await Promise.race([pull.done, left]);
    } finally {
      if (onProgress !== undefined) pull.listeners.delete(onProgress);
    }
  }

  /** True when `id` had asked for the download under way. It ends when nobody else has; what has come is kept. */
  cancel(id: string): boolean {
    const pull = this.#current;
    if (pull?.owners.delete(id) !== true) return false;
    if (pull.owners.size === 0) pull.abort.abort();
    else this.#note(pull);
    return true;
  }

  /** What was under way when the daemon ended, if its entry is still the same. */
  interrupted(): Interrupted | undefined {
    try {
      const journal = JSON.parse(readFileSync(this.#journal(), 'utf8')) as Partial<Interrupted & { key: string }>;
      const { name, key, ids, load } = journal;
      const source = typeof name === 'string' ? this.#options.catalogue.get(name) : undefined;
      if (source === undefined || source.key !== key || !Array.isArray(ids)) return undefined;
      return { name: source.name, ids: ids.filter((id) => typeof id === 'string').slice(0, 64), load: load === true };
    } catch {
      return undefined;
    }
  }

  /** The download under way ends, to go on when the daemon starts again. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const pull = this.#current;
    pull?.abort.abort();
    await pull?.done.catch(() => undefined);
  }

  #journal(): string {
    return join(this.#options.store.directory, '.pull', 'current.json');
  }

  #note({ source, owners, load }: Pull): void {
    writeJson(this.#journal(), { name: source.name, key: source.key, ids: [...owners], load });
  }

  #join(source: ModelSource, id: string, load: boolean): Pull {
    const running = this.#current;
    if (running !== undefined) {
      if (running.source.key !== source.key || running.source.name !== source.name) {
        throw new HearthError(
          'MODEL_BUSY',
          `model/pull: expected no other download, ${running.source.name} is being downloaded`,
        );
      }
      running.owners.add(id);
      running.load ||= load;
      this.#note(running);
      return running;
    }
    const unlock = takePullLock(join(this.#options.store.pullDirectory(), 'lock'));
    const abort = new AbortController();
    const started = { source, abort, owners: new Set([id]), listeners: new Set<(progress: Progress) => void>(), load };
    const pull: Pull = Object.assign(started, {
      done: Promise.resolve()
        .then(async () => await this.#run(pull))
        .finally(() => {
          this.#current = undefined;
          unlock();
        }),
    });
    pull.done.catch(() => undefined);
    this.#current = pull;
    try {
      this.#note(pull);
    } catch (error) {
      abort.abort();
      throw error;
    }
    return pull;
  }

  async #run(pull: Pull): Promise<InstalledModel> {
    const { store, log, onEnd } = this.#options;
    const { source, abort } = pull;
    log.info({ model: source.name, version: source.version }, 'a model is being downloaded');
    try {
      const installed = await this.#fetch(pull);
      rmSync(this.#journal(), { force: true });
      this.#clean(installed);
      log.info({ model: source.name, version: source.version }, 'the model is downloaded');
      onEnd(null);
      return installed;
    } catch (error) {
      const failure =
        error instanceof HearthError ? error : new HearthError('FILE_WRITE_FAILED', messageOf(error), { cause: error });
      // A download that the end of the daemon ends goes on.
      if (!this.#stopped) rmSync(this.#journal(), { force: true });
      if (!abort.signal.aborted && /^(GGUF|MODEL)_/.test(failure.code) && failure.code !== 'MODEL_PULL_REFUSED')
        rmSync(store.stage(source).directory, { recursive: true, force: true });
      log.warn({ model: source.name, code: failure.code, reason: failure.message }, 'the model was not downloaded');
      onEnd(this.#stopped ? null : failure);
      throw failure;
    }
  }

  async #fetch(pull: Pull): Promise<InstalledModel> {
    const { store, check, onProgress } = this.#options;
    const { source, abort, listeners } = pull;
    const { files } = store.stage(source);
    const pace = new ProgressPace((progress) => {
      onProgress(source, progress);
      for (const listener of listeners) listener(progress);
    });
    try {
      const bytes = await this.#download(source, files, abort.signal, pace);
      pace.note({ phase: 'verifying', receivedBytes: bytes, totalBytes: bytes });
      await check(files).catch((error: unknown) => {
        throw store.withoutPaths(error);
      });
    } finally {
      pace.end();
    }
    if (abort.signal.aborted) throw new HearthError('CANCELLED', 'the download was cancelled');
    return store.install(source);
  }

  /** Both files. Resolves to their bytes together. */
  async #download(source: ModelSource, files: ModelFiles, signal: AbortSignal, pace: ProgressPace): Promise<number> {
    const { log, tuning } = this.#options;
    const token = source.tokenFile === null ? undefined : readToken(source.tokenFile);
    const options = { ...tuning, token, signal, log };
    const after = source.mmproj?.bytes ?? 0;
    const textBytes = await download(source, files.modelPath, {
      ...options,
      onProgress: (phase, received, total) => pace.note({ phase, receivedBytes: received, totalBytes: total + after }),
    });
    if (source.mmproj === null || files.multimodalPath === undefined) return textBytes;
    const encoderBytes = await download(source.mmproj, files.multimodalPath, {
      ...options,
      onProgress: (phase, received, total) =>
        pace.note({ phase, receivedBytes: textBytes + received, totalBytes: textBytes + total }),
    });
    return textBytes + encoderBytes;
  }

  /** The version before stays, as the way back. */
  #clean(installed: InstalledModel): void {
    const { store, log } = this.#options;
    for (const old of store
      .installed()
      .filter(({ name }) => name === installed.name)
      .slice(2)) {
      store.remove(old);
      log.info({ model: old.name, version: old.version }, 'an old version is removed');
    }
  }
}
