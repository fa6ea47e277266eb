import { HearthError } from '../../../daemon/errors';
import { JobQueue } from '../../../daemon/streams/job-queue';
import { codeOf, settle } from './support';

/** A queue whose first job occupies the engine until `release`. */
function occupied(capacity: number, now?: () => number) {
  const queue = new JobQueue({ capacity, ...(now !== undefined && { now }) });
  const order: string[] = [];
  let release = (): void => undefined;
  const first = queue.submit({ priority: 0, run: () => new Promise<void>((resolve) => (release = resolve)) });
  const submit = (
    name: string,
    priority = 0,
    extra: { deadlineAt?: number; signal?: AbortSignal } = {},
  ): Promise<string> =>
    queue.submit({
      priority,
      ...extra,
      run: async () => {
        order.push(name);
        return name;
      },
    });
  return { queue, order, submit, first, release: () => release() };
}

test('higher priority first, FIFO within one', async () => {
  const { order, submit, first, release, queue } = occupied(10);
  const all = [submit('a', 1), submit('b', 5), submit('c', 1), submit('d', 9), submit('e', 5), submit('f', -1)];
  await settle();
  expect(queue.state).toMatchObject({ waiting: 6, running: 1 });
  release();
  expect(await Promise.all(all)).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  await first;
  expect(order).toEqual(['d', 'b', 'e', 'a', 'c', 'f']);
  await settle();
  expect(queue.state).toMatchObject({ waiting: 0, running: 0, counts: { done: 7, failed: 0 } });
});

test('one job runs at a time, also when a job submits another', async () => {
  const queue = new JobQueue({ capacity: 10 });
  let running = 0;
  let most = 0;
  const job = (more: number): Promise<number> =>
    queue.submit({
      priority: more,
      run: async () => {
        most = Math.max(most, ++running);
        const inner = more > 0 ? job(more - 1) : undefined;
        inner?.catch(() => undefined);
        await settle(3);
        running--;
        return more;
      },
    });
  await Promise.all([job(2), job(2), job(2)]);
  await settle(60);
  expect(most).toBe(1);
  expect(queue.state.counts.done).toBe(9);
});

test('full: the newest of the lowest priority is evicted for a higher one, else the new one is refused', async () => {
  const { submit, release, first, order, queue } = occupied(3);
  await settle();
  const a = submit('a', 1);
  const b = submit('b', 1);
  const c = submit('c', 2);
  expect(await codeOf(() => submit('d', 1))).toBe('QUEUE_FULL');
  const evicted = codeOf(() => b);
  const e = submit('e', 3);
  expect(await evicted).toBe('QUEUE_EVICTED');
  release();
  await Promise.all([a, c, e, first]);
  expect(order).toEqual(['e', 'c', 'a']);
  expect(queue.state.counts).toMatchObject({ done: 4, full: 1, evicted: 1 });
});

test('an expired job never starts, and hears of it before its turn', async () => {
  let clock = 1_000_000;
  const { submit, release, first, order, queue } = occupied(4, () => clock);
  await settle();
  expect(await codeOf(() => submit('late', 0, { deadlineAt: clock }))).toBe('JOB_DEADLINE');
  const soon = codeOf(() => submit('soon', 0, { deadlineAt: clock + 30 }));
  const kept = submit('kept', 0, { deadlineAt: clock + 1e12 });
  clock += 31;
  expect(await soon).toBe('JOB_DEADLINE');
  release();
  await Promise.all([kept, first]);
  expect(order).toEqual(['kept']);
  expect(queue.state.counts.expired).toBe(2);
});

test('expired jobs give their room to new ones', async () => {
  let clock = 0;
  const { submit, release, first } = occupied(1, () => clock);
  await settle();
  const gone = codeOf(() => submit('gone', 5, { deadlineAt: 10 }));
  clock = 10;
  const kept = submit('kept', 0);
  expect(await gone).toBe('JOB_DEADLINE');
  release();
  expect(await kept).toBe('kept');
  await first;
});

test('cancel: a waiting job is rejected, a running one sees its signal', async () => {
  const { submit, queue, release, first } = occupied(4);
  const waiting = new AbortController();
  const cancelled = codeOf(() => submit('w', 0, { signal: waiting.signal }));
  waiting.abort();
  expect(await cancelled).toBe('ENGINE_CANCELLED');
  release();
  await first;
  const running = new AbortController();
  const seen = queue.submit({
    priority: 0,
    signal: running.signal,
    run: (signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(new HearthError('ENGINE_CANCELLED', 'stopped'))),
      ),
  });
  const outcome = codeOf(() => seen);
  await settle();
  running.abort();
  expect(await outcome).toBe('ENGINE_CANCELLED');
  expect(queue.state.counts).toMatchObject({ cancelled: 1, failed: 1, done: 1 });
});

test('a job that throws at once fails alone', async () => {
  const queue = new JobQueue({ capacity: 2 });
  const failing = queue.submit({
    priority: 0,
    run: () => {
      throw new Error('boom');
    },
  });
  await expect(failing).rejects.toThrow('boom');
  expect(await queue.submit({ priority: 0, run: async () => 7 })).toBe(7);
});

