/** A JSON file in the state directory, whole after a power cut: the old content or the new one. */
import { readFile } from 'node:fs/promises';
import { writeAtomically } from './atomic-file';
import { HearthError } from './errors';
import { messageOf } from './log';

export class StateFile {
  #writing: Promise<unknown> = Promise.resolve();

  constructor(readonly path: string) {}

  /** Undefined where there is none yet. Rejects with `FILE_UNREADABLE` for one that cannot be read or is no JSON. */
  async read(): Promise<unknown> {
    try {
      return JSON.parse(await readFile(this.path, 'utf8')) as unknown;
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOENT') return undefined;
      throw new HearthError('FILE_UNREADABLE', `${this.path}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Writes follow each other. Rejects with `FILE_WRITE_FAILED`; what was there is still there then. */
  async write(value: unknown): Promise<void> {
    const text = `${JSON.stringify(value, null, 2)}\n`;
    const written = this.#writing.then(async () => await writeAtomically(this.path, text, 0o600));
    this.#writing = written.catch(() => undefined);
    await written;
  }
}
