import { VirtualTimeScheduler } from 'rxjs';
import type { Watching } from '../../../daemon/inference/engine';
import type { AudioClip, RgbImage } from '../../../daemon/inference/types';
import type { DecodedImage } from '../../../daemon/media/image';
import { CameraStream } from '../../../daemon/streams/camera-stream';
import { type Clip, ClipCollector, type ClipOptions } from '../../../daemon/streams/clip-collector';
import { HandDriven, makeParts, settle } from './support';

const audio: AudioClip = { samples: new Float32Array(16_000) };

const grey = (luma: number): RgbImage => ({ width: 32, height: 32, data: new Uint8Array(32 * 32 * 3).fill(luma) });

/** A camera on a clock of its own; a frame's first byte is its brightness. */
function camera(clip: ClipOptions, maxBytes?: number) {
  const parts = makeParts(maxBytes === undefined ? {} : { maxBytes });
  const consumer = new HandDriven('clips', ['clip']);
  parts.dispatcher.register(consumer);
  const watched: string[] = [];
  const watch = (maxTokens: number): Watching => {
    watched.push(`begin ${maxTokens}`);
    return {
      seen: ({ image, timeMs }) => watched.push(`seen ${image.data[0]} at ${timeMs}`),
      heard: ({ timeMs }) => watched.push(`heard at ${timeMs}`),
      end: () => watched.push('end'),
    };
  };
  const scheduler = new VirtualTimeScheduler();
  scheduler.maxFrames = 0;
  const stream = new CameraStream(
    'drive',
    { minIntervalMs: 1000, duplicateThreshold: 2, clip },
    {
      dispatcher: parts.dispatcher,
      store: parts.store,
      skips: parts.skips,
      decode: async (payload): Promise<DecodedImage> => ({ image: grey(payload[0] ?? 0) }),
      watch,
      scheduler,
    },
  );
  /** What is due until `second` happens; then the camera shows something. */
  const show = async (second: number, luma: number): Promise<void> => {
    await at(second);
    stream.push({ topic: 'hearth/in/drive/frame', receivedTs: 1000 + second, payload: Uint8Array.of(luma) });
    await settle();
  };
  const at = async (second: number): Promise<void> => {
    scheduler.maxFrames = 1000 * second;
    scheduler.flush();
    scheduler.frame = 1000 * second;
    await settle();
  };
  const lumas = (n: number): (number | undefined)[] => {
    const media = consumer.handled[n]?.media;
    return media?.type === 'video' ? media.frames.map(({ image }) => image.data[0]) : [];
  };
  return { ...parts, consumer, stream, show, at, lumas, watched };
}

test('a clip begins with a change and ends with its time; what hardly changes or comes too soon is not in it', async () => {
  const { consumer, show, at, lumas, skips, store, dispatcher } = camera({ seconds: 5, maxTokens: 4096 });
  for (const [second, luma] of [
    [0, 10],
    [1, 11],
    [1.5, 90],
    [2, 50],
    [4, 90],
  ] as const)
    await show(second, luma);
  expect(consumer.handled).toHaveLength(0);
  await at(5.1);
  expect(consumer.handled).toHaveLength(1);
  expect(lumas(0)).toEqual([10, 50, 90]);
  const { item, media, finish } = consumer.handled[0] ?? {};
  expect(item).toMatchObject({
    kind: 'clip',
    stream: 'drive',
    frames: 3,
    sounds: 0,
    durationMs: 4000,
    capturedTs: 1004,
  });
  expect(media).toMatchObject({
    type: 'video',
    maxTokens: 4096,
    frames: [0, 2000, 4000].map((timeMs) => ({ timeMs })),
  });
  expect(skips.counts()).toEqual({ drive: { duplicate: 1, 'rate-limited': 1 } });
  finish?.();
  await settle();
  expect(dispatcher.used()).toEqual({ drive: 3 });
  expect(store.count).toBe(0);

  // A scene that stays as it is begins no other one.
  await show(9, 90);
  await at(30);
  expect(consumer.handled).toHaveLength(1);
  await show(31, 10);
  await at(40);
  expect(lumas(1)).toEqual([10]);
});

