/** hearthd between the systems of a home, which are played to it: a real broker, a real model, messages as they send them. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import sharp from 'sharp';
import { discoveryProblems, fields } from '../../helpers/discovery-fields';
import { type Hearthd, startHearthd } from '../../helpers/hearthd';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Heard, type Peer } from '../../helpers/mqtt-peer';

jest.setTimeout(120_000);

const media = (file: string): Buffer => readFileSync(join(process.cwd(), 'daemon/demo/media', file));
const home = (file: string): unknown =>
  JSON.parse(readFileSync(join(process.cwd(), 'test/fixtures/home', file), 'utf8')) as unknown;
const jpeg = async (file: string): Promise<Buffer> => await sharp(media(file)).jpeg({ quality: 95 }).toBuffer();

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`never became true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** What came from the daemon on a topic so far. */
const on = (peer: Peer, topic: string): Heard[] => peer.heard.filter((message) => message.topic === topic);

/** A recording as satellites send it: WAV files of 64 ms each, one after the other, then silence. */
function audioFrames(wav: Buffer, silenceMs: number): Buffer[] {
  const samples = Buffer.concat([wav.subarray(44), Buffer.alloc(silenceMs * 32)]);
  const frames: Buffer[] = [];
  for (let at = 0; at < samples.length; at += 2048) {
    const chunk = samples.subarray(at, at + 2048);
    const header = Buffer.from(wav.subarray(0, 44));
    header.writeUInt32LE(36 + chunk.length, 4);
    header.writeUInt32LE(chunk.length, 40);
    frames.push(Buffer.concat([header, chunk]));
  }
  return frames;
}

/** Frigate's HTTP API, as far as it is used: a snapshot that is there at the second request, and descriptions. */
class FrigateReplay {
  readonly requests: string[] = [];
  readonly descriptions = new Map<string, unknown>();
  readonly snapshots = new Map<string, Buffer>();
  #server: Server | undefined;

  async start(): Promise<string> {
    this.#server = createServer((request, response) => {
      void this.#answer(request).then(([status, type, body]) => {
        response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
        response.end(body);
      });
    }).listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  async #answer(request: IncomingMessage): Promise<[number, string, Buffer | string]> {
    const { method = '', url = '' } = request;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    this.requests.push(`${method} ${url}`);
    const [, id = '', what] = /^\/api\/events\/([^/]+)\/([a-z.]+)/.exec(url) ?? [];
    const refused = (status: number, message: string): [number, string, string] => [
      status,
      'application/json',
      JSON.stringify({ success: false, message }),
    ];
    const snapshot = this.snapshots.get(id);
    if (snapshot === undefined) return refused(404, `Event ${id} not found`);
    if (method === 'GET' && what === 'snapshot.jpg') {
      const asked = this.requests.filter((line) => line === `GET ${url}`).length;
      return asked === 1 ? refused(404, 'Live frame not available') : [200, 'image/jpeg', snapshot];
    }
    if (method === 'POST' && what === 'description') {
      this.descriptions.set(id, JSON.parse(Buffer.concat(chunks).toString()));
      return [200, 'application/json', JSON.stringify({ success: true, message: `Event ${id} description set` })];
    }
    return refused(405, 'no');
  }
}

