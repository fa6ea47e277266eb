/** One download at a time into a model directory, whichever process does it. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { HearthError } from '../errors';
import { messageOf } from '../log';

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: unknown }).code === 'EPERM';
  }
}

/** 0 where nothing sensible is written, or the lock was given back a moment ago. */
function holderOf(path: string): number {
  try {
    return Number(readFileSync(path, 'utf8').trim());
  } catch {
    return 0;
  }
}

/** Returns what gives it back. Throws `MODEL_BUSY` or `FILE_WRITE_FAILED`. A process that was killed holds it no more. */
export function takePullLock(path: string): () => void {
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx', mode: 0o600 });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'EEXIST')
        throw new HearthError('FILE_WRITE_FAILED', `${path}: ${messageOf(error)}`, { cause: error });
      const holder = holderOf(path);
      // Its own number: of an earlier life, as in a container, where numbers start over.
      if (Number.isInteger(holder) && holder > 0 && holder !== process.pid && isAlive(holder))
        throw new HearthError('MODEL_BUSY', `expected no other download, process ${holder} is busy with one`);
      rmSync(path, { force: true });
    }
  }
  throw new HearthError('MODEL_BUSY', 'expected no other download, another process has just begun one');
}
