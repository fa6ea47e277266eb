/** Files that are replaced as a whole: whoever reads one, and whatever ends the daemon, it is the old one or the new one. */
import { closeSync, fsyncSync, openSync, renameSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HearthError } from './errors';
import { messageOf } from './log';

let counter = 0;

/** Resolves when the text is on disk; makes the directory. Rejects with `FILE_WRITE_FAILED`, and then the file is as it was. */
export async function writeAtomically(path: string, text: string, mode = 0o644): Promise<void> {
  const directory = dirname(path);
  const temporary = `${path}.${process.pid}-${counter++}.new`;
  try {
    await mkdir(directory, { recursive: true });
    const file = await open(temporary, 'w', mode);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    // The new name is on disk only with its directory.
    const parent = await open(directory, 'r');
    await parent.sync().finally(() => parent.close());
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new HearthError('FILE_WRITE_FAILED', `${path}: ${messageOf(cause)}`, { cause });
  }
}

/** Gives a file that is on disk its name, in place of one that had it. Throws what the file system does. */
export function renameDurably(temporary: string, path: string): void {
  renameSync(temporary, path);
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
