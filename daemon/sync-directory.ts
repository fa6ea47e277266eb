import { closeSync, fsyncSync, openSync } from 'node:fs';

/** A rename is on the disk when the directory is. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
