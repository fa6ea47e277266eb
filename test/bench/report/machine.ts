/** Where and of what the figures are. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import type { Machine } from './result';

export function describeMachine(): Machine {
  return {
    cpu: cpuModel(),
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.versions.node,
    load: loadavg()[0] as number,
  };
}

/** Nothing else ran in the minute before, but what set the bench up. */
export function isIdle({ load }: Machine): boolean {
  return load < 0.5;
}

function cpuModel(): string {
  // arm64 kernels name no CPU in /proc/cpuinfo; boards name themselves here.
  const board = readOr('/proc/device-tree/model', '').replaceAll('\0', '');
  const model = cpus()[0]?.model.trim() ?? '';
  return [model === 'unknown' ? '' : model, board].filter((name) => name !== '').join(', ') || process.arch;
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return otherwise;
  }
}

/** The commit that is checked out, marked when something under version control differs from it. */
export function describeCommit(root: string): string {
  const git = (...args: string[]): string =>
    spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout?.trim() ?? '';
  const commit = git('rev-parse', '--short=12', 'HEAD');
  if (commit === '') return 'unknown';
  return git('status', '--porcelain', '--untracked-files=no') === '' ? commit : `${commit} with changes`;
}
