/** How warm the SoC is, from when on the kernel slows it down, and by how much it does: /sys/class/thermal. */
import { join } from 'node:path';
import { entries, readNumber, readText } from './files';

export interface Thermal {
  /** Degrees Celsius of the SoC, or of the warmest zone where none is called so; null where there is no sensor. */
  readonly temperatureC: number | null;
  /** The lowest temperature of that zone from which on the kernel slows the board down; null where it has none. */
  readonly passiveTripC: number | null;
  /** How far the kernel's ways to slow the processor down are in use, 0 to 1; the one that is used most. */
  readonly cooling: number;
}

/** Zone types of the Raspberry Pi, the Jetson and PCs, best first. */
const socZones = [/^(cpu|soc)[-_]?therm/i, /^x86_pkg_temp$/, /cpu|soc/i];

/** `cooling_device` types that cost speed: cpufreq, Intel's idle injection, the Jetson's throttle alerts. A fan does not. */
const slowing = /cpu|processor|throttle|powerclamp|hot-surface/i;

interface Zone {
  readonly path: string;
  readonly type: string;
  readonly celsius: number;
}

export async function readThermal(sys: string): Promise<Thermal> {
  const thermal = join(sys, 'class/thermal');
  const [zone, cooling] = await Promise.all([socZone(thermal), coolingOf(thermal)]);
  return {
    temperatureC: zone?.celsius ?? null,
    passiveTripC: zone === undefined ? null : await passiveTripOf(zone),
    cooling,
  };
}

async function socZone(thermal: string): Promise<Zone | undefined> {
  const zones: Zone[] = [];
  for (const name of await entries(thermal, /^thermal_zone\d+$/)) {
    const path = join(thermal, name);
    const type = await readText(join(path, 'type'));
    const celsius = (await readNumber(join(path, 'temp'))) / 1000;
    // Unconnected sensors report absurd values.
    if (type !== undefined && celsius > -40 && celsius < 150 && celsius !== 0) zones.push({ path, type, celsius });
  }
  for (const form of socZones) {
    const zone = zones.find(({ type }) => form.test(type));
    if (zone !== undefined) return zone;
  }
  return zones.sort((a, b) => b.celsius - a.celsius)[0];
}

async function passiveTripOf({ path }: Zone): Promise<number | null> {
  let lowest: number | null = null;
  for (const name of await entries(path, /^trip_point_\d+_type$/)) {
    if ((await readText(join(path, name))) !== 'passive') continue;
    const celsius = (await readNumber(join(path, name.replace(/_type$/, '_temp')))) / 1000;
    // Trip points that were never set are 0 or negative.
    if (celsius >= 40 && celsius < 150) lowest = Math.min(lowest ?? celsius, celsius);
  }
  return lowest;
}

async function coolingOf(thermal: string): Promise<number> {
  let most = 0;
  for (const name of await entries(thermal, /^cooling_device\d+$/)) {
    const path = join(thermal, name);
    const type = (await readText(join(path, 'type'))) ?? '';
    if (!slowing.test(type) || /fan/i.test(type)) continue;
    const share = (await readNumber(join(path, 'cur_state'))) / (await readNumber(join(path, 'max_state')));
    if (share > 0 && share <= 1) most = Math.max(most, share);
  }
  return most;
}
