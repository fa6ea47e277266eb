/**
 * How hard pressed the board is: readings in, a level from 0 (at ease) to 3 (critical) out, with the reasons. Pure; the
 * table below is the whole of it.
 *
 * A level is taken at once and given back slowly: a reading has to fall by its band below the threshold, stay there for
 * `holdMs`, and then one level is given back at a time. So what comes of a level, a cooler board, does not end it at once.
 */
import type { ChoiceReason } from '../inference/types';

/** What is measured; null for what this board does not tell. */
export interface Readings {
  readonly temperatureC: number | null;
  /** From here on the board is warm, and hot. */
  readonly warmC: number;
  readonly hotC: number;
  /** What the firmware says is going on now, such as `under-voltage`. */
  readonly throttled: readonly string[];
  /** See `Thermal.cooling`. */
  readonly cooling: number;
  /** Share of what was allowed at best since the start, 0 to 1. */
  readonly frequencyLimit: number | null;
  /** Share of the highest frequency under load since the start, of the fastest core; null at rest, when it means nothing. */
  readonly frequency: number | null;
  readonly availableBytes: number | null;
  readonly reserveBytes: number;
  /** See `Memory.pressure`. */
  readonly memoryPressure: number | null;
  readonly waitingJobs: number;
  /** Milliseconds the oldest of them has been waiting. */
  readonly oldestWaitMs: number;
}

export const maxLevel = 3;

interface Rule {
  readonly name: string;
  readonly reason: ChoiceReason;
  /** The more, the worse; null where it is not known. */
  readonly measure: (readings: Readings) => number | null;
  /** From the first on it is level 1, and so on. */
  readonly thresholds: (readings: Readings) => readonly number[];
  /** How far below a threshold it has to fall for the level to be given back. */
  readonly band: number;
  readonly text: (readings: Readings, level: number) => string;
}

const constant =
  (...values: number[]) =>
  (): readonly number[] =>
    values;
