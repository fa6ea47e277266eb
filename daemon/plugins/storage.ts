/** What one plugin keeps on disk: a JSON file of its own that is replaced as a whole. */
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '../atomic-file';
import { HearthError } from '../errors';
import { isRecord } from '../json';
import { type Log, messageOf } from '../log';

const maxKeys = 1000;
const maxKeyCharacters = 256;
/** Keys and values as JSON, in bytes. */
const maxBytes = 1 << 20;

/** The file below the state directory; the name of a plugin has no characters that could lead elsewhere. */
export function storagePath(stateDirectory: string, plugin: string): string {
  if (!/^[a-z][a-z0-9-]{0,63}$/.test(plugin)) throw new HearthError('PLUGIN_NAME_INVALID', `storage: ${plugin}`);
  return join(stateDirectory, 'plugin-data', `${plugin}.json`);
}

function invalid(what: string): HearthError {
  return new HearthError('PLUGIN_STORAGE_INVALID', `storage: ${what}`);
}

function checkKey(key: unknown): string {
  if (typeof key === 'string' && key.length >= 1 && key.length <= maxKeyCharacters) return key;
  throw invalid(
    `expected a key of 1 to ${maxKeyCharacters} characters, received ${JSON.stringify(String(key).slice(0, 40))}`,
  );
}

/** What the plugin made of a value, as its JSON text: it came from another thread and may be anything. */
function checkText(json: unknown): string {
  if (typeof json !== 'string') throw invalid('expected a value that JSON can hold');
  if (json.length > maxBytes) throw full(`a value of ${json.length} characters`);
  try {
    return JSON.stringify(JSON.parse(json));
  } catch (cause) {
    throw invalid(`expected a value that JSON can hold: ${messageOf(cause).slice(0, 200)}`);
  }
}

function full(received: string): HearthError {
  return new HearthError(
    'PLUGIN_STORAGE_FULL',
    `storage: expected at most ${maxKeys} keys and ${maxBytes} bytes in all, received ${received}`,
  );
}

const sizeOf = (key: string, text: string): number => Buffer.byteLength(JSON.stringify(key)) + Buffer.byteLength(text);

/** Where a store is kept, as one text. */
export interface StorageFile {
  /** Undefined where there is none yet. Rejects with `FILE_UNREADABLE`, as when too many files are open. */
  read(): Promise<string | undefined>;
  write(text: string): Promise<void>;
  /** Keeps what makes no sense out of the way. */
  setAside(): Promise<void>;
}

export function storageFile(stateDirectory: string, plugin: string): StorageFile {
  return {
    read: async () => {
      try {
        return await readFile(storagePath(stateDirectory, plugin), 'utf8');
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT') return undefined;
        throw new HearthError('FILE_UNREADABLE', `storage: ${code ?? messageOf(error)}`, { cause: error });
      }
    },
    write: async (text) => await writeAtomically(storagePath(stateDirectory, plugin), text),
    setAside: async () => {
      const path = storagePath(stateDirectory, plugin);
      await rename(path, `${path}.broken`);
    },
  };
}

export class PluginStore {
  /** JSON texts by key. */
  #values: Map<string, string> | undefined;
  #bytes = 0;
  /** Changes follow each other: what one puts on disk has the ones before it. */
  #changes: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly file: StorageFile,
    private readonly log: Log,
  ) {}

  /** JSON text. */
  async get(key: unknown): Promise<string | undefined> {
    return (await this.#loaded()).get(checkKey(key));
  }

  async list(prefix: unknown = ''): Promise<string[]> {
    const begin = String(prefix);
    return [...(await this.#loaded()).keys()].filter((key) => key.startsWith(begin)).sort();
  }

  async set(key: unknown, json: unknown): Promise<void> {
    await this.#change(checkKey(key), checkText(json));
  }

  async delete(key: unknown): Promise<boolean> {
    return await this.#change(checkKey(key), undefined);
  }

  /** Resolves to whether there was a value before. */
  #change(key: string, text: string | undefined): Promise<boolean> {
    const change = this.#changes.then(async () => {
      const values = await this.#loaded();
      const before = values.get(key);
      if (before === text) return before !== undefined;
      const bytes =
        this.#bytes + (text === undefined ? 0 : sizeOf(key, text)) - (before === undefined ? 0 : sizeOf(key, before));
      const next = new Map(values);
      if (text === undefined) next.delete(key);
      else next.set(key, text);
      // What is too much already may still become less.
      if (text !== undefined && (bytes > maxBytes || next.size > maxKeys)) {
        throw full(`${next.size} and ${bytes}`);
      }
      const members = Array.from(next, ([name, json]) => `${JSON.stringify(name)}:${json}`);
      await this.file.write(`{${members.join(',\n')}}\n`);
      this.#values = next;
      this.#bytes = bytes;
      return before !== undefined;
    });
    this.#changes = change.catch(() => undefined);
    return change;
  }

  async #loaded(): Promise<Map<string, string>> {
    this.#values ??= await this.#read();
    return this.#values;
  }

  async #read(): Promise<Map<string, string>> {
    const values = new Map<string, string>();
    // What cannot be read now may be fine: it is tried again with the next call.
    const text = await this.file.read();
    if (text === undefined) return values;
    try {
      const parsed = JSON.parse(text) as unknown;
      if (!isRecord(parsed)) throw new Error('expected an object');
      for (const [key, value] of Object.entries(parsed)) values.set(key, JSON.stringify(value));
    } catch (error) {
      // Not ours to throw away: whoever wants to look at it finds it.
      await this.file.setAside().catch(() => undefined);
      this.log.error({ reason: messageOf(error) }, 'what the plugin had stored cannot be read; it begins with nothing');
      return values;
    }
    this.#bytes = Array.from(values, ([key, text]) => sizeOf(key, text)).reduce((sum, size) => sum + size, 0);
    return values;
  }
}
