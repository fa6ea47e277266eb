import sharp from 'sharp';
import type { Bus, MessageHandler, PacketProperties, SubscribeOptions } from '../../../daemon/bus/bus';
import { matchesFilter, Topics } from '../../../daemon/bus/topics';
import { loadConfig } from '../../../daemon/config';
import { HearthError } from '../../../daemon/errors';
import { decodeWav } from '../../../daemon/media/wav';
import type { CameraOptions } from '../../../daemon/streams/camera-stream';
import type { MicrophoneOptions } from '../../../daemon/streams/microphone-stream';
import { type ItemPolicy, type StreamsOptions, streamsOptions } from '../../../daemon/streams/options';
import { scheduleOf } from '../../../daemon/streams/schedule';
import { Streams, type StreamsDependencies } from '../../../daemon/streams/streams';
import { filtersOverlap } from '../../../daemon/streams/topic-pattern';
import { fixture, HandDriven, makeParts, makeWav, mutate, seeded, settle, until } from './support';

/** The broker's side of the bus: hands a message to every handler whose filter matches. */
class FakeBus implements Pick<Bus, 'subscribe'> {
  readonly subscriptions: { filter: string; handler: MessageHandler; options: SubscribeOptions | undefined }[] = [];
  clock = 1_795_500_000;

  async subscribe(filter: string, handler: MessageHandler, options?: SubscribeOptions) {
    const subscription = { filter, handler, options };
    this.subscriptions.push(subscription);
    return async () => void this.subscriptions.splice(this.subscriptions.indexOf(subscription), 1);
  }

  send(
    topic: string,
    payload: Buffer | string,
    { retain = false, user }: { retain?: boolean; user?: Record<string, string> } = {},
  ): void {
    const bytes = Buffer.from(payload);
    const properties: PacketProperties = user === undefined ? {} : { userProperties: user };
    for (const { filter, handler, options } of this.subscriptions) {
      if (!matchesFilter(filter, topic)) continue;
      if (retain && options?.acceptRetained !== true) options?.onRetained?.(topic, bytes.length);
      else handler(topic, bytes, { retain, receivedTs: this.clock++, properties });
    }
  }
}

type Overrides = Partial<Omit<StreamsOptions, 'defaults'>> & {
  readonly camera?: Partial<CameraOptions>;
  readonly microphone?: Partial<MicrophoneOptions>;
};

const base = streamsOptions(loadConfig({ env: {} }));

async function started(
  { camera, microphone, ...overrides }: Overrides = {},
  more: Partial<StreamsDependencies> = {},
  maxBytes?: number,
) {
  const parts = makeParts(maxBytes === undefined ? {} : { maxBytes });
  const bus = new FakeBus();
  const { defaults } = base;
  const options: StreamsOptions = {
    ...base,
    ...overrides,
    defaults: {
      camera: { ...defaults.camera, options: { ...defaults.camera.options, minIntervalMs: 0, ...camera } },
      microphone: {
        ...defaults.microphone,
        options: { ...defaults.microphone.options, idleFlushMs: 60_000, ...microphone },
      },
    },
  };
  const streams = new Streams({
    options,
    bus,
    topics: new Topics('hearth', 'test'),
    dispatcher: parts.dispatcher,
    store: parts.store,
    skips: parts.skips,
    log: { info: () => undefined, warn: () => undefined },
    ...more,
  });
  await streams.start();
  const consumer = new HandDriven();
  parts.dispatcher.register(consumer);
  running.push(streams);
  return { ...parts, bus, streams, consumer };
}

const policies = ({ camera, ...changes }: Partial<ItemPolicy> & { readonly camera?: Partial<CameraOptions> }) => ({
  camera: {
    ...base.defaults.camera,
    ...changes,
    options: { ...base.defaults.camera.options, minIntervalMs: 0, ...camera },
  },
  microphone: { ...base.defaults.microphone, ...changes },
});

const running: Streams[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((streams) => streams.stop()));
});

const png = fixture('tree.png');
const flat = (level: number): Promise<Buffer> =>
  sharp({ create: { width: 64, height: 48, channels: 3, background: { r: level, g: level, b: level } } })
    .png()
    .toBuffer();

