/** How much memory there is left for this process: /proc/meminfo, the limits of its control groups, and the pressure. */
import { join } from 'node:path';
import { type BoardRoots, readNumber, readText } from './files';

export interface Memory {
  /** What this process may have at most; NaN where the kernel does not say. */
  readonly totalBytes: number;
  /** What can be had without swapping; file pages that can be dropped count. NaN where the kernel does not say. */
  readonly availableBytes: number;
  /** Percent of the last 10 s in which some process waited for memory; null where the kernel does not count that. */
  readonly pressure: number | null;
}

export async function readMemory({ sys, proc }: Pick<BoardRoots, 'sys' | 'proc'>): Promise<Memory> {
  const [info, group, stalls] = await Promise.all([
    readText(join(proc, 'meminfo')),
    readText(join(proc, 'self/cgroup')),
    readText(join(proc, 'pressure/memory')),
  ]);
  const bytes = (key: string): number => 1024 * Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(info ?? '')?.[1]);
  const some = /^some avg10=(\d+(?:\.\d+)?)/m.exec(stalls ?? '')?.[1];
  let totalBytes = bytes('MemTotal');
  let availableBytes = bytes('MemAvailable');
  for (const limit of await limitsOf(sys, group ?? '')) {
    totalBytes = Math.min(Number.isNaN(totalBytes) ? limit.totalBytes : totalBytes, limit.totalBytes);
    availableBytes = Math.min(
      Number.isNaN(availableBytes) ? limit.availableBytes : availableBytes,
      limit.availableBytes,
    );
  }
  return { totalBytes, availableBytes, pressure: some === undefined ? null : Number(some) };
}

/** Of the process's control group (version 2) and all those above it that have a limit. */
async function limitsOf(
  sys: string,
  group: string,
): Promise<{ readonly totalBytes: number; readonly availableBytes: number }[]> {
  const path = /^0::(\/.*)$/m.exec(group)?.[1];
  if (path === undefined) return [];
  const limits = [];
  const levels = path.split('/').filter((level) => level !== '' && level !== '..');
  for (let depth = levels.length; depth >= 0; depth--) {
    const directory = join(sys, 'fs/cgroup', ...levels.slice(0, depth));
    // "max" is no number. Above `high` the kernel slows the group down to get memory back: as good as the end.
    const ends = [await readNumber(join(directory, 'memory.max')), await readNumber(join(directory, 'memory.high'))];
    const totalBytes = Math.min(...ends.filter((end) => end >= 0));
    const used = await readNumber(join(directory, 'memory.current'));
    if (!Number.isFinite(totalBytes) || Number.isNaN(used)) continue;
    const stat = (await readText(join(directory, 'memory.stat'))) ?? '';
    const droppable =
      Number(/^inactive_file (\d+)$/m.exec(stat)?.[1] ?? 0) + Number(/^active_file (\d+)$/m.exec(stat)?.[1] ?? 0);
    limits.push({ totalBytes, availableBytes: Math.max(0, totalBytes - used + Math.min(droppable, used)) });
  }
  return limits;
}
