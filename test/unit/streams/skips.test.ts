import { VirtualTimeScheduler } from 'rxjs';
import { HearthError } from '../../../daemon/errors';
import type { StreamEvent } from '../../../daemon/events';
import { Skips, skipReasonOf } from '../../../daemon/streams/skips';

function make() {
  const scheduler = new VirtualTimeScheduler();
  const skips = new Skips({ node: 'pi5', scheduler });
  const events: StreamEvent[] = [];
  skips.event$.subscribe((event) => events.push(event));
  const advance = (toMs: number): void => {
    scheduler.maxFrames = toMs;
    scheduler.flush();
  };
  const summary = () => events.map(({ ts, stream, reason, count }) => [ts * 1000, stream, reason, count]);
  return { scheduler, skips, events, advance, summary };
}

test('30 skips a second become one event a second, and the counts add up', () => {
  const { scheduler, skips, advance, summary, events } = make();
  for (let i = 0; i < 90; i++) scheduler.schedule(() => skips.skip({ stream: 'door', reason: 'superseded' }), i * 33);
  advance(10_000);
  expect(summary()).toEqual([
    [0, 'door', 'superseded', 1],
    [1000, 'door', 'superseded', 30],
    [2000, 'door', 'superseded', 30],
    [3000, 'door', 'superseded', 29],
  ]);
  expect(events.reduce((sum, event) => sum + (event.count ?? 0), 0)).toBe(90);
  expect(skips.counts()).toEqual({ door: { superseded: 90 } });
});

test('streams and reasons have windows of their own', () => {
  const { skips, summary } = make();
  skips.skip({ stream: 'a', reason: 'duplicate' });
  skips.skip({ stream: 'a', reason: 'rate-limited' });
  skips.skip({ stream: 'b', reason: 'duplicate' });
  skips.skip({ stream: 'b', reason: 'duplicate' });
  expect(summary()).toEqual([
    [0, 'a', 'duplicate', 1],
    [0, 'a', 'rate-limited', 1],
    [0, 'b', 'duplicate', 1],
  ]);
  skips.flush();
  expect(summary().at(-1)).toEqual([0, 'b', 'duplicate', 1]);
  expect(skips.counts()).toEqual({ a: { duplicate: 1, 'rate-limited': 1 }, b: { duplicate: 2 } });
});

test('an event carries where it came from and the cause', () => {
  const { skips, events } = make();
  const error = new HearthError('MEDIA_BROKEN_IMAGE', 'png: expected a whole picture');
  skips.skip({ stream: 'a', reason: 'bad-input', topic: 'hearth/in/a/frame', sha256: 'ab', capturedTs: 0, error });
  expect(events[0]).toEqual({
    v: 1,
    id: expect.stringMatching(/^[0-9A-HJKMNP-TV-Z]{26}$/),
    kind: 'skipped',
    node: 'pi5',
    stream: 'a',
    ts: 0,
    captured_ts: 0,
    latency_ms: 0,
    reason: 'bad-input',
    count: 1,
    source: { topic: 'hearth/in/a/frame', sha256: 'ab' },
    error: { code: 'MEDIA_BROKEN_IMAGE', message: 'png: expected a whole picture', retryable: false },
  });
});

test('stop publishes what is pending and ends', () => {
  const { skips, events } = make();
  let completed = false;
  skips.event$.subscribe({ complete: () => (completed = true) });
  for (let i = 0; i < 5; i++) skips.skip({ stream: 'a', reason: 'shutdown' });
  skips.stop();
  expect(events.map(({ count }) => count)).toEqual([1, 4]);
  expect(completed).toBe(true);
});

test('which errors mean "not used"', () => {
  expect(skipReasonOf(new HearthError('QUEUE_EVICTED', ''))).toBe('queue-full');
  expect(skipReasonOf({ code: 'JOB_DEADLINE' })).toBe('deadline');
  expect(skipReasonOf(new HearthError('ENGINE_RESTARTED', ''))).toBeUndefined();
  for (const value of [undefined, null, 7, 'QUEUE_FULL', { code: 'toString' }, { code: 7 }])
    expect(skipReasonOf(value)).toBeUndefined();
});
