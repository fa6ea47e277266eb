/** The read bandwidth of this machine, by the tool in addon/tools. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

interface Reading {
  readonly bytesPerSecond: number;
  readonly bytesPerSecondHugePages: number;
}

const tool = 'build/native/read_bandwidth';

export function buildBandwidthTool(root: string): void {
  const { status, stderr, error } = spawnSync('make', ['-s', '-f', 'test/native/Makefile', tool], {
    cwd: root,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${tool} could not be built\n${error?.message ?? stderr}`);
}

/** Bytes a second that `threads` threads read, on the pages that suit better. */
export function readBandwidth(root: string, threads: number): number {
  const { status, stdout, stderr, error } = spawnSync(join(root, tool), ['--threads', String(threads)], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${tool} failed\n${error?.message ?? stderr}`);
  const { bytesPerSecond, bytesPerSecondHugePages } = JSON.parse(stdout) as Reading;
  return Math.max(bytesPerSecond, bytesPerSecondHugePages);
}
