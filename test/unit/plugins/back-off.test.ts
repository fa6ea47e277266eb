import { BackOff } from '../../../daemon/plugins/back-off';

const timing = { restartDelayMs: 100, maxRestartDelayMs: 500, crashLimit: 5, crashWindowMs: 10_000 };

test('the wait doubles up to the maximum, then there is none', () => {
  const backOff = new BackOff(
    timing,
    () => 0,
    () => 1,
  );
  expect(Array.from({ length: 5 }, () => backOff.crashed())).toEqual([100, 200, 400, 500, undefined]);
});

test('jitter takes off up to a half', () => {
  const least = new BackOff(
    timing,
    () => 0,
    () => 0,
  );
  expect([least.crashed(), least.crashed()]).toEqual([50, 100]);
});

test('crashes that lie further back than the window do not count', () => {
  let now = 0;
  const backOff = new BackOff(
    timing,
    () => now,
    () => 1,
  );
  for (let i = 0; i < 20; i++) {
    now = i * 2500;
    // Four lie in a window, this one among them: the fourth's wait, and never the fifth's.
    expect(backOff.crashed()).toBe(Math.min(500, 100 * 2 ** Math.min(i, 3)));
  }
});

test('a reset forgets', () => {
  const backOff = new BackOff(
    { ...timing, crashLimit: 2 },
    () => 0,
    () => 1,
  );
  expect(backOff.crashed()).toBe(100);
  backOff.reset();
  expect(backOff.crashed()).toBe(100);
  expect(backOff.crashed()).toBeUndefined();
});
