import { StepScheduler, type Turns } from '../../../daemon/inference/step-scheduler';
import { codeOf } from '../streams/support';

const never = new AbortController().signal;

/** A scheduler whose clock only moves when a step says what it costs, and a record of whose steps ran. */
function recorded() {
  let clock = 0;
  let steps = 0;
  const order: string[] = [];
  let working = 0;
  const scheduler = new StepScheduler({ now: () => clock, ordinaryStepMs: 1, onStep: () => steps++ });
  const step = async (name: string, turns: Turns, cost: number): Promise<void> =>
    await turns.step(async () => {
      expect(++working).toBe(1);
      order.push(name);
      await new Promise((resolve) => setImmediate(resolve));
      clock += cost;
      working--;
    });
  /** A job of `count` steps. `after` is called when each has ended. */
  const job = async (
    name: string,
    priority: number,
    count: number,
    { cost = 1, signal = never, after = (_step: number): void => undefined } = {},
  ): Promise<void> => {
    const turns = scheduler.join(priority, signal);
    for (let i = 1; i <= count; i++) {
      await step(name, turns, cost);
      after(i);
    }
  };
  return { scheduler, order, job, steps: () => steps };
}

const count = (order: readonly string[], name: string): number => order.filter((other) => other === name).length;

test('one step at a time; jobs of the same priority alternate', async () => {
  const { order, job, steps } = recorded();
  await Promise.all([job('a', 3, 4), job('b', 3, 4), job('c', 3, 2)]);
  expect(order.join('')).toBe('abcabcabab');
  expect(steps()).toBe(10);
});

test('each level of priority doubles the share of the engine, and everyone gets theirs', async () => {
  const { order, job } = recorded();
  await Promise.all([job('background', 0, 40), job('event', 1, 40), job('interactive', 2, 40)]);
  const whileAllRun = order.slice(0, 63);
  expect(count(whileAllRun, 'interactive')).toBe(36);
  expect(count(whileAllRun, 'event')).toBe(18);
  expect(count(whileAllRun, 'background')).toBe(9);
  expect(order[0]).toBe('interactive');
  expect(order).toHaveLength(120);
});

test('a share is of the time: long steps are rarer', async () => {
  const { order, job } = recorded();
  await Promise.all([job('pictures', 0, 4, { cost: 10 }), job('words', 0, 40)]);
  expect(count(order.slice(0, 22), 'pictures')).toBe(2);
  expect(count(order.slice(0, 44), 'pictures')).toBe(4);
});

test('an urgent job has the next turn, whenever it comes', async () => {
  for (const at of [1, 2, 5, 9]) {
    const { order, job } = recorded();
    const urgent: Promise<void>[] = [];
    await Promise.all([
      job('a', 4, 10, {
        after: (step) => {
          if (step === at) urgent.push(job('doorbell', 9, 5));
        },
      }),
      job('b', 4, 10),
      job('c', 0, 3, { cost: 50 }),
    ]);
    await Promise.all(urgent);
    const came = order.indexOf('doorbell');
    expect(count(order.slice(0, came), 'a')).toBe(at);
    expect(order.slice(came, came + 5)).toEqual(Array(5).fill('doorbell'));
  }
});

test('no stream of urgent jobs starves another', async () => {
  const { order, job } = recorded();
  let ended = false;
  const background = job('background', 0, 3).then(() => {
    ended = true;
  });
  for (let i = 0; i < 10_000 && !ended; i++) await job('doorbell', 9, 4);
  await background;
  expect(ended).toBe(true);
  expect(count(order, 'doorbell')).toBeGreaterThan(500);
  expect(count(order, 'doorbell')).toBeLessThan(4000);
});

test('a job that comes late has no claim to what it missed', async () => {
  const { order, job } = recorded();
  await job('a', 0, 50);
  order.length = 0;
  await Promise.all([job('a', 0, 4), job('late', 0, 4)]);
  expect(count(order.slice(0, 4), 'late')).toBe(2);
});

test('cancelled while it waits: at once; while its step runs: after it; the others go on', async () => {
  const { scheduler, order, job, steps } = recorded();
  const waiting = new AbortController();
  const turns = scheduler.join(0, waiting.signal);
  const cancelled = codeOf(() => turns.step(() => Promise.reject(new Error('it ran'))));
  waiting.abort();
  expect(await cancelled).toBe('ENGINE_CANCELLED');
  expect(await codeOf(() => turns.step(() => Promise.resolve(1)))).toBe('ENGINE_CANCELLED');
  expect(steps()).toBe(0);

  const running = new AbortController();
  const outcomes = await Promise.all([
    codeOf(() => job('a', 5, 9, { signal: running.signal, after: (step) => step === 3 && running.abort() })),
    job('b', 5, 5),
  ]);
  expect(outcomes[0]).toBe('ENGINE_CANCELLED');
  expect(count(order, 'a')).toBe(3);
  expect(count(order, 'b')).toBe(5);

  const during = new AbortController();
  const last = codeOf(() => scheduler.join(0, during.signal).step(async () => during.abort()));
  expect(await last).toBe('ENGINE_CANCELLED');
  expect(steps()).toBe(9);
});

test('a step that fails fails its own job only', async () => {
  const { scheduler, order, job, steps } = recorded();
  const failing = scheduler.join(9, never);
  const failed = failing.step(() => Promise.reject(new Error('boom')));
  const others = Promise.all([job('a', 0, 3), job('b', 0, 3)]);
  await expect(failed).rejects.toThrow('boom');
  await others;
  expect(order.join('')).toBe('ababab');
  expect(steps()).toBe(7);
  expect(await failing.step(() => Promise.resolve('again'))).toBe('again');
});
