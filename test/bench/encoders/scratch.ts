/** What encoding takes above the memory of a loaded model, by the kernel's own count. */
import { readFileSync, writeFileSync } from 'node:fs';

function bytesOf(key: string): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return 1024 * Number(new RegExp(`^${key}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1] ?? NaN);
}

/** Peak of the resident memory during `run` above what it was before. */
export async function scratchBytes(run: () => Promise<unknown>): Promise<number> {
  const before = bytesOf('VmRSS');
  // The peak starts anew from what is resident now.
  writeFileSync('/proc/self/clear_refs', '5');
  await run();
  return Math.max(0, bytesOf('VmHWM') - before);
}
