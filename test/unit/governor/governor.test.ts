/** The governor over a simulated board, and jobs that go through it to an engine that only notes what it is asked. */
import { BehaviorSubject } from 'rxjs';
import { GovernedEngine } from '../../../daemon/governor/governed-engine';
import { Governor, type GovernorSettings, type GovernorStatus } from '../../../daemon/governor/governor';
import type { Engine, Listening, ListenOptions, Watching, WatchOptions } from '../../../daemon/inference/engine';
import type { EngineState, GenerateOptions, GenerateRequest, GenerateResult } from '../../../daemon/inference/types';
import { createLog } from '../../../daemon/log';
import { BoardTree } from '../../helpers/board-tree';
import { e4b, noBounds, small } from './support';

let board: BoardTree;
let now: number;
let lines: { msg: string; level: string }[];
let queue: { waiting: number; oldestWaitMs: number; running: boolean };

beforeEach(() => {
  board = new BoardTree();
  board.zone(0, 'cpu-thermal', 50);
  board.memory(8192, 6000);
  now = 1_000_000;
  lines = [];
  queue = { waiting: 0, oldestWaitMs: 0, running: false };
});

afterEach(() => board.remove());

function governorWith(settings: Partial<GovernorSettings> = {}): Governor {
  return new Governor({
    settings: {
      enabled: true,
      bounds: noBounds,
      warmC: null,
      hotC: null,
      memoryReserveBytes: null,
      holdMs: 30_000,
      ...settings,
    },
    roots: board.roots,
    queue: () => queue,
    log: createLog({ level: 'info', destination: { write: (line) => lines.push(JSON.parse(line) as never) } }),
    now: () => now,
  });
}

const request: GenerateRequest = { messages: [{ role: 'user', parts: [{ type: 'text', text: 'Hello' }] }] };
const picture: GenerateRequest = {
  messages: [{ role: 'user', parts: [{ type: 'image', image: { width: 1, height: 1, data: new Uint8Array(3) } }] }],
};

class NotingEngine implements Engine {
  readonly state$ = new BehaviorSubject<EngineState>({ phase: 'ready', info: e4b });
  readonly asked: { request: GenerateRequest; options: GenerateOptions | undefined }[] = [];
  readonly listened: ListenOptions[] = [];
  readonly watched: WatchOptions[] = [];
  /** Prompt tokens the runner reused; undefined when it keeps nothing. */
  cached: number | undefined = undefined;
  /** Runs while a job does. */
  meanwhile: () => Promise<void> = async () => undefined;

  async generate(asked: GenerateRequest, options?: GenerateOptions): Promise<GenerateResult> {
    this.asked.push({ request: asked, options });
    await this.meanwhile();
    return {
      text: 'a',
      finishReason: 'stop',
      tokens: { prompt: 2100, completion: 20, ...(this.cached !== undefined && { cached: this.cached }) },
      timings: { encode: 0, prefill: 42_000, decode: 800, waiting: 0, firstToken: 42_000, total: 42_800 },
      slice: String(asked.slice ?? 'full'),
    };
  }

  listen(options: ListenOptions = {}): Listening {
    this.listened.push(options);
    const nothing = () => undefined;
    return { heard: nothing, paused: nothing, end: nothing, cancel: nothing };
  }

  watch(options: WatchOptions): Watching {
    this.watched.push(options);
    const nothing = () => undefined;
    return { seen: nothing, heard: nothing, end: nothing };
  }

  async close(): Promise<void> {}
}

