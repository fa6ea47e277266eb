/** The project's own files as Git knows them, for the tests that read sources. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The project's root, seen from dist/test/meta. */
export const root = join(__dirname, '../../..');

export interface Source {
  /** Relative to the root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

/** Paths of the tracked files that exist, relative to the root, sorted. */
export function trackedFiles(): string[] {
  const { status, stdout, stderr } = spawnSync('git', ['ls-files', '-z'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 16 << 20,
  });
  if (status !== 0) throw new Error(`git ls-files: ${stderr}`);
  return stdout.split('\0').filter((path) => path !== '' && existsSync(join(root, path)));
}

export function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** Tracked files whose path matches. */
export function sources(pattern: RegExp): Source[] {
  return trackedFiles()
    .filter((path) => pattern.test(path))
    .map((path) => ({ path, text: read(path) }));
}