describe('with every plugin', () => {
  let broker: Mosquitto;
  let peer: Peer;
  let daemon: Hearthd;
  const frigate = new FrigateReplay();

  const publish = async (topic: string, payload: unknown): Promise<void> => {
    const bytes = Buffer.isBuffer(payload) || typeof payload === 'string' ? payload : JSON.stringify(payload);
    await peer.client.publishAsync(topic, bytes, { qos: 1 });
  };
  const event = async (stream: string, kind: string, fits: (value: never) => boolean = () => true) =>
    await peer.json(`hearth/pi5/out/${stream}/${kind}`, fits);

  beforeAll(async () => {
    broker = await startMosquitto();
    peer = await connectPeer(broker.url, [
      'hearth/#',
      'homeassistant/#',
      'zigbee2mqtt/+/set',
      'hermes/asr/textCaptured',
      'hermes/error/#',
    ]);
    await peer.client.publishAsync('zigbee2mqtt/bridge/devices', JSON.stringify(home('zigbee2mqtt-devices.json')), {
      qos: 1,
      retain: true,
    });
    const url = await frigate.start();
    daemon = await startHearthd(broker.url, peer, {
      defaults: { camera: { minIntervalMs: 0, duplicateThreshold: 0 } },
      streams: {
        hall: { kind: 'camera' },
        kitchen: { kind: 'microphone', plugins: ['function-calls'] },
        bedroom: { kind: 'microphone', plugins: ['zigbee2mqtt'] },
      },
      plugins: {
        frigate: { config: { url, retryDelayMs: 50 } },
        hermes: { config: { closeMs: 300 } },
        zigbee2mqtt: { config: { deviceArgument: 'room', types: ['light', 'cover'] } },
        'home-assistant': { config: { images: true } },
        'function-calls': {
          config: {
            functions: [
              {
                name: 'light.turn_on',
                parameters: {
                  type: 'object',
                  properties: {
                    area_id: { enum: ['kitchen', 'bedroom', 'garage', 'office', 'hallway', 'garden'] },
                    on: { type: 'boolean' },
                  },
                  required: ['area_id', 'on'],
                  additionalProperties: false,
                },
              },
            ],
          },
        },
      },
    });
  });

  afterAll(async () => {
    await daemon?.stop();
    await Promise.all([frigate.stop(), peer?.close()]);
    await broker?.stop();
  });

  test('Home Assistant learns of the device in one payload whose names it knows, and again when it is born', async () => {
    const topic = 'homeassistant/device/pi5/config';
    const discovery = await peer.json(topic, ({ cmps }: { cmps: object }) => Object.keys(cmps).length > 10);
    expect(discoveryProblems(discovery)).toEqual([]);
    expect(Object.keys(discovery['cmps'] as object).sort()).toEqual(
      [
        'update',
        'model_update',
        ...['caption', 'answer', 'events', 'image', 'enabled', 'ask'].map((what) => `hall_${what}`),
        ...['transcript', 'answer', 'events', 'enabled', 'ask'].flatMap((what) => [
          `kitchen_${what}`,
          `bedroom_${what}`,
        ]),
      ].sort(),
    );
    expect(on(peer, topic).at(-1)?.packet).toMatchObject({
      qos: 1,
      properties: { contentType: 'application/json', payloadFormatIndicator: true },
    });
    const late = await connectPeer(broker.url, ['homeassistant/#', 'hearth/pi5/plugin/home-assistant/update']);
    expect((await late.waitFor((message) => message.topic === topic)).packet.retain).toBe(true);
    const update = await late.json('hearth/pi5/plugin/home-assistant/update');
    expect(Object.keys(update).filter((name) => !fields.updateState.includes(name))).toEqual([]);
    expect(update).toMatchObject({ installed_version: '0.1.0', latest_version: '0.1.0' });
    await late.close();

    const before = on(peer, topic).length;
    await publish('homeassistant/status', 'online');
    await peer.waitFor(() => on(peer, topic).length > before, 'discovery after the birth');
    expect(JSON.parse(on(peer, topic).at(-1)?.payload.toString() ?? '')).toEqual(discovery);
  });

  test('its switch turns a camera off and on, its question is answered', async () => {
    const { cmps } = (await peer.json('homeassistant/device/pi5/config', ({ cmps: all }: { cmps: object }) =>
      Object.hasOwn(all, 'hall_enabled'),
    )) as { cmps: Record<string, Record<string, string>> };
    const { hall_enabled: power = {}, hall_ask: ask = {}, hall_image: image = {} } = cmps;
    await publish(power['cmd_t'] ?? '', power['pl_off']);
    await peer.json(
      power['stat_t'] ?? '',
      ({ streams }: { streams: Record<string, { enabled: boolean }> }) => streams['hall']?.enabled === false,
    );
    await publish(image['img_t'] ?? '', media('000.png'));
    expect(await event('hall', 'skipped')).toMatchObject({ reason: 'disabled', count: 1 });
    await publish(power['cmd_t'] ?? '', power['pl_on']);
    await peer.json('hearth/pi5/response/stream/set', ({ data }: { data: { enabled: boolean } }) => data.enabled);
    await publish(image['img_t'] ?? '', media('000.png'));
    expect(await event('hall', 'caption')).toMatchObject({ text: 'A tree in the snow.' });

    // What Home Assistant makes of the template for the message of a notify action.
    const prompt = 'Describe the image.';
    const rendered = (ask['cmd_tpl'] ?? '').replace('{{ value | tojson }}', JSON.stringify(prompt));
    await publish(ask['cmd_t'] ?? '', rendered);
    expect(await event('hall', 'answer')).toMatchObject({ text: 'A tree in the snow.' });
    for (const [id, more] of [
      ['nobody', { stream: 'attic' }],
      ['nowhere', {}],
      ['both', { stream: 'hall', image: media('000.png').toString('base64') }],
    ] as const) {
      await publish('hearth/pi5/request/generate', { id, prompt, look: true, ...more });
      expect(
        await peer.json('hearth/pi5/response/generate', (response: { id: string }) => response.id === id),
      ).toMatchObject({ ok: false, error: { code: 'REQUEST_INVALID' } });
    }
  });

  test('a call of speech becomes a message for an action', async () => {
    await publish('hearth/in/kitchen/audio', media('038.wav'));
    await publish('hearth/in/kitchen/audio/end', '{}');
    const call = await event('kitchen', 'call');
    expect(call['call']).toMatchObject({ name: 'light.turn_on' });
    const { arguments: given } = call['call'] as { arguments: Record<string, unknown> };
    expect(await peer.json('hearth/pi5/service/light/turn_on')).toEqual({
      action: 'light.turn_on',
      target: { area_id: given['area_id'] },
      data: { on: given['on'] },
      stream: 'kitchen',
      id: call['id'],
    });
  });

  test('Zigbee2MQTT’s retained devices are set by speech and text', async () => {
    await publish('hearth/in/bedroom/audio', media('038.wav'));
    await publish('hearth/in/bedroom/audio/end', '{}');
    expect(await event('bedroom', 'call')).toMatchObject({
      plugin: 'zigbee2mqtt',
      call: { name: 'set_light', arguments: { room: 'bedroom', on: true } },
      summary: 'set_light(room="bedroom", on=true)',
    });
    expect(await peer.json('zigbee2mqtt/bedroom/set')).toEqual({ state: 'ON' });
    await publish('hearth/pi5/request/zigbee2mqtt', { id: 'z1', text: 'Turn off the light in the kitchen.' });
    expect(await peer.json('hearth/pi5/response/zigbee2mqtt', ({ id }: { id: string }) => id === 'z1')).toMatchObject({
      ok: true,
      data: { topic: 'zigbee2mqtt/kitchen/set' },
    });
    expect(await peer.json('zigbee2mqtt/kitchen/set')).toEqual({ state: 'OFF' });
  });

  test('Frigate: what it tracked is described in it, with the snapshot that is there a little later', async () => {
    const messages = home('frigate-events.json') as { after: { id: string } }[];
    const id = messages.at(-1)?.after.id ?? '';
    frigate.snapshots.set(id, await jpeg('014.png'));
    for (const message of messages) await publish('frigate/events', message);
    expect(await event('front_door', 'caption')).toMatchObject({
      text: 'A car on the street.',
      plugin: 'frigate',
      source: { topic: 'frigate/events', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string },
    });
    await until(() => frigate.descriptions.has(id));
    expect([...frigate.descriptions]).toEqual([[id, { description: 'A car on the street.' }]]);
    expect(frigate.requests).toEqual([
      `GET /api/events/${id}/snapshot.jpg?bbox=0&timestamp=0`,
      `GET /api/events/${id}/snapshot.jpg?bbox=0&timestamp=0`,
      `POST /api/events/${id}/description`,
    ]);
  });

  test('Frigate: an event without its snapshot, and one that is none, are said to have failed', async () => {
    const [, , end] = home('frigate-events.json') as { after: Record<string, unknown> }[];
    const gone = { ...end, after: { ...end?.after, id: '1795500400.5-nosnap', camera: 'Back Yard' } };
    await publish('frigate/events', gone);
    expect(await event('back_yard', 'error')).toMatchObject({
      plugin: 'frigate',
      error: { code: 'WEB_REQUEST_FAILED', message: expect.stringContaining('received 404') as string },
    });
    const hostile = [
      '',
      '[]',
      '{"type":"end"}',
      '{"type":"end","after":{"id":"../../config","camera":"a","label":"b"}}',
    ];
    for (const payload of hostile) await publish('frigate/events', payload);
    await until(() => daemon.output().match(/MESSAGE_INVALID: frigate\/events/g)?.length === hostile.length);
    expect(frigate.requests.filter((line) => line.includes('config'))).toEqual([]);
  });

  test('Frigate: what a camera tracks that is switched off is not even asked for', async () => {
    const [, , end] = home('frigate-events.json') as { after: Record<string, unknown> }[];
    const asked = frigate.requests.length;
    await publish('hearth/pi5/request/stream/set', { id: 'off', stream: 'porch', enabled: false });
    await peer.json('hearth/pi5/response/stream/set', ({ id }: { id: string }) => id === 'off');
    await publish('frigate/events', { ...end, after: { ...end?.after, id: '1795500400.6-porch', camera: 'porch' } });
    expect(await event('porch', 'skipped')).toMatchObject({ reason: 'disabled', source: { topic: 'frigate/events' } });
    expect(frigate.requests.length).toBe(asked);
    expect(daemon.output()).not.toContain('STREAM_OFF');
  });

  test('Hermes: audio frames in, the text out with its session', async () => {
    const site = { siteId: 'Living Room', sessionId: 'session-1' };
    await publish('hermes/asr/startListening', { ...site, stopOnSilence: true, sendAudioCaptured: false });
    // No silence at the end: stopListening ends what was said.
    for (const frame of audioFrames(media('038.wav'), 0))
      await publish('hermes/audioServer/Living Room/audioFrame', frame);
    await publish('hermes/asr/stopListening', site);
    const captured = await peer.json('hermes/asr/textCaptured');
    expect(captured).toEqual({
      text: 'Turn on the light in the bedroom.',
      likelihood: 1,
      seconds: expect.any(Number) as number,
      siteId: 'Living Room',
      sessionId: 'session-1',
      wakewordId: null,
      asrTokens: null,
      lang: null,
    });
    // Afterwards, silence ends it, without a session.
    for (const frame of audioFrames(media('007.wav'), 1500))
      await publish('hermes/audioServer/Living Room/audioFrame', frame);
    expect(
      await peer.json('hermes/asr/textCaptured', ({ sessionId }: { sessionId: unknown }) => sessionId === null),
    ).toMatchObject({ text: 'I am home.', siteId: 'Living Room' });
    await publish('hermes/asr/startListening', '{"siteId": 5}');
    expect(await peer.json('hermes/error/asr')).toMatchObject({
      error: expect.stringMatching(/^MESSAGE_INVALID: hermes\/asr\/startListening: expected siteId/) as string,
      siteId: 'default',
    });
  });
});

test('Frigate’s snapshot topics are looked at without any configuration', async () => {
  const broker = await startMosquitto();
  const peer = await connectPeer(broker.url, ['hearth/#']);
  const snapshot = await jpeg('000.png');
  // Frigate retains its snapshots: the last one is no news when the daemon starts.
  await peer.client.publishAsync('frigate/garage/car/snapshot', snapshot, { qos: 1, retain: true });
  const daemon = await startHearthd(broker.url, peer, {});
  expect(await peer.json('hearth/pi5/out/garage/skipped')).toMatchObject({ reason: 'retained' });
  await peer.client.publishAsync('frigate/Front Door/person/snapshot', snapshot, { qos: 0, retain: true });
  expect(await peer.json('hearth/pi5/out/front_door/caption')).toMatchObject({
    text: 'A tree in the snow.',
    source: { topic: 'frigate/Front Door/person/snapshot' },
  });
  expect(await peer.json('hearth/pi5/info', ({ inputs }: { inputs?: object }) => inputs !== undefined)).toMatchObject({
    inputs: { cameras: ['frigate/{stream}/+/snapshot'], microphones: [] },
  });
  await daemon.stop();
  await peer.close();
  await broker.stop();
});