test('the status is what a job would get; a warm board changes it, is logged once, and is given back after the hold', async () => {
  const governor = governorWith();
  expect(governor.status()).toMatchObject({ enabled: true, slice: 'full', why: 'no model yet' });
  governor.useModel(e4b);
  const changes: GovernorStatus[] = [];
  governor.change$.subscribe((status) => changes.push(status));
  await governor.sample();
  expect(governor.status()).toEqual({
    enabled: true,
    level: 0,
    slice: 'full',
    imageSize: 768,
    reasons: ['nominal'],
    why: 'nothing speaks against it',
  });

  board.zone(0, 'cpu-thermal', 82);
  for (let i = 0; i < 3; i++) {
    now += 5000;
    await governor.sample();
  }
  expect(governor.status()).toMatchObject({ level: 2, slice: 'e2.54b', imageSize: 256, reasons: ['temperature'] });
  board.zone(0, 'cpu-thermal', 50);
  for (const seconds of [5, 29, 1, 30]) {
    now += seconds * 1000;
    await governor.sample();
  }
  expect(changes.map(({ level, slice }) => [level, slice])).toEqual([
    [2, 'e2.54b'],
    [1, 'e3.18b'],
    [0, 'full'],
  ]);
  expect(lines.map(({ msg }) => msg)).toEqual([
    'starts with slice full, pictures at 768 px: nothing speaks against it',
    'changes to slice e2.54b, pictures at 256 px: the SoC is at 82.0 °C (hot from 80 °C)',
    'changes to slice e3.18b, pictures at 512 px: the SoC is at 82.0 °C (hot from 80 °C), not long ago',
    'changes to slice full, pictures at 768 px: nothing speaks against it',
  ]);
});

test.each([
  ['the passive trip point', {}, 88, 1],
  ['the passive trip point', {}, 84, 0],
  ['the configuration', { warmC: 60, hotC: 65 }, 61, 1],
  ['the configuration', { warmC: 60, hotC: 65 }, 66, 2],
])('thresholds come from %s: %j, %i °C is level %i', async (_whence, settings, celsius, level) => {
  board.zone(0, 'CPU-therm', celsius);
  board.put('sys/class/thermal/thermal_zone0/trip_point_0_type', 'passive');
  board.put('sys/class/thermal/thermal_zone0/trip_point_0_temp', '99000');
  const governor = governorWith(settings);
  await governor.sample();
  expect(governor.level).toBe(level);
});

test('the frequency counts against what it was: what the owner set is no throttling, what comes later is', async () => {
  board.frequency(0, 1_000_000, 1_200_000, 2_400_000);
  const governor = governorWith();
  await governor.sample();
  expect(governor.level).toBe(0);
  board.frequency(0, 600_000, 900_000, 2_400_000);
  await governor.sample();
  expect(governor.level).toBe(1);
});

test('a slow core at rest means nothing; under load it does', async () => {
  const governor = governorWith();
  board.frequency(0, 2_400_000, 2_400_000, 2_400_000);
  queue = { ...queue, running: true };
  await governor.sample();
  board.frequency(0, 600_000, 2_400_000, 2_400_000);
  queue = { ...queue, running: false };
  await governor.sample();
  expect(governor.level).toBe(0);
  queue = { ...queue, running: true };
  await governor.sample();
  expect(governor.level).toBe(2);
});

test('short memory and a long queue count', async () => {
  const governor = governorWith();
  board.memory(8192, 400);
  await governor.sample();
  expect(governor.level).toBe(2);
  const other = governorWith({ memoryReserveBytes: 2 ** 20 });
  await other.sample();
  expect(other.level).toBe(0);
  queue = { ...queue, waiting: 9 };
  await other.sample();
  expect(other.level).toBe(2);
});