test('stop: waiting jobs are rejected, the running one ends within its grace or is aborted', async () => {
  const { submit, queue, release, first } = occupied(4);
  const waiting = codeOf(() => submit('w'));
  await settle();
  const stopped = queue.stop(60_000);
  expect(await waiting).toBe('SHUTDOWN');
  expect(await codeOf(() => submit('x'))).toBe('SHUTDOWN');
  release();
  await Promise.all([stopped, first]);

  const stubborn = new JobQueue({ capacity: 1 });
  const aborted = codeOf(() =>
    stubborn.submit({
      priority: 0,
      run: (signal) =>
        new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(new HearthError('ENGINE_CANCELLED', 'stopped'))),
        ),
    }),
  );
  await settle();
  await stubborn.stop(0);
  expect(await aborted).toBe('ENGINE_CANCELLED');
});

test('it tells how long the job that waits longest has waited', async () => {
  let now = 1000;
  const { submit, first, release, queue } = occupied(4, () => now);
  await settle();
  expect(queue.oldestWaitMs).toBe(0);
  const waiting = [submit('a', 1)];
  now = 3000;
  waiting.push(submit('b', 5));
  now = 3500;
  expect(queue.oldestWaitMs).toBe(2500);
  release();
  await Promise.all([first, ...waiting]);
  await settle();
  expect(queue.oldestWaitMs).toBe(0);
});

/** Jobs that run until they are told to end. */
function manual(concurrency: number, capacity = 10) {
  const queue = new JobQueue({ capacity, concurrency });
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  const submit = async (name: string, priority: number): Promise<void> =>
    await queue.submit({
      priority,
      run: async (signal) => {
        begun.push(name);
        await new Promise<void>((resolve) => {
          ends.set(name, resolve);
          signal.addEventListener('abort', () => resolve());
        });
      },
    });
  const end = async (name: string): Promise<void> => {
    ends.get(name)?.();
    await settle();
  };
  return { queue, begun, submit, end };
}

describe('several jobs at a time', () => {
  test('run up to one less than the limit; the last place is for one more urgent than all of them', async () => {
    const { queue, begun, submit, end } = manual(4);
    const all = [submit('a', 0), submit('b', 5), submit('c', 0), submit('d', 5), submit('e', 0)];
    await settle();
    expect(begun).toEqual(['a', 'b', 'c']);
    expect(queue.state).toMatchObject({ running: 3, waiting: 2 });
    all.push(submit('doorbell', 9));
    await settle();
    expect(begun).toEqual(['a', 'b', 'c', 'doorbell']);
    expect(queue.state).toMatchObject({ running: 4, waiting: 2 });
    // As urgent, but not more: it waits, before the others.
    all.push(submit('second', 9));
    await settle();
    expect(queue.state).toMatchObject({ running: 4, waiting: 3 });
    await end('a');
    expect(begun.at(-1)).toBe('doorbell');
    await end('b');
    expect(begun.at(-1)).toBe('second');
    for (const name of ['doorbell', 'second', 'c', 'd', 'e']) await end(name);
    await Promise.all(all);
    expect(begun).toEqual(['a', 'b', 'c', 'doorbell', 'second', 'd', 'e']);
    expect(queue.state).toMatchObject({ running: 0, waiting: 0, counts: { done: 7, failed: 0 } });
  });

  test('an urgent job is let in although the queue is full, the next one of its kind is not', async () => {
    const { queue, begun, submit } = manual(2, 1);
    const first = submit('a', 0);
    await settle();
    const waiting = submit('b', 0);
    expect(await codeOf(() => submit('c', 0))).toBe('QUEUE_FULL');
    const urgent = submit('urgent', 5);
    const evicted = codeOf(() => waiting);
    const next = codeOf(() => submit('next', 5));
    expect(await evicted).toBe('QUEUE_EVICTED');
    await settle();
    expect(begun).toEqual(['a', 'urgent']);
    expect(queue.state).toMatchObject({ running: 2, waiting: 1, counts: { full: 1, evicted: 1 } });
    await queue.stop(0);
    expect(await next).toBe('SHUTDOWN');
    await Promise.all([first, urgent]);
  });

  test('stop aborts all that run, after their grace', async () => {
    const { queue, submit } = manual(3);
    const all = [submit('a', 0), submit('b', 0), submit('c', 1)];
    await settle();
    expect(queue.state.running).toBe(3);
    await queue.stop(0);
    await Promise.all(all);
    expect(queue.state.running).toBe(0);
  });
});

test('paused, those that run end and no other starts; resumed, the most urgent does', async () => {
  const { queue, order, submit, first, release } = occupied(2);
  let drained = false;
  const pausing = queue.pause().then(() => {
    drained = true;
  });
  const waiting = [submit('a', 1), submit('b', 5)];
  await settle();
  expect(drained).toBe(false);
  release();
  await Promise.all([first, pausing]);
  await settle();
  expect(order).toEqual([]);
  // What may wait is bounded as ever, and what passes its deadline does not run later.
  expect(await codeOf(async () => await submit('c', 0))).toBe('QUEUE_FULL');
  queue.resume();
  await Promise.all(waiting);
  expect(order).toEqual(['b', 'a']);
});
