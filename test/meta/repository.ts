/** The project's own files, as the tests about the project itself read them. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface SourceFile {
  /** Relative to the project's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

/** Jest runs in the project's root. */
export const root = process.cwd();

/** Paths of the files under version control that match, sorted. */
export function trackedPaths(matches: RegExp): string[] {
  const { stdout, status, error } = spawnSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(`git ls-files failed: ${error?.message ?? `exit code ${status}`}`);
  return stdout
    .split('\0')
    .filter((path) => path !== '' && matches.test(path) && existsSync(join(root, path)))
    .sort();
}

export function readTracked(matches: RegExp): SourceFile[] {
  return trackedPaths(matches).map((path) => ({ path, text: readText(path) }));
}

export function readText(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** Standard output of a command that has to succeed. */
export function output(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): string {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', env, maxBuffer: 64 << 20 });
  if (result.status !== 0) {
    throw new Error(
      `${command} ${args.join(' ')}: ${result.error?.message ?? `exit code ${result.status}`}\n${result.stderr}`,
    );
  }
  return result.stdout;
}
