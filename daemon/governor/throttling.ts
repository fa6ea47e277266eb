/** Whether the board runs slower than it could: the Raspberry Pi's firmware and its voltage alarm, cpufreq on any board. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { type BoardRoots, entries, readNumber, readText } from './files';

export interface Throttling {
  readonly now: readonly string[];
  readonly sinceBoot: readonly string[];
}

/** Shares of the highest frequency the hardware has, 0 to 1. */
export interface Frequency {
  /** Of the fastest core: at rest it is low without meaning anything. */
  readonly current: number;
  /** What is allowed, of the core that is allowed least: the kernel lowers it to cool down, the owner to save power. */
  readonly limit: number;
}

/** Bits of the Raspberry Pi firmware's `get_throttled`; the same again 16 bits up for "has happened since boot". */
const throttleBits = ['under-voltage', 'frequency-capped', 'throttled', 'soft-temperature-limit'];

/** Null on boards that do not say. */
export async function readThrottling(roots: BoardRoots): Promise<Throttling | null> {
  const text =
    (await firmwareFile(roots.sys)) ??
    (roots.firmwareTool === null ? undefined : await run(roots.firmwareTool, ['get_throttled']));
  const match = /^(?:throttled=)?(?:0x)?([0-9a-f]{1,8})$/i.exec(text?.trim() ?? '');
  const alarm = await voltageAlarm(roots.sys);
  if (match?.[1] === undefined) {
    return alarm === undefined ? null : { now: alarm ? ['under-voltage'] : [], sinceBoot: [] };
  }
  const bits = Number.parseInt(match[1], 16) | (alarm === true ? 1 : 0);
  const set = (from: number): string[] => throttleBits.filter((_name, bit) => (bits & (1 << (from + bit))) !== 0);
  return { now: set(0), sinceBoot: set(16) };
}

/** Below `soc/soc:firmware` on older boards; on a Raspberry Pi 5 both names have the address of the SoC in them. */
async function firmwareFile(sys: string): Promise<string | undefined> {
  const platform = join(sys, 'devices/platform');
  for (const soc of await entries(platform, /^soc(@[0-9a-f]+)?$/)) {
    for (const firmware of await entries(join(platform, soc), /:firmware$/)) {
      const text = await readText(join(platform, soc, firmware, 'get_throttled'));
      if (text !== undefined) return text;
    }
  }
  return undefined;
}

/** Of the Raspberry Pi's `rpi_volt` sensor; undefined where there is none. */
async function voltageAlarm(sys: string): Promise<boolean | undefined> {
  const monitors = join(sys, 'class/hwmon');
  for (const name of await entries(monitors, /^hwmon\d+$/)) {
    if ((await readText(join(monitors, name, 'name'))) !== 'rpi_volt') continue;
    return (await readText(join(monitors, name, 'in0_lcrit_alarm'))) === '1';
  }
  return undefined;
}

/** Null without cpufreq, as in most virtual machines. */
export async function readFrequency(sys: string): Promise<Frequency | null> {
  const policies = join(sys, 'devices/system/cpu/cpufreq');
  let current = 0;
  let limit = 1;
  let found = false;
  for (const name of await entries(policies, /^policy\d+$/)) {
    const path = join(policies, name);
    const highest = await readNumber(join(path, 'cpuinfo_max_freq'));
    const now = (await readNumber(join(path, 'scaling_cur_freq'))) / highest;
    const allowed = (await readNumber(join(path, 'scaling_max_freq'))) / highest;
    if (!(highest > 0 && now > 0 && allowed > 0)) continue;
    found = true;
    current = Math.max(current, Math.min(1, now));
    limit = Math.min(limit, allowed);
  }
  return found ? { current, limit } : null;
}

async function run(command: string, args: readonly string[]): Promise<string | undefined> {
  return await new Promise((resolve) => {
    execFile(command, [...args], { timeout: 2000 }, (error, stdout) => resolve(error === null ? stdout : undefined));
  });
}
