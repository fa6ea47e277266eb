/** What the board says about itself: temperature and throttling, where there are any. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Throttling {
  readonly now: readonly string[];
  readonly sinceBoot: readonly string[];
}

/** Zone types of the Raspberry Pi, the Jetson and PCs, best first. */
const socZones = [/^(cpu|soc)[-_]?therm/i, /^x86_pkg_temp$/, /cpu|soc/i];

/** Bits of the Raspberry Pi firmware's `get_throttled`; the same again 16 bits up for "has happened since boot". */
const throttleBits = ['under-voltage', 'frequency-capped', 'throttled', 'soft-temperature-limit'];

/** Degrees Celsius of the SoC, or of the warmest zone where none is called so; null where there is no sensor. */
export async function socTemperatureC(sysDirectory = '/sys'): Promise<number | null> {
  const thermal = join(sysDirectory, 'class/thermal');
  const names = await readdir(thermal).catch(() => []);
  const zones: { type: string; celsius: number }[] = [];
  for (const name of names.filter((entry) => entry.startsWith('thermal_zone'))) {
    const type = await readText(join(thermal, name, 'type'));
    const celsius = Number(await readText(join(thermal, name, 'temp'))) / 1000;
    // Unconnected sensors report absurd values.
    if (type !== undefined && celsius > -40 && celsius < 150 && celsius !== 0) zones.push({ type, celsius });
  }
  for (const form of socZones) {
    const zone = zones.find(({ type }) => form.test(type));
    if (zone !== undefined) return zone.celsius;
  }
  return zones.length === 0 ? null : Math.max(...zones.map(({ celsius }) => celsius));
}

/** Null on boards whose firmware does not say. */
export async function throttling(sysDirectory = '/sys', command = 'vcgencmd'): Promise<Throttling | null> {
  const fromSys = await readText(join(sysDirectory, 'devices/platform/soc/soc:firmware/get_throttled'));
  const text = fromSys ?? (await run(command, ['get_throttled']));
  const match = /^(?:throttled=)?(?:0x)?([0-9a-f]{1,8})$/i.exec(text?.trim() ?? '');
  if (match?.[1] === undefined) return null;
  const bits = Number.parseInt(match[1], 16);
  const set = (from: number): string[] => throttleBits.filter((_name, bit) => (bits & (1 << (from + bit))) !== 0);
  return { now: set(0), sinceBoot: set(16) };
}

async function readText(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}

async function run(command: string, args: readonly string[]): Promise<string | undefined> {
  return await new Promise((resolve) => {
    execFile(command, [...args], { timeout: 2000 }, (error, stdout) => resolve(error === null ? stdout : undefined));
  });
}