const percent = (share: number): string => `${Math.round(share * 100)} %`;
const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`;

/** What the firmware's words are worth: it slows down now, or it warns. */
const throttleLevels: Readonly<Record<string, number>> = {
  'under-voltage': 1,
  'frequency-capped': 1,
  'soft-temperature-limit': 1,
  throttled: 2,
};

const rules: readonly Rule[] = [
  {
    name: 'temperature',
    reason: 'temperature',
    measure: ({ temperatureC }) => temperatureC,
    thresholds: ({ warmC, hotC }) => [warmC, hotC, hotC + 5],
    band: 3,
    text: ({ temperatureC, warmC, hotC }, level) =>
      `the SoC is at ${temperatureC?.toFixed(1)} °C (${level === 1 ? `warm from ${warmC}` : `hot from ${hotC}`} °C)`,
  },
  {
    name: 'firmware',
    reason: 'throttled',
    measure: ({ throttled }) => Math.max(0, ...throttled.map((word) => throttleLevels[word] ?? 0)),
    thresholds: constant(1, 2),
    band: 0,
    text: ({ throttled }) => `the firmware reports ${throttled.join(', ')}`,
  },
  {
    name: 'cooling',
    reason: 'throttled',
    measure: ({ cooling }) => cooling,
    thresholds: constant(0.01, 0.5),
    band: 0,
    text: ({ cooling }) => `the kernel slows the processor down (${percent(cooling)} of what it can)`,
  },
  {
    name: 'frequency-limit',
    reason: 'throttled',
    measure: ({ frequencyLimit }) => (frequencyLimit === null ? null : 1 - frequencyLimit),
    thresholds: constant(0.1, 0.4),
    band: 0.05,
    text: ({ frequencyLimit }) => `the processor may run at ${percent(frequencyLimit ?? 1)} of the frequency it had`,
  },
  {
    name: 'frequency',
    reason: 'throttled',
    measure: ({ frequency }) => (frequency === null ? null : 1 - frequency),
    thresholds: constant(0.35, 0.6),
    band: 0.1,
    text: ({ frequency }) => `the processor runs at ${percent(frequency ?? 1)} of the frequency it had under load`,
  },
  {
    name: 'memory',
    reason: 'memory',
    measure: ({ availableBytes, reserveBytes }) =>
      availableBytes === null ? null : reserveBytes / Math.max(1, availableBytes),
    thresholds: constant(0.5, 1, 2),
    band: 0.1,
    text: ({ availableBytes, reserveBytes }) =>
      `${mebibytes(availableBytes ?? 0)} of memory are left (the reserve is ${mebibytes(reserveBytes)})`,
  },
  {
    name: 'memory-pressure',
    reason: 'memory',
    measure: ({ memoryPressure }) => memoryPressure,
    thresholds: constant(10, 30, 60),
    band: 5,
    text: ({ memoryPressure }) => `processes wait for memory ${memoryPressure?.toFixed(0)} % of the time`,
  },
  {
    name: 'waiting',
    reason: 'queue',
    measure: ({ waitingJobs }) => waitingJobs,
    thresholds: constant(4, 8, 12),
    band: 2,
    text: ({ waitingJobs }) => `${waitingJobs} jobs are waiting`,
  },
  {
    name: 'oldest',
    reason: 'queue',
    measure: ({ oldestWaitMs }) => oldestWaitMs,
    thresholds: constant(10_000, 30_000),
    band: 5000,
    text: ({ oldestWaitMs }) => `a job has been waiting for ${seconds(oldestWaitMs)}`,
  },
];

interface Held {
  readonly level: number;
  /** Unix time in milliseconds since when the readings have asked for less; null while they do not. */
  readonly calmSince: number | null;
  readonly text: string;
}

export interface Pressure {
  /** 0 to `maxLevel`: the highest of all rules. */
  readonly level: number;
  /** Of the rules that are not at 0, the strongest first. */
  readonly reasons: readonly ChoiceReason[];
  readonly texts: readonly string[];
  /** By rule; for the next call. */
  readonly held: Readonly<Record<string, Held>>;
}

export const noPressure: Pressure = { level: 0, reasons: [], texts: [], held: {} };

export interface AssessOptions {
  /** Unix time in milliseconds. */
  readonly now: number;
  readonly holdMs: number;
}

export function assess(before: Pressure, readings: Readings, { now, holdMs }: AssessOptions): Pressure {
  const held: [string, Held][] = [];
  for (const rule of rules) {
    const next = step(rule, before.held[rule.name], readings, now, holdMs);
    if (next !== undefined) held.push([rule.name, next]);
  }
  const strongest = [...held].sort(([, a], [, b]) => b.level - a.level);
  const reasonOf = (name: string): ChoiceReason[] => rules.filter((rule) => rule.name === name).map((r) => r.reason);
  return {
    level: Math.max(0, ...held.map(([, { level }]) => level)),
    reasons: [...new Set(strongest.flatMap(([name]) => reasonOf(name)))],
    texts: strongest.map(([, { text, calmSince }]) => (calmSince === null ? text : `${text}, not long ago`)),
    held: Object.fromEntries(held),
  };
}

/** Undefined: level 0. */
function step(rule: Rule, before: Held | undefined, readings: Readings, now: number, holdMs: number): Held | undefined {
  const value = rule.measure(readings);
  // A sensor that falls silent says nothing: the level it last had is given back like any other.
  const thresholds = value === null ? [] : rule.thresholds(readings);
  const level = thresholds.filter((threshold) => (value ?? 0) >= threshold).length;
  const heldLevel = before?.level ?? 0;
  if (level > heldLevel || (level === heldLevel && level > 0)) {
    return { level, calmSince: null, text: rule.text(readings, level) };
  }
  if (before === undefined) return undefined;
  const threshold = thresholds[heldLevel - 1];
  const calm = value === null || threshold === undefined || value < threshold - rule.band;
  if (!calm) return { level: heldLevel, calmSince: null, text: rule.text(readings, heldLevel) };
  const calmSince = before.calmSince ?? now;
  if (now - calmSince < holdMs) return { ...before, calmSince };
  const lower = heldLevel - 1;
  return lower === 0 ? undefined : { level: lower, calmSince: now, text: before.text };
}
