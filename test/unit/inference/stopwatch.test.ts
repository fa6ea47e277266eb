import { Stopwatch } from '../../../daemon/inference/stopwatch';

test('laps are a job’s own time; the turns of others are waiting', async () => {
  let clock = 100;
  const waits = [5, 0, 50];
  const stopwatch = new Stopwatch(
    async (work) => {
      clock += waits.shift() ?? 0;
      return await work();
    },
    () => clock,
  );
  const takes = (ms: number) => async () => {
    clock += ms;
    return ms;
  };
  clock += 1;
  expect(await stopwatch.step(takes(10))).toBe(10);
  await stopwatch.step(takes(20));
  expect(stopwatch.lap()).toBe(31);
  await stopwatch.step(takes(3));
  clock += 2;
  expect(stopwatch.lap()).toBe(5);
  expect(stopwatch.waitingMs).toBe(55);
  expect(clock - stopwatch.startedAt).toBe(31 + 5 + 55);
});
