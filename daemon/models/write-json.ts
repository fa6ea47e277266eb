/** Small files that have to be whole after a loss of power. */
import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { renameDurably } from '../atomic-file';
import { HearthError } from '../errors';
import { messageOf } from '../log';

/** Replaces the file at once, for its owner alone. Throws `FILE_WRITE_FAILED`. */
export function writeJson(path: string, value: unknown): void {
  const temporary = `${path}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const file = openSync(temporary, 'w', 0o600);
    try {
      writeSync(file, `${JSON.stringify(value)}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameDurably(temporary, path);
  } catch (error) {
    throw new HearthError('FILE_WRITE_FAILED', `${path}: ${messageOf(error)}`, { cause: error });
  }
}