test('a clip ends when its tokens are used up, by frames or by sounds', async () => {
  const { stream, show, lumas, consumer } = camera({ seconds: 60, maxTokens: 3 * 256 });
  for (let i = 0; i < 4; i++) await show(2 * i, 10 * i);
  expect(lumas(0)).toEqual([0, 10, 20]);
  expect(consumer.handled[0]?.item).toMatchObject({ frames: 3, durationMs: 4000 });
  consumer.handled[0]?.finish();
  // The fourth frame began another one.
  stream.hear({ audio, startedTs: 1007 });
  await settle();
  expect(consumer.handled).toHaveLength(1);
  stream.hear({ audio, startedTs: 1008 });
  await settle();
  expect(consumer.handled[1]?.item).toMatchObject({ frames: 1, sounds: 2 });
  expect(consumer.handled[1]?.media).toMatchObject({ sounds: [{ timeMs: 1000 }, { timeMs: 2000 }] });
});

test('what is heard before a clip begins is in none', async () => {
  const { stream, show, at, consumer } = camera({ seconds: 5, maxTokens: 2048 });
  stream.hear({ audio, startedTs: 999 });
  await show(0, 10);
  await at(6);
  expect(consumer.handled[0]?.item).toMatchObject({ frames: 1, sounds: 0 });
});

test('frames of a clip that finds no room are counted one by one', async () => {
  const { show, at, skips, events } = camera({ seconds: 5, maxTokens: 2048 }, 2 * 32 * 32 * 3);
  for (let i = 0; i < 3; i++) await show(i, 20 * i);
  await at(6);
  expect(skips.counts()).toEqual({ drive: { 'queue-full': 3 } });
  expect(events).toMatchObject([
    { kind: 'skipped', reason: 'queue-full', count: 3, error: { code: 'MEDIA_STORE_FULL' } },
  ]);
});

test('a clip nobody has time for is skipped with all its frames; stopping ends the one in hand', async () => {
  const { show, at, stream, consumer, skips, dispatcher } = camera({ seconds: 5, maxTokens: 2048 });
  await show(0, 10);
  await show(2, 60);
  await at(6);
  consumer.handled[0]?.finish(Object.assign(new Error('late'), { code: 'JOB_DEADLINE' }));
  await settle();
  expect(skips.counts()).toEqual({ drive: { deadline: 2 } });
  await show(8, 110);
  await stream.stop();
  await settle();
  expect(consumer.handled[1]?.item).toMatchObject({ kind: 'clip', frames: 1 });
  consumer.handled[1]?.finish();
  await settle();
  expect(dispatcher.used()).toEqual({ drive: 1 });
});

test('the engine sees a clip while it is being taken', async () => {
  const { stream, show, at, watched } = camera({ seconds: 5, maxTokens: 1024 });
  stream.hear({ audio, startedTs: 999 });
  await show(0, 10);
  await show(1, 11);
  stream.hear({ audio, startedTs: 1001 });
  await show(2, 60);
  await at(6);
  await show(8, 10);
  expect(watched).toEqual([
    'begin 1024',
    'seen 10 at 1000000',
    'heard at 1001000',
    'seen 60 at 1002000',
    'end',
    'begin 1024',
    'seen 10 at 1008000',
  ]);
});

test('large frames end a clip before they take the memory of the board', () => {
  const clips: Clip[] = [];
  const collector = new ClipCollector(
    () => ({ seconds: 60, maxTokens: 32_768 }),
    (clip) => clips.push(clip),
    new VirtualTimeScheduler(),
  );
  const image = { width: 6000, height: 1000, data: new Uint8Array(18_000_000) };
  for (let i = 0; i < 5; i++) collector.add({ image, capturedTs: i, topic: 't', sha256: '' });
  expect(clips.map(({ frames }) => frames.length)).toEqual([4]);
  expect(collector.clip.frames).toHaveLength(1);
});