test('bounds a model cannot keep are an error when the model is known', () => {
  const governor = governorWith({ bounds: { ...noBounds, slices: ['e2b'] } });
  expect(() => governor.useModel(small)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  governor.useModel(e4b);
  expect(governor.status()).toMatchObject({ slice: 'e2b' });
});

describe('jobs', () => {
  let engine: NotingEngine;

  async function governed(settings: Partial<GovernorSettings> = {}): Promise<{ governor: Governor; through: Engine }> {
    engine = new NotingEngine();
    const governor = governorWith(settings);
    governor.useModel(e4b);
    await governor.sample();
    return { governor, through: new GovernedEngine(engine, governor) };
  }

  test('get what was chosen, and their results say why', async () => {
    const { through } = await governed();
    board.zone(0, 'cpu-thermal', 71);
    now += 2000;
    const result = await through.generate(picture, { deadlineAt: now + 60_000 });
    expect(engine.asked[0]).toMatchObject({
      request: { slice: 'e3.18b', imageSize: 512 },
      options: { deadlineAt: now + 60_000, expectedTokens: 256 },
    });
    expect(result).toMatchObject({
      slice: 'e3.18b',
      choice: { reasons: ['temperature'], why: 'the SoC is at 71.0 °C (warm from 70 °C)' },
    });
  });

  test('teach how long replies are and how long jobs take, and the next deadline is judged by that', async () => {
    const { through } = await governed();
    await through.generate(request);
    expect(engine.asked[0]?.request).toMatchObject({ slice: 'full', tailSlice: 'full-tail' });
    // 20 ms a prompt token, 40 a decoded one: about 10 and 32 of them.
    const result = await through.generate(request, { deadlineAt: now + 1100 });
    expect(engine.asked[1]).toMatchObject({ request: { slice: 'e2.54b' }, options: { expectedTokens: 32 } });
    expect(result.choice).toEqual({ reasons: ['deadline'], why: 'full would not be done in 1100 ms' });
    await through.generate(request, { deadlineAt: now + 60_000 });
    expect(engine.asked[2]?.request).toMatchObject({ slice: 'full' });
  });

  test('are told to hurry when the board becomes hot while they run, not when it was before', async () => {
    const { governor, through } = await governed();
    let hurried: boolean | undefined;
    engine.meanwhile = async () => {
      board.zone(0, 'cpu-thermal', 83);
      now += 5000;
      await governor.sample();
      hurried = engine.asked.at(-1)?.options?.hurry?.aborted;
    };
    await through.generate(request);
    expect(hurried).toBe(true);
    await through.generate(request);
    expect(hurried).toBe(false);
  });

  test('a conversation whose keys and values are there stays in its group when the board is warm', async () => {
    const { through } = await governed();
    engine.cached = 0;
    const system = { role: 'system' as const, parts: [{ type: 'text' as const, text: 'x'.repeat(8000) }] };
    const turn = (text: string): GenerateRequest => ({
      messages: [system, { role: 'user', parts: [{ type: 'text', text }] }],
      maxTokens: 20,
    });
    await through.generate(turn('one'));
    board.zone(0, 'cpu-thermal', 81);
    now += 2000;
    engine.cached = 2000;
    const result = await through.generate(turn('two'));
    expect(engine.asked[1]?.request).toMatchObject({ slice: 'full-tail' });
    expect(result.choice?.reasons).toEqual(['temperature', 'cache']);
    // Another prompt has nothing to keep; nor has this one once the runner says that it is gone.
    await through.generate(request);
    expect(engine.asked[2]?.request).toMatchObject({ slice: 'e2.54b' });
    engine.cached = 0;
    await through.generate(turn('three'));
    await through.generate({ ...turn('four'), slice: 'full' });
    engine.cached = undefined;
    await through.generate(turn('five'));
    await through.generate(turn('six'));
    expect(engine.asked.map(({ request: { slice } }) => slice)).toEqual([
      'full',
      'full-tail',
      'e2.54b',
      'full-tail',
      'full',
      'full-tail',
      'e2.54b',
    ]);
  });

  test('a request that names its slice keeps it', async () => {
    const { through } = await governed();
    const result = await through.generate({ ...request, slice: 'e3.39b' });
    expect(engine.asked[0]?.request).toEqual({ ...request, slice: 'e3.39b' });
    expect(result.choice?.reasons).toEqual(['request']);
  });

  test('switched off, nothing is looked at, chosen or claimed', async () => {
    board.zone(0, 'cpu-thermal', 95);
    const { governor, through } = await governed({ enabled: false });
    const result = await through.generate(request);
    expect(engine.asked[0]?.request).toEqual(request);
    expect(result).not.toHaveProperty('choice');
    expect(governor.status()).toMatchObject({ enabled: false, level: 0, slice: 'full', imageSize: 768 });
    expect(lines).toEqual([]);
  });
});
