/** The read bandwidth of this machine, by the tool in addon/tools. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { median } from '../report/statistics';

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

/**
 * The median of each run's share: bytes a token, tokens a second, and the bandwidth in GB/s around the same run. Undefined
 * without runs.
 */
export function shareOfBandwidth(
  bytes: number,
  rates: readonly number[],
  gigabytes: readonly number[],
): number | undefined {
  if (rates.length === 0 || rates.length !== gigabytes.length) return undefined;
  return median(rates.map((rate, run) => (bytes * rate) / ((gigabytes[run] as number) * 1e9)));
}
