import { HearthError } from '../../../daemon/errors';
import type { FrameItem, SegmentItem } from '../../../daemon/plugins/api';
import type { MediaStore } from '../../../daemon/streams/media-store';
import { codeOf, HandDriven, makeParts, settle } from './support';

let serial = 0;
function frame(store: MediaStore, stream = 'door'): FrameItem {
  const ref = store.add({ type: 'image', image: { width: 1, height: 1, data: new Uint8Array(3) } });
  return {
    kind: 'frame',
    id: `f${++serial}`,
    stream,
    capturedTs: 1,
    topic: 't',
    sha256: 's',
    media: { ref },
    width: 1,
    height: 1,
  };
}
function segment(store: MediaStore, stream = 'mic'): SegmentItem {
  const ref = store.add({ type: 'audio', audio: { samples: new Float32Array(10) } });
  return {
    kind: 'segment',
    id: `s${++serial}`,
    stream,
    capturedTs: 1,
    topic: 't',
    sha256: 's',
    media: { ref },
    durationMs: 1,
  };
}

test('per stream one frame in hand; of those that wait only the newest is kept', async () => {
  const { store, dispatcher, skips } = makeParts();
  const consumer = new HandDriven();
  dispatcher.register(consumer);
  const frames = Array.from({ length: 5 }, () => frame(store));
  for (const item of frames) dispatcher.offer(item);
  const other = frame(store, 'garden');
  dispatcher.offer(other);
  expect(consumer.handled.map(({ item }) => item.id)).toEqual([frames[0]!.id, other.id]);
  consumer.handled[0]!.finish();
  await settle();
  expect(consumer.handled.map(({ item }) => item.id)).toEqual([frames[0]!.id, other.id, frames[4]!.id]);
  expect(skips.counts()).toEqual({ door: { superseded: 3 } });
  consumer.handled[1]!.finish();
  consumer.handled[2]!.finish();
  await settle();
  expect([store.count, store.sizeBytes]).toEqual([0, 0]);
  expect(dispatcher.used()).toEqual({ door: 2, garden: 1 });
});

test('segments wait in order up to the limit, then queue-full', async () => {
  const { store, dispatcher, skips } = makeParts({ maxWaitingSegments: 2 });
  const consumer = new HandDriven();
  dispatcher.register(consumer);
  const segments = Array.from({ length: 5 }, () => segment(store));
  for (const item of segments) dispatcher.offer(item);
  expect(skips.counts()).toEqual({ mic: { 'queue-full': 2 } });
  for (let i = 0; i < 3; i++) {
    consumer.handled[i]!.finish();
    await settle();
  }
  expect(consumer.handled.map(({ item }) => item.id)).toEqual(segments.slice(0, 3).map(({ id }) => id));
});

test('a frame one consumer used is no skipped frame, though another never saw it', async () => {
  const { store, dispatcher, skips } = makeParts();
  const [fast, slow] = [new HandDriven('fast'), new HandDriven('slow')];
  dispatcher.register(fast);
  dispatcher.register(slow);
  for (let i = 0; i < 3; i++) {
    dispatcher.offer(frame(store));
    fast.handled[i]!.finish();
    await settle();
  }
  expect(fast.handled.length).toBe(3);
  expect(slow.handled.length).toBe(1);
  slow.handled[0]!.finish();
  await settle();
  slow.handled[1]!.finish();
  await settle();
  expect(skips.counts()).toEqual({});
  expect(dispatcher.used()).toEqual({ door: 3 });
  expect(store.count).toBe(0);
});

test('a job the queue refused makes the frame a skipped one, any other failure a used one', async () => {
  const { store, dispatcher, skips, events } = makeParts();
  const consumer = new HandDriven();
  dispatcher.register(consumer);
  const failures = [
    new HearthError('QUEUE_FULL', 'full'),
    new HearthError('JOB_DEADLINE', 'late'),
    new HearthError('ENGINE_RESTARTED', 'gone'),
    new Error('bug'),
  ];
  for (const [i, failure] of failures.entries()) {
    dispatcher.offer(frame(store));
    consumer.handled[i]!.finish(failure);
    await settle();
  }
  expect(skips.counts()).toEqual({ door: { 'queue-full': 1, deadline: 1 } });
  expect(events.map(({ error }) => error?.code)).toEqual(['QUEUE_FULL', 'JOB_DEADLINE']);
  expect(dispatcher.used()).toEqual({ door: 2 });
});

test('nobody takes it, the consumer leaves, the daemon stops', async () => {
  const { store, dispatcher, skips } = makeParts();
  dispatcher.offer(frame(store));
  expect(skips.counts()).toEqual({ door: { 'no-consumer': 1 } });
  const consumer = new HandDriven('c', ['frame'], 'door');
  expect([dispatcher.wants('frame', 'door'), dispatcher.wants('frame', 'x')]).toEqual([false, false]);
  const unregister = dispatcher.register(consumer);
  expect([
    dispatcher.wants('frame', 'door'),
    dispatcher.wants('frame', 'x'),
    dispatcher.wants('segment', 'door'),
  ]).toEqual([true, false, false]);
  dispatcher.offer(frame(store));
  dispatcher.offer(frame(store));
  unregister();
  expect(skips.counts()).toEqual({ door: { 'no-consumer': 2 } });
  consumer.handled[0]!.finish();
  await settle();
  dispatcher.register(consumer);
  dispatcher.offer(frame(store));
  dispatcher.offer(frame(store));
  dispatcher.stop();
  dispatcher.offer(frame(store));
  expect(skips.counts()).toEqual({ door: { 'no-consumer': 2, shutdown: 2 } });
  consumer.handled[1]!.finish();
  await settle();
  expect(store.count).toBe(0);
  expect(await codeOf(() => dispatcher.register(consumer))).toBe('SHUTDOWN');
});

test('whenIdle waits for the first free consumer of the stream', async () => {
  const { store, dispatcher } = makeParts();
  await dispatcher.whenIdle('frame', 'door');
  const consumer = new HandDriven();
  dispatcher.register(consumer);
  dispatcher.offer(frame(store));
  let idle = false;
  void dispatcher.whenIdle('frame', 'door').then(() => (idle = true));
  await dispatcher.whenIdle('frame', 'garden');
  await settle();
  expect(idle).toBe(false);
  consumer.handled[0]!.finish();
  await settle();
  expect(idle).toBe(true);
});

test('media store: references are counted, bytes are bounded, a reference that is gone says so', async () => {
  const { store } = makeParts({ maxBytes: 100 });
  const audio = (length: number) => ({ type: 'audio', audio: { samples: new Float32Array(length) } }) as const;
  const ref = store.add(audio(20));
  expect(await codeOf(() => store.add(audio(6)))).toBe('MEDIA_STORE_FULL');
  store.retain(ref);
  store.release(ref);
  expect(store.get(ref)).toEqual(audio(20));
  store.release(ref);
  expect(store.sizeBytes).toBe(0);
  for (const run of [() => store.get(ref), () => store.release(ref), () => store.retain('../etc')])
    expect(await codeOf(run)).toBe('MEDIA_GONE');
});
