/** Pictures and speech through a real Mosquitto into the streams, and `skipped` events back out. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect as connectSocket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import pino from 'pino';
import sharp from 'sharp';
import { MqttBus } from '../../daemon/bus/mqtt-bus';
import { loadConfig } from '../../daemon/config';
import type { StreamEvent } from '../../daemon/events';
import { decodeWav } from '../../daemon/media/wav';
import { type Consumer, Dispatcher, type StreamItem } from '../../daemon/streams/dispatcher';
import { type DecodedMedia, MediaStore } from '../../daemon/streams/media-store';
import { streamsOptions } from '../../daemon/streams/options';
import { Skips } from '../../daemon/streams/skips';
import { Streams } from '../../daemon/streams/streams';

const fixture = (name: string): Buffer => readFileSync(join(process.cwd(), 'test', 'fixtures', 'media', name));

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`never became true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const up = await new Promise<boolean>((resolve) => {
      const socket = connectSocket(port, '127.0.0.1', () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (up) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('mosquitto does not listen');
}

let directory: string;
let broker: ChildProcess;
let bus: MqttBus;
let streams: Streams;
let skips: Skips;
let sender: MqttClient;
const received: { item: StreamItem; media: DecodedMedia }[] = [];
const events: StreamEvent[] = [];

beforeAll(async () => {
  const port = await freePort();
  directory = mkdtempSync(join(tmpdir(), 'hearth-streams-'));
  writeFileSync(
    join(directory, 'mosquitto.conf'),
    `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\n`,
  );
  broker = spawn('mosquitto', ['-c', join(directory, 'mosquitto.conf')], {
    stdio: 'ignore',
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/usr/local/sbin` },
  });
  await listening(port);
  const url = `mqtt://127.0.0.1:${port}`;

  sender = await connectAsync(url, { protocolVersion: 5 });
  sender.on('message', (_topic, payload) => events.push(JSON.parse(payload.toString()) as StreamEvent));
  await sender.subscribeAsync('hearth/pi5/out/+/skipped', { qos: 1 });
  // A replay that waits for the daemon.
  await sender.publishAsync('hearth/in/attic/frame', fixture('tree.png'), { retain: true, qos: 1 });

  const config = loadConfig({ env: {}, flags: { 'limits-max-frame-bytes': '200000' } });
  const log = pino({ level: 'silent' });
  bus = new MqttBus({
    broker: {
      url,
      credentials: () => ({ username: null, password: null }),
      rejectUnauthorized: true,
      protocol: 'auto',
      keepaliveSeconds: 30,
      reconnectMaxMs: 1000,
    },
    baseTopic: 'hearth',
    node: 'pi5',
    clientId: 'hearth-pi5',
    eventExpirySeconds: 60,
    sessionExpirySeconds: 60,
    outbox: { maxMessages: 1024, maxBytes: 16 << 20, maxAgeMs: 900_000 },
    maxRequestBytes: 4 << 20,
    maxMediaBytes: 6 << 20,
    log,
  });
  bus.start();
  await bus.ready();
  const store = new MediaStore({ maxBytes: 64 << 20 });
  skips = new Skips({ node: 'pi5' });
  skips.event$.subscribe((event) => void bus.publishEvent(event));
  const dispatcher = new Dispatcher({ store, skips, maxWaitingSegments: 4 });
  const consumer: Consumer = {
    name: 'recorder',
    consumes: ['frame', 'segment'],
    streams: () => true,
    handle: async (item, media) => void received.push({ item, media }),
  };
  dispatcher.register(consumer);
  streams = new Streams({ options: streamsOptions(config), bus, topics: bus.topics, dispatcher, store, skips, log });
  await streams.start();
});

afterAll(async () => {
  await streams?.stop();
  skips?.stop();
  await bus?.close();
  await sender?.endAsync();
  const exited = new Promise((resolve) => broker.once('exit', resolve));
  broker.kill();
  await exited;
  rmSync(directory, { recursive: true, force: true });
});

const of = (stream: string) => received.filter(({ item }) => item.stream === stream);

test('a JPEG and its JSON form arrive as the same picture', async () => {
  const ts = Math.floor(Date.now() / 1000) - 5;
  const jpeg = await sharp(fixture('tree.png')).jpeg().toBuffer();
  const expected = await sharp(jpeg).raw().toBuffer();
  await sender.publishAsync('hearth/in/front/frame', jpeg);
  await sender.publishAsync('hearth/in/back/frame', JSON.stringify({ image: jpeg.toString('base64'), ts }));
  await until(() => of('front').length === 1 && of('back').length === 1);
  for (const stream of ['front', 'back']) {
    const { media } = of(stream)[0] as (typeof received)[0];
    expect(media.type === 'image' && Buffer.from(media.image.data).equals(expected)).toBe(true);
  }
  expect(of('back')[0]?.item.capturedTs).toBeCloseTo(ts, 3);
});

test('spoken commands as 100 ms WAV chunks arrive as one segment each', async () => {
  const header = fixture('speech-002.wav').subarray(0, 44);
  const silence = new Float32Array(16_000);
  const names = ['speech-002.wav', 'speech-007.wav', 'speech-047.wav'];
  for (const name of names) {
    for (const samples of [decodeWav(fixture(name), 30_000).samples, silence]) {
      for (let at = 0; at < samples.length; at += 1600) {
        const body = Buffer.from(Int16Array.from(samples.subarray(at, at + 1600), (x) => Math.round(x * 32768)).buffer);
        const wav = Buffer.concat([header, body]);
        wav.writeUInt32LE(36 + body.length, 4);
        wav.writeUInt32LE(body.length, 40);
        await sender.publishAsync('hearth/in/kitchen/audio', wav);
      }
    }
  }
  await until(() => of('kitchen').length === names.length);
  await sender.publishAsync('hearth/in/kitchen/audio/end', '{}', { qos: 1 });
  for (const { item } of of('kitchen')) expect(item.kind === 'segment' && item.durationMs).toBeGreaterThan(1000);
  expect(streams.stats()['kitchen']).toMatchObject({ used: 3, skipped: {} });
});

test('raw PCM is read by the MQTT 5 user properties', async () => {
  const samples = decodeWav(fixture('speech-034.wav'), 30_000).samples;
  const upsampled = new Int16Array(2 * samples.length);
  for (const [i, x] of samples.entries()) upsampled.fill(Math.round(x * 32768), 2 * i, 2 * i + 2);
  const userProperties = { encoding: 's16le', sample_rate: '32000', seq: '1' };
  await sender.publishAsync('hearth/in/pcm/audio', Buffer.from(upsampled.buffer), { properties: { userProperties } });
  await sender.publishAsync('hearth/in/pcm/audio/end', '{}', { qos: 1 });
  await until(() => of('pcm').length === 1);
  const { item } = of('pcm')[0] as (typeof received)[0];
  expect(item.kind === 'segment' && item.durationMs).toBeGreaterThan(1000);
});

test('what is not used comes back as skipped events with reason, cause and count', async () => {
  await sender.publishAsync('hearth/in/front/frame', '{"image":"bm90IGEgcGljdHVyZQ=="}');
  await sender.publishAsync('hearth/in/garden/frame', Buffer.alloc(200_001));
  await sender.publishAsync('hearth/in/Bad Name/frame', 'x');
  for (let i = 0; i < 5; i++) await sender.publishAsync('hearth/in/mic/audio', 'not a wav');
  const count = (stream: string, reason: string): number =>
    events
      .filter((event) => event.stream === stream && event.reason === reason)
      .reduce((sum, event) => sum + (event.count ?? 0), 0);
  await until(
    () =>
      count('attic', 'retained') === 1 &&
      count('garden', 'too-large') === 1 &&
      count('_other', 'bad-input') === 1 &&
      count('mic', 'bad-input') === 5 &&
      count('front', 'bad-input') + count('front', 'rate-limited') === 1,
  );
  expect(events.find(({ stream }) => stream === 'mic')).toMatchObject({
    v: 1,
    kind: 'skipped',
    node: 'pi5',
    source: { topic: 'hearth/in/mic/audio' },
    error: { code: 'MEDIA_NOT_A_WAV' },
  });
});
