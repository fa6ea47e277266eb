import { ServiceNotifier } from '../../../daemon/health/service-notifier';
import type { EngineState, ModelInfo } from '../../../daemon/inference/types';

jest.useFakeTimers();

function setUp() {
  const said: string[] = [];
  const state = { engine: { phase: 'loading', fraction: 0 } as EngineState, lastProgressMs: Date.now() };
  const notifier = new ServiceNotifier({
    notify: (text) => said.push(text),
    engine: () => state.engine,
    runner: () => ({ lastProgressMs: state.lastProgressMs }),
    stallTimeoutMs: 60_000,
  });
  const beats = (): number => said.filter((text) => text === 'WATCHDOG=1').length;
  return { said, state, notifier, beats };
}

const ready: EngineState = { phase: 'ready', info: {} as ModelInfo };

test('asks for more time until it is ready, and feeds no watchdog before', () => {
  const { said, notifier, beats } = setUp();
  notifier.start();
  jest.advanceTimersByTime(20_000);
  expect(said).toEqual(Array(3).fill('EXTEND_TIMEOUT_USEC=25000000\nSTATUS=model: loading, 0 %'));
  expect(beats()).toBe(0);
});

test('a load may take as long as it likes while it goes on, and is given no more time once it does not', () => {
  const { said, state, notifier } = setUp();
  notifier.start();
  for (let i = 1; i <= 100; i++) {
    jest.advanceTimersByTime(10_000);
    state.engine = { phase: 'loading', fraction: i / 300 };
    state.lastProgressMs = Date.now();
  }
  expect(said).toHaveLength(101);
  expect(said.at(-1)).toBe('EXTEND_TIMEOUT_USEC=25000000\nSTATUS=model: loading, 33 %');
  jest.advanceTimersByTime(70_000);
  const before = said.length;
  expect(before).toBe(108);
  jest.advanceTimersByTime(300_000);
  expect(said).toHaveLength(before);
});

test('says at once what it does now, until it is ready', () => {
  const { said, state, notifier } = setUp();
  state.engine = { phase: 'loading', fraction: 0.999 };
  notifier.changed();
  expect(said).toEqual(['EXTEND_TIMEOUT_USEC=25000000\nSTATUS=model: loading, 99 %']);
  state.engine = ready;
  notifier.ready('x');
  notifier.changed();
  expect(said).toHaveLength(3);
});

test('asks for no more time for a model that will never load', () => {
  const { said, state, notifier } = setUp();
  state.engine = { phase: 'failed', code: 'GGUF_MALFORMED', reason: 'no' };
  notifier.start();
  jest.advanceTimersByTime(20_000);
  expect(said).toEqual([]);
});

test('is ready once, with a status of one line, and feeds the watchdog', () => {
  const { said, state, notifier } = setUp();
  notifier.start();
  said.length = 0;
  state.engine = ready;
  notifier.ready('model\nnano');
  expect(said).toEqual(['READY=1\nSTATUS=model nano', 'WATCHDOG=1']);
});

test('feeds the watchdog while the runner shows signs of life, and stops when it shows none', () => {
  const { state, notifier, beats } = setUp();
  state.engine = ready;
  notifier.start();
  notifier.ready('x');
  for (let i = 0; i < 10; i++) {
    jest.advanceTimersByTime(10_000);
    state.lastProgressMs = Date.now();
  }
  expect(beats()).toBe(11);
  jest.advanceTimersByTime(70_000);
  const before = beats();
  jest.advanceTimersByTime(300_000);
  expect(beats()).toBe(before);
});

test('a runner that is being replaced is progress, one that was given up is not', () => {
  const { state, notifier, beats } = setUp();
  notifier.start();
  notifier.ready('x');
  state.engine = { phase: 'restarting', reason: 'killed', attempt: 1, delayMs: 500 };
  state.lastProgressMs = 0;
  jest.advanceTimersByTime(10_000);
  expect(beats()).toBe(2);
  state.engine = { phase: 'failed', code: 'GGUF_MALFORMED', reason: 'no' };
  jest.advanceTimersByTime(60_000);
  expect(beats()).toBe(2);
});

test('says that it stops, and nothing after that', () => {
  const { said, state, notifier } = setUp();
  state.engine = ready;
  notifier.start();
  notifier.ready('x');
  notifier.stopping();
  const count = said.length;
  jest.advanceTimersByTime(60_000);
  expect(said).toHaveLength(count);
  expect(said.at(-1)).toBe('STOPPING=1');
});
