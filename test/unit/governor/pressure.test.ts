import { assess, noPressure, type Pressure, type Readings } from '../../../daemon/governor/pressure';

const calm: Readings = {
  temperatureC: 50,
  warmC: 70,
  hotC: 80,
  throttled: [],
  cooling: 0,
  frequencyLimit: 1,
  frequency: null,
  availableBytes: 4 * 2 ** 30,
  reserveBytes: 2 ** 29,
  memoryPressure: 0,
  waitingJobs: 0,
  oldestWaitMs: 0,
};

const holdMs = 30_000;
const once = (readings: Partial<Readings>): Pressure =>
  assess(noPressure, { ...calm, ...readings }, { now: 0, holdMs });

test('nothing speaks against anything on a calm board, nor on one that tells nothing', () => {
  expect(once({})).toEqual(noPressure);
  const silent = {
    temperatureC: null,
    frequencyLimit: null,
    frequency: null,
    availableBytes: null,
    memoryPressure: null,
  };
  expect(once(silent)).toEqual(noPressure);
});

test.each([
  [{ temperatureC: 69.9 }, 0, [], /^$/],
  [{ temperatureC: 70 }, 1, ['temperature'], /at 70\.0 °C \(warm from 70 °C\)/],
  [{ temperatureC: 80 }, 2, ['temperature'], /hot from 80/],
  [{ temperatureC: 86 }, 3, ['temperature'], /at 86\.0 °C/],
  [{ throttled: ['under-voltage'] }, 1, ['throttled'], /firmware reports under-voltage/],
  [{ throttled: ['under-voltage', 'throttled'] }, 2, ['throttled'], /under-voltage, throttled/],
  [{ throttled: ['something-new'] }, 0, [], /^$/],
  [{ cooling: 0.25 }, 1, ['throttled'], /25 % of what it can/],
  [{ cooling: 1 }, 2, ['throttled'], /100 %/],
  [{ frequencyLimit: 0.8 }, 1, ['throttled'], /may run at 80 %/],
  [{ frequencyLimit: 0.5 }, 2, ['throttled'], /may run at 50 %/],
  [{ frequency: 0.6 }, 1, ['throttled'], /runs at 60 %/],
  [{ availableBytes: 2 ** 30 }, 1, ['memory'], /1024 MiB of memory are left \(the reserve is 512 MiB\)/],
  [{ availableBytes: 2 ** 29 }, 2, ['memory'], /512 MiB/],
  [{ availableBytes: 0 }, 3, ['memory'], /0 MiB/],
  [{ memoryPressure: 35 }, 2, ['memory'], /35 % of the time/],
  [{ waitingJobs: 4 }, 1, ['queue'], /4 jobs are waiting/],
  [{ waitingJobs: 12 }, 3, ['queue'], /12 jobs/],
  [{ oldestWaitMs: 12_300 }, 1, ['queue'], /waiting for 12 s/],
] as const)('%j is level %i because of %j', (readings, level, reasons, text) => {
  const pressure = once(readings);
  expect(pressure.level).toBe(level);
  expect(pressure.reasons).toEqual(reasons);
  expect(pressure.texts.join('; ')).toMatch(text);
});

test('of several the strongest sets the level and stands first; a reason is named once', () => {
  const pressure = once({ temperatureC: 71, throttled: ['throttled'], cooling: 0.1, waitingJobs: 5 });
  expect(pressure.level).toBe(2);
  expect(pressure.reasons).toEqual(['throttled', 'temperature', 'queue']);
  expect(pressure.texts).toHaveLength(4);
});

/** The levels that follow from temperatures at times in seconds. */
function course(readings: readonly (readonly [number, Partial<Readings>])[]): number[] {
  let pressure = noPressure;
  return readings.map(([seconds, some]) => {
    pressure = assess(pressure, { ...calm, ...some }, { now: seconds * 1000, holdMs });
    return pressure.level;
  });
}

test('a level is taken at once and given back one at a time, each after the hold', () => {
  const hot = { temperatureC: 81 };
  const cool = { temperatureC: 50 };
  expect(
    course([
      [0, hot],
      [5, cool],
      [34, cool],
      [35, cool],
      [64, cool],
      [65, cool],
    ]),
  ).toEqual([2, 2, 2, 1, 1, 0]);
});

test('around a threshold nothing alternates, and a relapse starts the hold again', () => {
  const at = (temperatureC: number): Partial<Readings> => ({ temperatureC });
  // 67 to 70 °C is within the band: not calm.
  expect(
    course([
      [0, at(70)],
      [20, at(68)],
      [60, at(69)],
      [90, at(66)],
      [110, at(70)],
      [130, at(66)],
      [159, at(66)],
      [160, at(66)],
    ]),
  ).toEqual([1, 1, 1, 1, 1, 1, 1, 0]);
});

test('a sensor that falls silent gives its level back like any other', () => {
  expect(
    course([
      [0, { temperatureC: 81 }],
      [1, { temperatureC: null }],
      [31, { temperatureC: null }],
      [61, { temperatureC: null }],
    ]),
  ).toEqual([2, 2, 1, 0]);
});
