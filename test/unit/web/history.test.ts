import type { Health } from '../../../daemon/health/health';
import { History } from '../../../daemon/web/history';

const health = (ts: number): Health =>
  ({
    ts,
    queue: { depth: 2, running: 1 },
    soc_temperature_c: 51.5,
    slice: 'e2b',
    tokens_per_second: 7.25,
  }) as unknown as Health;

test('a sample has the mean latency of the results since the one before, null without any', () => {
  const history = new History(10);
  history.noteLatency(100);
  history.noteLatency(301);
  expect(history.sample(health(1.2))).toEqual({
    ts: 1,
    waiting: 2,
    running: 1,
    latency_ms: 201,
    temperature_c: 51.5,
    slice: 'e2b',
    tokens_per_second: 7.25,
  });
  expect(history.sample(health(2)).latency_ms).toBeNull();
});

test('the oldest samples make room', () => {
  const history = new History(3);
  for (let ts = 1; ts <= 5; ts++) history.sample(health(ts));
  expect(history.all().map(({ ts }) => ts)).toEqual([3, 4, 5]);
});