test('a frame becomes an item with its pixels, hash and time', async () => {
  const { bus, consumer, streams } = await started();
  bus.send('hearth/in/front_door/frame', JSON.stringify({ image: png.toString('base64'), ts: 1_795_499_990.25 }));
  await until(() => consumer.handled.length === 1);
  const { item, media } = consumer.handled[0]!;
  expect(item).toMatchObject({
    kind: 'frame',
    stream: 'front_door',
    topic: 'hearth/in/front_door/frame',
    width: 256,
    height: 256,
    capturedTs: 1_795_499_990.25,
  });
  expect(item.id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
  expect(item.sha256).toMatch(/^[0-9a-f]{64}$/);
  const expected = await sharp(png).removeAlpha().raw().toBuffer();
  expect(media.type === 'image' && Buffer.from(media.image.data).equals(expected)).toBe(true);
  expect(streams.stats()['front_door']).toMatchObject({ received: 1, used: 0 });
  consumer.handled[0]!.finish();
  await settle();
  expect(streams.stats()['front_door']).toMatchObject({ received: 1, used: 1, skipped: {} });
});

test.each([
  ['runs ahead', 1_999_999_999],
  ['never was set', 12],
])('a sender whose clock %s: the time of arrival counts', async (_what, ts) => {
  const { bus, consumer } = await started();
  bus.send('hearth/in/a/frame', JSON.stringify({ image: png.toString('base64'), ts }));
  await until(() => consumer.handled.length === 1);
  expect(consumer.handled[0]?.item.capturedTs).toBe(1_795_500_000);
});

test('the latest frame wins while the consumer is busy, and every frame is accounted for', async () => {
  const { bus, consumer, streams, skips, store } = await started();
  const frames = await Promise.all([10, 60, 110, 160, 210].map(flat));
  bus.send('hearth/in/cam/frame', frames[0]!);
  await until(() => consumer.handled.length === 1);
  for (const frame of frames.slice(1)) bus.send('hearth/in/cam/frame', frame);
  await settle();
  consumer.handled[0]!.finish();
  await until(() => consumer.handled.length === 2);
  const { media } = consumer.handled[1]!;
  expect(media.type === 'image' && media.image.data[0]).toBe(210);
  consumer.handled[1]!.finish();
  await settle();
  expect(skips.counts()).toEqual({ cam: { superseded: 3 } });
  expect(streams.stats()['cam']).toMatchObject({ received: 5, used: 2 });
  expect(store.count).toBe(0);
});

test('a frame that hardly differs from the last used one is a duplicate; a slow change adds up', async () => {
  const { bus, consumer, skips } = await started({
    camera: { duplicateThreshold: 3, motion: { threshold: 0, minArea: 0, ignore: [] } },
  });
  const levels: number[] = [];
  for (const level of [100, 101, 102, 103, 104, 100]) {
    const used = consumer.handled.length;
    const skipped = skips.counts()['cam']?.duplicate ?? 0;
    bus.send('hearth/in/cam/frame', await flat(level));
    await until(() => consumer.handled.length > used || (skips.counts()['cam']?.duplicate ?? 0) > skipped);
    if (consumer.handled.length > used) levels.push(level);
    consumer.handled.at(-1)!.finish();
    await settle();
  }
  // 103 is 3 levels from 100; 104 only one from 103; 100 again 3.
  expect(levels).toEqual([100, 103, 100]);
  expect(skips.counts()).toEqual({ cam: { duplicate: 3 } });
});

test('other light is no motion, and says so', async () => {
  const { bus, consumer, skips } = await started();
  bus.send('hearth/in/cam/frame', png);
  await until(() => consumer.handled.length === 1);
  consumer.handled[0]!.finish();
  await settle();
  bus.send('hearth/in/cam/frame', await sharp(png).linear(0.8, 4).png().toBuffer());
  await until(() => skips.counts()['cam'] !== undefined);
  expect(skips.counts()).toEqual({ cam: { 'no-motion': 1 } });
});

test('rate limit, and changing it while the camera runs', async () => {
  const { bus, consumer, skips, streams } = await started({
    camera: { minIntervalMs: 3_600_000, duplicateThreshold: 0 },
  });
  for (let i = 0; i < 4; i++) bus.send('hearth/in/cam/frame', png);
  await until(() => consumer.handled.length === 1);
  consumer.handled[0]!.finish();
  await settle();
  expect(skips.counts()).toEqual({ cam: { 'rate-limited': 3 } });
  streams.configure('cam', policies({ camera: { minIntervalMs: 0, duplicateThreshold: 0 } }));
  bus.send('hearth/in/cam/frame', png);
  await until(() => consumer.handled.length === 2);
});

test('bad frames are skipped with their code and the camera lives on', async () => {
  const { bus, consumer, skips, events } = await started({ maxFrameBytes: 100_000 });
  const refused = async (payload: Buffer | string, code: string, reason: 'bad-input' | 'too-large'): Promise<void> => {
    const before = skips.counts()['cam']?.[reason] ?? 0;
    bus.send('hearth/in/cam/frame', payload);
    await until(() => (skips.counts()['cam']?.[reason] ?? 0) === before + 1);
    skips.flush();
    expect(events.at(-1)).toMatchObject({
      kind: 'skipped',
      stream: 'cam',
      reason,
      error: { code },
      source: { topic: 'hearth/in/cam/frame' },
    });
  };
  await refused('', 'MEDIA_NOT_AN_IMAGE', 'bad-input');
  await refused(png.subarray(0, 5000), 'MEDIA_BROKEN_IMAGE', 'bad-input');
  for (const json of ['{}', '{"image":', '{"image":{"image":1}}', '{"image":"!"}'])
    await refused(json, 'MEDIA_BAD_ENVELOPE', 'bad-input');
  for (const json of ['[1]', '"x"', '1e400', 'true']) await refused(json, 'MEDIA_NOT_AN_IMAGE', 'bad-input');
  await refused(Buffer.alloc(100_001), 'MEDIA_TOO_LARGE', 'too-large');
  await refused(
    await sharp({ create: { width: 6000, height: 5000, channels: 3, background: 'black' } })
      .png({ compressionLevel: 9 })
      .toBuffer(),
    'MEDIA_IMAGE_TOO_LARGE',
    'too-large',
  );
  bus.send('hearth/in/cam/frame', png);
  await until(() => consumer.handled.length === 1);
});

test('topics of any name: bad stream names and one stream too many are refused, none is created', async () => {
  const cameras = new Map([['configured', base.defaults.camera]]);
  const { bus, skips, streams, events } = await started({ maxStreams: 2, cameras });
  for (const name of ['Upper', 'a b', '', 'ä', '_other', '$SYS', 'a'.repeat(65), 'x\u0000', '../../etc'])
    bus.send(`hearth/in/${name}/frame`, png);
  expect(Object.keys(streams.stats())).toEqual(['_other']);
  expect(skips.counts()).toEqual({ _other: { 'bad-input': 8 } });
  expect(events[0]!.error?.code).toBe('STREAM_NAME_INVALID');
  for (const name of ['constructor', '__proto__', 'third', 'configured']) bus.send(`hearth/in/${name}/frame`, png);
  expect(new Set(Object.keys(streams.stats()))).toEqual(new Set(['_other', 'constructor', '__proto__', 'configured']));
  expect(Object.values(streams.stats()).map(({ used }) => used)).toEqual([0, 0, 0, 0]);
  expect(skips.counts()['_other']?.['bad-input']).toBe(9);
  skips.flush();
  expect(events.at(-1)).toMatchObject({ stream: '_other', reason: 'bad-input', error: { code: 'STREAM_LIMIT' } });
});

test('only listed streams, when told so', async () => {
  const { bus, events, consumer } = await started({
    acceptUnlisted: false,
    cameras: new Map([['listed', base.defaults.camera]]),
  });
  bus.send('hearth/in/other/frame', png);
  expect(events[0]).toMatchObject({ stream: '_other', reason: 'bad-input', error: { code: 'STREAM_UNLISTED' } });
  bus.send('hearth/in/listed/frame', png);
  await until(() => consumer.handled.length === 1);
});

test('retained replays are skipped unless the stream asks for them; its further topics feed it', async () => {
  const { bus, skips, consumer } = await started({
    cameras: new Map([['porch', { ...base.defaults.camera, acceptRetained: true }]]),
    inputs: [{ filter: 'frigate/porch/+/snapshot', kind: 'frame', stream: 'porch' }],
  });
  bus.send('hearth/in/cam/frame', png, { retain: true });
  expect(skips.counts()).toEqual({ cam: { retained: 1 } });
  bus.send('frigate/porch/person/snapshot', png, { retain: true });
  await until(() => consumer.handled.length === 1);
  expect(consumer.handled[0]!.item).toMatchObject({ stream: 'porch', topic: 'frigate/porch/person/snapshot' });
});

test('a configuration file becomes policies and inputs', () => {
  const config = loadConfig({
    env: { HEARTH_QUEUE_DEFAULT_DEADLINE_MS: '9000', HEARTH_LIMITS_MAX_AUDIO_SECONDS: '12' },
  });
  const camera = {
    ...config.defaults.camera,
    kind: 'camera',
    topics: ['cam/+/jpg'],
    priority: 3,
    minIntervalMs: 250,
    raw: { pixelFormat: 'nv12', width: 640, height: 480 },
  } as const;
  const microphone = {
    ...config.defaults.microphone,
    kind: 'microphone',
    topics: ['hermes/audioServer/x/audioFrame'],
    deadlineMs: 77,
    audio: { ...config.defaults.microphone.audio, format: 's16le', channels: 2 },
  } as const;
  const options = streamsOptions({ ...config, streams: { door: camera, hall: microphone } });
  expect(options.cameras.get('door')).toMatchObject({
    priority: 3,
    deadlineMs: 9000,
    acceptRetained: false,
    options: {
      minIntervalMs: 250,
      duplicateThreshold: 2,
      motion: { threshold: 12, minArea: 0.002 },
      raw: { pixelFormat: 'nv12', width: 640, height: 480 },
    },
  });
  expect(options.microphones.get('hall')).toMatchObject({
    priority: 5,
    deadlineMs: 77,
    options: { maxSegmentMs: 12_000, mode: 'vad', pcm: { encoding: 's16le', sampleRate: 16_000, channels: 2 } },
  });
  expect(options.defaults.microphone.options.pcm).toBeUndefined();
  expect(options.inputs).toEqual([
    { filter: 'cam/+/jpg', stream: 'door', kind: 'frame' },
    { filter: 'hermes/audioServer/x/audioFrame', stream: 'hall', kind: 'audio' },
  ]);
});

test('no consumer, a model without eyes, a full media store', async () => {
  const { bus, skips, dispatcher, store } = await started({}, { supports: (kind) => kind !== 'segment' }, 100_000);
  bus.send('hearth/in/mic/audio', fixture('speech-002.wav'));
  bus.send('hearth/in/cam/frame', png);
  await until(() => (skips.counts()['cam']?.['queue-full'] ?? 0) === 1);
  expect(skips.counts()['mic']).toEqual({ unsupported: 1 });
  expect(store.sizeBytes).toBe(0);
  void dispatcher;
  const alone = await started();
  alone.dispatcher.stop();
  alone.bus.send('hearth/in/cam/frame', await flat(9));
  await until(() => alone.skips.counts()['cam'] !== undefined);
  expect(alone.skips.counts()).toEqual({ cam: { shutdown: 1 } });
});

test('a raw camera', async () => {
  const { bus, consumer } = await started({ camera: { raw: { pixelFormat: 'gray8', width: 2, height: 1 } } });
  bus.send('hearth/in/v4l/frame', Buffer.from([3, 9]));
  await until(() => consumer.handled.length === 1);
  const { media } = consumer.handled[0]!;
  expect(media.type === 'image' && Array.from(media.image.data)).toEqual([3, 3, 3, 9, 9, 9]);
});

const recordings = ['002', '004', '007'].map((name) => decodeWav(fixture(`speech-${name}.wav`), 30_000).samples);
const toS16 = (samples: Float32Array): Buffer =>
  Buffer.from(Int16Array.from(samples, (x) => Math.round(x * 32768)).buffer);
const chunks = (samples: Float32Array, size: number): Float32Array[] =>
  Array.from({ length: Math.ceil(samples.length / size) }, (_, i) => samples.slice(i * size, (i + 1) * size));

test('WAV chunks become one segment per recording', async () => {
  const { bus, consumer, streams } = await started();
  for (const recording of recordings) {
    for (const chunk of [...chunks(recording, 1600), ...chunks(new Float32Array(16_000), 1600)]) {
      bus.send('hearth/in/kitchen/audio', makeWav(toS16(chunk)));
      await settle(1);
    }
    await settle();
    consumer.handled.at(-1)!.finish();
    await settle();
  }
  expect(consumer.handled.map(({ item }) => item.kind)).toEqual(['segment', 'segment', 'segment']);
  for (const [i, { item, media }] of consumer.handled.entries()) {
    expect(item).toMatchObject({ stream: 'kitchen', topic: 'hearth/in/kitchen/audio' });
    if (media.type !== 'audio' || item.kind !== 'segment') throw new Error('expected audio');
    expect(item.durationMs).toBe(Math.round(media.audio.samples.length / 16));
    const loudest = (samples: Float32Array): number => samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    expect(loudest(media.audio.samples)).toBeCloseTo(loudest(recordings[i]!), 4);
  }
  expect(streams.stats()['kitchen']).toMatchObject({ used: 3, skipped: {} });
});

test('push-to-talk: audio/end makes exactly what was said a segment, plus the silence the model expects', async () => {
  const { bus, consumer } = await started({ microphone: { mode: 'push-to-talk' } });
  const recording = recordings[0]!;
  for (const chunk of chunks(recording, 800)) bus.send('hearth/in/button/audio', makeWav(toS16(chunk)));
  await settle();
  expect(consumer.handled.length).toBe(0);
  bus.send('hearth/in/button/audio/end', '{}');
  await until(() => consumer.handled.length === 1);
  const { media } = consumer.handled[0]!;
  if (media.type !== 'audio') throw new Error('expected audio');
  expect(Array.from(media.audio.samples.subarray(0, recording.length))).toEqual(Array.from(recording));
  expect(media.audio.samples.subarray(recording.length).every((x) => x === 0)).toBe(true);
});

test('raw PCM by user properties at 48 kHz, then 8 kHz in mid-sentence: one segment, of the right length', async () => {
  const { bus, consumer, skips } = await started({ microphone: { mode: 'push-to-talk', keepSilenceMs: 0 } });
  const tone = (rate: number): Buffer =>
    toS16(Float32Array.from({ length: rate }, (_, i) => 0.5 * Math.sin((2 * Math.PI * 300 * i) / rate)));
  const user = (rate: number, seq: number) => ({
    user: { encoding: 's16le', sample_rate: String(rate), seq: String(seq) },
  });
  bus.send('hearth/in/m/audio', tone(48_000), user(48_000, 0));
  bus.send('hearth/in/m/audio', tone(8000), user(8000, 1));
  bus.send('hearth/in/m/audio/end', '');
  await until(() => consumer.handled.length === 1);
  const { media } = consumer.handled[0]!;
  if (media.type !== 'audio') throw new Error('expected audio');
  const { samples } = media.audio;
  expect(samples.length).toBe(32_000);
  const expected = (i: number): number => 0.5 * Math.sin((2 * Math.PI * 300 * i) / 16_000);
  for (const from of [400, 16_400]) {
    for (let i = from; i < from + 15_000; i++) expect(Math.abs(samples[i]! - expected(i))).toBeLessThan(2e-3);
  }
  expect(skips.counts()).toEqual({});
});

test('late chunks are refused, a gap becomes silence, audio without a format is refused', async () => {
  const { bus, consumer, skips, streams, events } = await started({
    microphone: { mode: 'push-to-talk', keepSilenceMs: 0, minSpeechMs: 0 },
  });
  const send = (seq: number, level: number): void =>
    bus.send('hearth/in/m/audio', toS16(new Float32Array(1600).fill(level)), {
      user: { encoding: 's16le', seq: String(seq) },
    });
  send(1, 0.25);
  send(2, 0.5);
  send(1, 0.125);
  send(4, 0.75);
  bus.send('hearth/in/m/audio', Buffer.alloc(320));
  bus.send('hearth/in/m/audio', Buffer.alloc(320), { user: { encoding: 'mp3' } });
  bus.send('hearth/in/m/audio', Buffer.alloc(320), { user: { encoding: 's16le', seq: '-1' } });
  bus.send('hearth/in/m/audio/end', '{}');
  await until(() => consumer.handled.length === 1);
  const { media } = consumer.handled[0]!;
  if (media.type !== 'audio') throw new Error('expected audio');
  expect([0, 1600, 3200, 4800].map((at) => media.audio.samples[at])).toEqual([0.25, 0.5, 0, 0.75]);
  expect(media.audio.samples.length).toBe(6400);
  expect(streams.stats()['m']).toMatchObject({ missingChunks: 1 });
  expect(skips.counts()).toEqual({ m: { 'bad-input': 4 } });
  skips.flush();
  expect(events.map(({ count }) => count)).toEqual([1, 3]);
  expect(events.at(-1)!.error?.code).toBe('MEDIA_NOT_A_WAV');
});

test('a microphone that falls silent: the idle timer ends the segment', async () => {
  const { bus, consumer } = await started({ microphone: { idleFlushMs: 50 } });
  bus.send('hearth/in/m/audio', fixture('speech-007.wav'));
  await until(() => consumer.handled.length === 1);
  const { media } = consumer.handled[0]!;
  expect(media.type === 'audio' && media.audio.samples.length).toBeGreaterThan(16_000);
});

test('longer than a segment may be: cut, nothing lost; longer than a chunk may be: refused', async () => {
  const { bus, consumer, skips } = await started({
    microphone: { mode: 'push-to-talk', maxSegmentMs: 1000, keepSilenceMs: 0, minSpeechMs: 0 },
    maxChunkMs: 2000,
  });
  bus.send('hearth/in/m/audio', makeWav(Buffer.alloc(2 * 16_000 * 2.5)));
  await settle();
  expect(skips.counts()).toEqual({ m: { 'too-long': 1 } });
  bus.send('hearth/in/m/audio', makeWav(Buffer.alloc(2 * 24_000)));
  bus.send('hearth/in/m/audio/end', '{}');
  await until(() => consumer.handled.length === 1);
  consumer.handled[0]!.finish();
  await until(() => consumer.handled.length === 2);
  expect(consumer.handled.map(({ item }) => item.kind === 'segment' && item.durationMs)).toEqual([1000, 500]);
});

test('a flood while the resampler starts: what finds no room is counted, the rest is heard', async () => {
  const { bus, consumer, skips } = await started({ microphone: { mode: 'push-to-talk', keepSilenceMs: 0 } });
  const seconds = (n: number): Buffer => makeWav(Buffer.alloc(2 * 48_000 * n), { sampleRate: 48_000 });
  // 100 chunks of 96 kB: 43 fit into 4 MiB together with the first, which is being worked on.
  for (let i = 0; i < 100; i++) bus.send('hearth/in/m/audio', seconds(1));
  const refused = skips.counts()['m']?.['queue-full'] ?? 0;
  expect(refused).toBe(100 - Math.floor((4 * 2 ** 20) / seconds(1).length));
  const heardMs = (): number =>
    consumer.handled.reduce((sum, { item }) => sum + (item.kind === 'segment' ? item.durationMs : 0), 0);
  await until(() => heardMs() === 30_000);
  for (const handled of consumer.handled) handled.finish();
  bus.send('hearth/in/m/audio/end', '{}');
  await until(() => heardMs() === 1000 * (100 - refused));
});

test('stop: no more input, what waits is skipped as shutdown, the handler in hand may end', async () => {
  const { bus, consumer, skips, streams, store, events } = await started({ camera: { duplicateThreshold: 0 } });
  bus.send('hearth/in/cam/frame', png);
  await until(() => consumer.handled.length === 1);
  bus.send('hearth/in/cam/frame', await flat(10));
  bus.send('hearth/in/mic/audio', makeWav(toS16(recordings[1]!.slice(0, 16_000))));
  await settle();
  await streams.stop();
  expect(bus.subscriptions).toEqual([]);
  expect(skips.counts()).toEqual({ cam: { shutdown: 1 }, mic: { shutdown: 1 } });
  expect(events.map(({ reason, count }) => [reason, count])).toEqual([
    ['shutdown', 1],
    ['shutdown', 1],
  ]);
  consumer.handled[0]!.finish();
  await settle();
  expect(store.count).toBe(0);
});

test('mutated pictures and sounds on live topics: every message is accounted for and the streams live on', async () => {
  const { bus, consumer, skips, streams, store } = await started({
    camera: { duplicateThreshold: 0 },
    microphone: { idleFlushMs: 60_000 },
  });
  const random = seeded(99);
  const wav = fixture('speech-002.wav');
  for (let i = 0; i < 60; i++) {
    bus.send('hearth/in/cam/frame', mutate(png, random));
    bus.send('hearth/in/mic/audio', mutate(wav, random));
    await settle(2);
    for (const handled of consumer.handled) handled.finish();
  }
  const total = (stream: string): number => {
    const { used, skipped } = streams.stats()[stream]!;
    return used + Object.values(skipped ?? {}).reduce((a, b) => a + b, 0);
  };
  await until(() => {
    for (const handled of consumer.handled) handled.finish();
    return total('cam') === 60;
  });
  expect(skips.counts()['mic']?.['bad-input']).toBeGreaterThan(5);
  bus.send('hearth/in/cam/frame', png);
  await until(() => {
    for (const handled of consumer.handled) handled.finish();
    return total('cam') === 61;
  });
  expect(streams.stats()['cam']!.used).toBeGreaterThan(0);
  expect(store.count).toBeLessThanOrEqual(4);
});

describe('topics that name their stream', () => {
  const snapshots = { template: 'frigate/{stream}/+/snapshot', kind: 'frame' as const, optional: true };

  test('feed the stream they name, written as hearth writes names; listed ones go where they are listed', async () => {
    const { bus, consumer, skips } = await started({
      patterns: [snapshots],
      inputs: [{ filter: 'frigate/garage/+/snapshot', stream: 'car_port', kind: 'frame' }],
      camera: { duplicateThreshold: 0 },
    });
    const topics = ['frigate/Front Door/person/snapshot', 'frigate/garage/car/snapshot', 'frigate/Über/cat/snapshot'];
    for (const topic of topics) bus.send(topic, png);
    await until(() => consumer.handled.length === 3);
    expect(consumer.handled.map(({ item }) => [item.stream, item.topic])).toEqual([
      ['front_door', topics[0]],
      ['car_port', topics[1]],
      ['_ber', topics[2]],
    ]);
    bus.send('frigate//cat/snapshot', png);
    expect(skips.counts()).toEqual({ _other: { 'bad-input': 1 } });
  });

  test('sound comes in the same way', async () => {
    const { bus, streams } = await started({
      patterns: [{ template: 'hermes/audioServer/{stream}/audioFrame', kind: 'audio', optional: false }],
    });
    bus.send('hermes/audioServer/Kitchen/audioFrame', fixture('speech-002.wav'));
    await settle();
    expect(streams.stats()).toMatchObject({ kitchen: { received: 1 } });
  });

  test.each([true, false])(
    'a broker that refuses one is no reason not to start, if nobody asked for it: %s',
    async (optional) => {
      const warnings: unknown[] = [];
      const bus = new FakeBus();
      const subscribe = bus.subscribe.bind(bus);
      bus.subscribe = async (filter, handler, options) => {
        if (filter.startsWith('frigate/')) throw new HearthError('BUS_SUBSCRIBE_REFUSED', filter);
        return await subscribe(filter, handler, options);
      };
      const start = started(
        { patterns: [{ ...snapshots, optional }] },
        { bus, log: { info: () => undefined, warn: (fields: unknown) => void warnings.push(fields) } as never },
      );
      if (optional) await start;
      else await expect(start).rejects.toMatchObject({ code: 'BUS_SUBSCRIBE_REFUSED' });
      expect(warnings).toHaveLength(optional ? 1 : 0);
    },
  );

  const patternsOf = (yaml: Record<string, unknown>) => {
    const config = loadConfig({ env: {} });
    return streamsOptions({ ...config, ...yaml } as never).patterns.map(({ template }) => template);
  };
  const plugin = (name: string, enabled = true) => ({ plugins: { [name]: { enabled, path: null, config: {} } } });

  test('Frigate’s are taken without configuration, unless they are looked at otherwise; Hermes’ with its plugin', () => {
    const own = { cameras: null, microphones: null };
    expect(patternsOf({})).toEqual(['frigate/{stream}/+/snapshot']);
    expect(patternsOf(plugin('frigate'))).toEqual([]);
    expect(patternsOf(plugin('frigate', false))).toEqual(['frigate/{stream}/+/snapshot']);
    const { camera } = loadConfig({ env: {} }).defaults;
    const listed = { streams: { door: { ...camera, kind: 'camera', topics: ['frigate/door/#'] } } };
    expect(patternsOf(listed)).toEqual([]);
    expect(patternsOf({ inputs: { ...own, cameras: [] } })).toEqual([]);
    expect(patternsOf({ ...listed, inputs: { ...own, cameras: ['cams/{stream}'] } })).toEqual(['cams/{stream}']);
    expect(patternsOf(plugin('hermes'))).toEqual([
      'frigate/{stream}/+/snapshot',
      'hermes/audioServer/{stream}/audioFrame',
    ]);
  });

  test.each([
    ['a/b', 'a/b', true],
    ['a/+', '+/b', true],
    ['a/#', 'a/b/c', true],
    ['#', 'x', true],
    ['a/+/c', 'a/b/d', false],
    ['a/+', 'a/b/c', false],
    ['a', 'a/b', false],
  ])('%s and %s overlap: %s', (a, b, overlap) => {
    expect([filtersOverlap(a, b), filtersOverlap(b, a)]).toEqual([overlap, overlap]);
  });
});

test('a stream that is switched off: everything is skipped as disabled, until it is on again', async () => {
  const { bus, consumer, skips, streams } = await started();
  streams.configure('cam', policies({ enabled: false }));
  expect(streams.stats()['cam']).toMatchObject({ received: 0, enabled: false, scheduled: true });
  bus.send('hearth/in/cam/frame', png);
  bus.send('hearth/in/cam/audio', fixture('speech-002.wav'));
  expect(skips.counts()).toEqual({ cam: { disabled: 2 } });
  expect(streams.stats()['cam']).toMatchObject({ received: 2, enabled: false });
  streams.configure('cam', policies({}));
  bus.send('hearth/in/cam/frame', png);
  await until(() => consumer.handled.length === 1);
  expect(streams.stats()['cam']).toMatchObject({ enabled: true });
});

test('outside of its schedule a stream is skipped as scheduled-off, by the time of arrival', async () => {
  const { bus, consumer, skips, streams } = await started();
  // A Tuesday; the clock of the bus goes on by a second a message.
  const scheduled = scheduleOf(['tue 07:21-08:00'], 'UTC');
  bus.clock = Date.parse('2026-11-24T07:20:58Z') / 1000;
  streams.configure('cam', policies({ scheduled }));
  for (let i = 0; i < 2; i++) bus.send('hearth/in/cam/frame', png);
  bus.send('hearth/in/cam/frame', png);
  await until(() => consumer.handled.length === 1);
  expect(skips.counts()).toEqual({ cam: { 'scheduled-off': 2 } });
  expect(streams.stats()['cam']).toMatchObject({ enabled: true, scheduled: scheduled(Date.now()) });
});
