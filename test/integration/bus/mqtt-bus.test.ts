import { once } from 'node:events';
import { connect as connectSocket, createServer, type Server, type Socket } from 'node:net';
import { firstValueFrom, filter as where } from 'rxjs';
import type { Request } from '../../../daemon/bus/bus';
import type { MqttBus } from '../../../daemon/bus/mqtt-bus';
import { HearthError } from '../../../daemon/errors';
import type { StreamEvent } from '../../../daemon/events';
import { brokerAt, createBus } from '../../helpers/bus';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';

let broker: Mosquitto;
const cleanup: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  broker = await startMosquitto();
});

afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
  // Retained messages of one test are nothing to the next.
  const peer = await connectPeer(broker.url, ['hearth/#', 'cam/#']);
  await peer.client.publishAsync('hearth/fence', 'x', { qos: 1 });
  await peer.waitFor(({ topic }) => topic === 'hearth/fence');
  for (const { topic, packet } of peer.heard)
    if (packet.retain) await peer.client.publishAsync(topic, '', { retain: true, qos: 1 });
  await peer.close();
});

afterAll(() => broker.stop());

async function start(options: Parameters<typeof createBus>[1] = {}, url = broker.url): Promise<MqttBus> {
  const bus = createBus(url, options);
  cleanup.push(() => bus.close());
  bus.start();
  await bus.ready();
  return bus;
}

async function peer(filters: readonly string[], options: Parameters<typeof connectPeer>[2] = {}): Promise<Peer> {
  const other = await connectPeer(broker.url, filters, options);
  cleanup.push(() => other.close());
  return other;
}

const event: StreamEvent = {
  v: 1,
  id: '01J00000000000000000000000',
  kind: 'caption',
  node: 'pi5',
  stream: 'front_door',
  ts: 1795500000.123,
  captured_ts: 1795499995.9,
  latency_ms: 4223,
  text: 'A cat — on a wall.',
};

describe.each([5, 4] as const)('MQTT version %i', (protocol) => {
  test('is online, retained, and offline after close', async () => {
    const other = await peer(['hearth/pi5/state']);
    const bus = await start({ protocol });
    expect(await other.json('hearth/pi5/state')).toEqual({ state: 'online' });
    const late = await peer(['hearth/pi5/state']);
    const [retained] = await Promise.all([late.waitFor(() => true)]);
    expect([retained.packet.retain, retained.packet.qos, retained.payload.toString()]).toEqual([
      true,
      1,
      '{"state":"online"}',
    ]);
    expect(await firstValueFrom(bus.state$)).toEqual({ phase: 'online', protocol });
    await bus.close();
    expect(await other.json('hearth/pi5/state', ({ state }: { state: string }) => state === 'offline')).toEqual({
      state: 'offline',
    });
  });

  test('publishes an event on its three topics', async () => {
    const other = await peer(['hearth/pi5/out/#']);
    const bus = await start({ protocol });
    await bus.publishEvent(event);
    const full = { ...event, summary: event.text };
    expect(await other.json('hearth/pi5/out/front_door/caption')).toEqual(full);
    expect(await other.json('hearth/pi5/out/front_door/caption/last')).toEqual(full);
    expect(await other.json('hearth/pi5/out/front_door/events')).toEqual({ event_type: 'caption', ...full });
    const late = await peer(['hearth/pi5/out/#']);
    await late.waitFor(() => true);
    expect(late.heard.map(({ topic }) => topic)).toEqual(['hearth/pi5/out/front_door/caption/last']);
    const packet = other.heard.find(({ topic }) => topic === 'hearth/pi5/out/front_door/caption')?.packet;
    if (protocol === 5) {
      expect(packet?.properties).toMatchObject({ contentType: 'application/json', payloadFormatIndicator: true });
      expect(packet?.properties?.messageExpiryInterval).toBeGreaterThan(55);
    } else {
      expect(packet?.properties ?? {}).not.toHaveProperty('contentType');
    }
    expect(packet?.qos).toBe(1);
  });

  test('answers requests on the response topic', async () => {
    const other = await peer(['hearth/pi5/response/#']);
    const bus = await start({ protocol });
    bus.onRequest('model/load', ({ id, payload }) => ({ id, path: payload['path'] }));
    await other.client.publishAsync('hearth/pi5/request/model/load', '{"id":"r1","path":"x.gguf"}', { qos: 1 });
    expect(await other.json('hearth/pi5/response/model/load')).toEqual({
      id: 'r1',
      ok: true,
      data: { id: 'r1', path: 'x.gguf' },
    });
  });

  test('drops retained replays, counts and reports them', async () => {
    const other = await peer([]);
    await other.client.publishAsync('hearth/in/door/frame', 'old', { retain: true, qos: 1 });
    await other.client.publishAsync('hearth/pi5/request/caption', '{"id":"stale"}', { retain: true, qos: 1 });
    const bus = await start({ protocol });
    const frames: string[] = [];
    const retained: [string, number][] = [];
    const requests: Request[] = [];
    bus.onRequest('caption', (request) => requests.push(request));
    await bus.subscribe('hearth/in/+/frame', (_topic, payload) => frames.push(payload.toString()), {
      connection: 'ingest',
      onRetained: (...args) => retained.push(args),
    });
    const answers = await peer(['hearth/pi5/response/#']);
    await other.client.publishAsync('hearth/in/door/frame', 'new', { retain: true, qos: 1 });
    await other.client.publishAsync('hearth/pi5/request/caption', '{"id":"fresh"}', { qos: 1 });
    await answers.json('hearth/pi5/response/caption');
    await until(() => frames.length > 0);
    expect(frames).toEqual(['new']);
    expect(retained).toEqual([['hearth/in/door/frame', 3]]);
    expect(requests.map(({ id }) => id)).toEqual(['fresh']);
    expect(bus.counters.retainedDropped).toBe(2);
  });

  test('a message that fits several filters reaches each handler once', async () => {
    const other = await peer([]);
    const bus = await start({ protocol });
    const seen: string[] = [];
    for (const filter of ['cam/+/frame', 'cam/a/+', 'cam/a/frame'])
      await bus.subscribe(filter, () => seen.push(filter), { connection: 'ingest' });
    await bus.subscribe('cam/a/frame', () => seen.push('again'), { connection: 'ingest' });
    await other.client.publishAsync('cam/a/frame', 'x', { qos: 1 });
    await other.client.publishAsync('cam/a/end', 'x', { qos: 1 });
    await until(() => seen.length >= 5);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(seen.toSorted()).toEqual(['again', 'cam/+/frame', 'cam/a/+', 'cam/a/+', 'cam/a/frame']);
  });

  test('a restart of the broker: back online, subscribed again, nothing of QoS 1 lost', async () => {
    const own = await startMosquitto();
    cleanup.push(() => own.stop());
    const bus = await start({ protocol }, own.url);
    const heard: string[] = [];
    await bus.subscribe('cam/+/frame', (_topic, payload) => heard.push(payload.toString()), { connection: 'ingest' });
    bus.publishInfo({ version: '1' });
    await own.stop();
    await firstValueFrom(bus.state$.pipe(where(({ phase }) => phase === 'offline')));
    const published = Promise.all([1, 2, 3].map((n) => bus.publish('news', String(n), { qos: 1, expirySeconds: 60 })));
    await expect(bus.publish('news', 'lossy')).rejects.toMatchObject({ code: 'BUS_OFFLINE' });
    await own.start();
    const other = await connectPeer(own.url, ['news', 'hearth/pi5/info', 'hearth/pi5/state']);
    cleanup.push(() => other.close());
    await published;
    expect(await other.json('hearth/pi5/info')).toEqual({ version: '1' });
    expect(await other.json('hearth/pi5/state')).toEqual({ state: 'online' });
    await until(() => bus.counters.reconnects >= 2);
    await until(async () => {
      await other.client.publishAsync('cam/a/frame', 'after', { qos: 1 });
      return heard.length > 0;
    });
    expect(heard[0]).toBe('after');
  });
});

test('MQTT 5: response topic and correlation data are honoured', async () => {
  const other = await peer(['replies/me', 'hearth/pi5/response/#']);
  const bus = await start({ protocol: 5 });
  bus.onRequest('health', () => ({ load: 0.5 }));
  const correlationData = Buffer.from([0, 255, 1, 2]);
  await other.client.publishAsync('hearth/pi5/request/health', '{"id":"a"}', {
    qos: 1,
    properties: { responseTopic: 'replies/me', correlationData },
  });
  const reply = await other.waitFor(({ topic }) => topic === 'replies/me');
  expect(JSON.parse(reply.payload.toString())).toEqual({ id: 'a', ok: true, data: { load: 0.5 } });
  expect(reply.packet.properties?.correlationData).toEqual(correlationData);
  expect(other.heard).toHaveLength(1);
});

test.each([
  'hearth/pi5/request/model/load',
  'hearth/pi5/request/health',
  'hearth/other/request/generate',
  'hearth/pi5/state',
  'hearth/pi5/out/door/caption',
  'hearth/in/door/frame',
  'hearth/in/door/audio/end',
  'frigate/door/person/snapshot',
  'cams/door/frame',
  'hearth/cluster/home/request/caption',
  'hearth/cluster/home/node/pi4',
  '$SYS/broker/uptime',
  '$share/group/replies',
])('a response topic that would make the daemon speak for itself is refused: %s', async (responseTopic) => {
  const other = await peer(['hearth/#']);
  const bus = await start({ protocol: 5 });
  let frames = 0;
  await bus.subscribe('frigate/+/+/snapshot', () => frames++, { connection: 'ingest' });
  await bus.subscribe('cams/+/frame', () => frames++, { connection: 'ingest', shareGroup: 'hearth-home' });
  bus.onRequest('health', () => 1);
  await other.client.publishAsync('hearth/pi5/request/health', '{"id":"a"}', {
    qos: 1,
    properties: { responseTopic },
  });
  const answer = await other.json('hearth/pi5/response/health');
  expect(answer).toMatchObject({ id: 'a', ok: false, error: { code: 'BUS_TOPIC_INVALID' } });
  await other.client.publishAsync('hearth/pi5/request/health', '{"id":"b"}', { qos: 1 });
  await other.json('hearth/pi5/response/health', ({ id }: { id: string }) => id === 'b');
  expect([bus.counters.requests, frames]).toEqual([2, 0]);
  expect(other.heard.filter(({ topic }) => !topic.includes('/request/')).map(({ topic }) => topic)).toEqual([
    'hearth/pi5/state',
    'hearth/pi5/response/health',
    'hearth/pi5/response/health',
  ]);
});

test('the same id gets the same answer and the handler runs once; a failure that may pass is tried again', async () => {
  const other = await peer(['hearth/pi5/response/#']);
  const bus = await start();
  let runs = 0;
  let release: (() => void) | undefined;
  bus.onRequest('generate', async () => {
    runs++;
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    return { run: runs };
  });
  let failures = 0;
  bus.onRequest('caption', () => {
    failures++;
    throw failures < 2 ? new HearthError('QUEUE_FULL', 'full') : new HearthError('MEDIA_NOT_AN_IMAGE', 'no image');
  });
  const ask = async (verb: string): Promise<void> => {
    const before = other.heard.length;
    await other.client.publishAsync(`hearth/pi5/request/${verb}`, '{"id":"same"}', { qos: 1 });
    if (verb === 'caption') await until(() => other.heard.length > before);
  };
  await ask('generate');
  await ask('generate');
  await until(() => bus.counters.requests === 2 && release !== undefined);
  release?.();
  await until(() => other.heard.length === 2);
  await ask('generate');
  await until(() => other.heard.length === 3);
  expect(other.heard.map(({ payload }) => JSON.parse(payload.toString()))).toEqual(
    Array(3).fill({ id: 'same', ok: true, data: { run: 1 } }),
  );
  for (let i = 0; i < 4; i++) await ask('caption');
  expect(
    other.heard
      .slice(3)
      .map(({ payload }) => (JSON.parse(payload.toString()) as { error: { code: string } }).error.code),
  ).toEqual(['QUEUE_FULL', 'MEDIA_NOT_AN_IMAGE', 'MEDIA_NOT_AN_IMAGE', 'MEDIA_NOT_AN_IMAGE']);
  expect(failures).toBe(2);
});

test('hostile requests get an error each, and the next good one its answer', async () => {
  const other = await peer(['hearth/pi5/response/#']);
  const bus = await start();
  bus.onRequest('caption', () => 'fine');
  const hostile: [Buffer | string, string][] = [
    ['{', 'REQUEST_BAD_JSON'],
    ['null', 'REQUEST_BAD_JSON'],
    ['[]', 'REQUEST_BAD_JSON'],
    ['7', 'REQUEST_BAD_JSON'],
    ['"text"', 'REQUEST_BAD_JSON'],
    [Buffer.from([0xff, 0xfe, 0x00]), 'REQUEST_BAD_JSON'],
    ['{"id":7}', 'REQUEST_BAD_JSON'],
    ['{"id":""}', 'REQUEST_BAD_JSON'],
    [`{"id":"${'x'.repeat(129)}"}`, 'REQUEST_BAD_JSON'],
    [`{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`, 'REQUEST_BAD_JSON'],
    [`{"a":"${'x'.repeat(70_000)}"}`, 'REQUEST_TOO_LARGE'],
  ];
  for (const [index, [payload, code]] of hostile.entries()) {
    await other.client.publishAsync('hearth/pi5/request/caption', payload, { qos: 1 });
    await until(() => other.heard.length > index);
    const answer = JSON.parse((other.heard[index]?.payload ?? '').toString()) as unknown;
    expect(answer).toMatchObject({ id: null, ok: false, error: { code } });
  }
  await other.client.publishAsync('hearth/pi5/request/caption', '', { qos: 1 });
  await other.client.publishAsync('hearth/pi5/request/nobody', '{"id":"n"}', { qos: 1 });
  await other.client.publishAsync('hearth/pi5/request/BAD', '{"id":"n"}', { qos: 1 });
  expect(await other.json('hearth/pi5/response/nobody')).toMatchObject({
    id: 'n',
    ok: false,
    error: { code: 'REQUEST_UNKNOWN_VERB' },
  });
  expect(await other.json('hearth/pi5/response/caption', ({ ok }: { ok: boolean }) => ok)).toMatchObject({
    ok: true,
    data: 'fine',
  });
});

test('a handler that throws harms neither the other handlers nor the connection', async () => {
  const other = await peer(['hearth/pi5/response/#']);
  const bus = await start();
  const seen: string[] = [];
  await bus.subscribe('cam/x', () => {
    throw new Error('broken handler');
  });
  await bus.subscribe('cam/x', (_topic, payload) => seen.push(payload.toString()));
  bus.onRequest('caption', () => {
    throw new Error('broken request handler');
  });
  bus.onRequest('health', () => ({ self: 1n }));
  await other.client.publishAsync('cam/x', 'one', { qos: 1 });
  await other.client.publishAsync('hearth/pi5/request/caption', '{"id":"a"}', { qos: 1 });
  await other.client.publishAsync('hearth/pi5/request/health', '{"id":"b"}', { qos: 1 });
  expect(await other.json('hearth/pi5/response/caption')).toEqual({
    id: 'a',
    ok: false,
    error: { code: 'INTERNAL', message: 'broken request handler' },
  });
  expect(await other.json('hearth/pi5/response/health')).toMatchObject({
    id: 'b',
    ok: false,
    error: { code: 'INTERNAL' },
  });
  expect(seen).toEqual(['one']);
  expect(bus.counters.handlerErrors).toBe(1);
});

test('a # that reaches under the base topic is refused', async () => {
  const bus = await start();
  for (const filter of ['#', 'hearth/#', 'hearth/in/#', '+/in/#', 'hearth/pi5/out/#']) {
    await expect(bus.subscribe(filter, () => undefined)).rejects.toMatchObject({ code: 'BUS_TOPIC_INVALID' });
  }
  await (await bus.subscribe('frigate/#', () => undefined))();
});

test('what the ACL refuses is an error of its own', async () => {
  const own = await startMosquitto(['acl_file DIR/acl'], { acl: 'topic readwrite hearth/#\ntopic deny secret/#\n' });
  cleanup.push(() => own.stop());
  const bus = await start({ protocol: 5 }, own.url);
  await expect(bus.publish('secret/x', 'x', { qos: 1 })).rejects.toMatchObject({ code: 'BUS_PUBLISH_REFUSED' });
  await bus.publish('hearth/x', 'x', { qos: 1 });
});

test('an MQTT 5 broker keeps larger packets to itself', async () => {
  const other = await peer([]);
  const bus = await start({ protocol: 5, maxMediaBytes: 1024 });
  const sizes: number[] = [];
  await bus.subscribe('cam/+', (_topic, payload) => sizes.push(payload.length), { connection: 'ingest' });
  await other.client.publishAsync('cam/a', Buffer.alloc(1 << 20), { qos: 1 });
  await other.client.publishAsync('cam/a', Buffer.alloc(1000), { qos: 1 });
  await until(() => sizes.length > 0);
  expect(sizes).toEqual([1000]);
});

test('a larger packet of a 3.1.1 broker costs a connection, not memory', async () => {
  const other = await peer([]);
  const bus = await start({ protocol: 4, maxMediaBytes: 1024 });
  const sizes: number[] = [];
  await bus.subscribe('cam/+', (_topic, payload) => sizes.push(payload.length), { connection: 'ingest' });
  await other.client.publishAsync('cam/a', Buffer.alloc(8 << 20), { qos: 1 });
  await until(() => bus.counters.reconnects === 1);
  await until(async () => {
    await other.client.publishAsync('cam/a', Buffer.alloc(1000), { qos: 1 });
    return sizes.length > 0;
  });
  expect(new Set(sizes)).toEqual(new Set([1000]));
});

test.each(['replies/+', 'replies/#', 'a\0b', ''])(
  'a response topic that is no topic never gets to the daemon, or is refused: %j',
  async (responseTopic) => {
    const front = await startFront(broker.port, () => undefined);
    const bus = await start({ protocol: 5 }, front.url);
    bus.onRequest('health', () => 1);
    const other = await peer(['hearth/pi5/response/#']);
    const sender = await peer([], { reconnectPeriod: 0 });
    sender.client.publish('hearth/pi5/request/health', '{"id":"a"}', { qos: 1, properties: { responseTopic } });
    await other.client.publishAsync('hearth/pi5/request/health', '{"id":"b"}', { qos: 1 });
    await other.json('hearth/pi5/response/health', ({ id }: { id: string }) => id === 'b');
    for (const { payload } of other.heard) {
      const { id, error } = JSON.parse(payload.toString()) as { id: string; error?: { code: string } };
      expect([id, error?.code]).toEqual(id === 'a' ? ['a', 'BUS_TOPIC_INVALID'] : ['b', undefined]);
    }
  },
);

describe('after a connection that broke', () => {
  test('what was asked meanwhile is answered, and what was left meanwhile is not heard', async () => {
    const front = await startFront(broker.port, () => undefined);
    const bus = await start({ protocol: 5 }, front.url);
    const other = await peer(['hearth/pi5/response/#']);
    let heard = 0;
    const leave = await bus.subscribe('cam/left', () => heard++);
    bus.onRequest('health', () => 'here');
    front.hold();
    front.reset();
    await firstValueFrom(bus.state$.pipe(where(({ phase }) => phase === 'offline')));
    await leave();
    await other.client.publishAsync('hearth/pi5/request/health', '{"id":"meanwhile"}', { qos: 1 });
    front.release();
    expect(await other.json('hearth/pi5/response/health')).toEqual({ id: 'meanwhile', ok: true, data: 'here' });
    await until(() => bus.counters.reconnects >= 2);
    await other.client.publishAsync('cam/left', 'x', { qos: 1 });
    await other.client.publishAsync('hearth/pi5/request/health', '{"id":"last"}', { qos: 1 });
    await other.json('hearth/pi5/response/health', ({ id }: { id: string }) => id === 'last');
    expect([heard, bus.counters.requests]).toEqual([0, 2]);
  });

  test.each([5, 4] as const)(
    'a request that is sent again runs once and gets the same bytes (MQTT %i)',
    async (protocol) => {
      const front = await startFront(broker.port, () => undefined);
      const bus = await start({ protocol }, front.url);
      const other = await peer(['hearth/pi5/response/#']);
      let runs = 0;
      let release: (() => void) | undefined;
      bus.onRequest('generate', async () => {
        runs++;
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return { run: runs, at: process.hrtime.bigint().toString() };
      });
      const ask = async (): Promise<unknown> =>
        await other.client.publishAsync('hearth/pi5/request/generate', '{"id":"once"}', { qos: 1 });
      await ask();
      await until(() => release !== undefined);
      front.hold();
      front.reset();
      await firstValueFrom(bus.state$.pipe(where(({ phase }) => phase === 'offline')));
      // Its answer waits for a connection.
      release?.();
      front.release();
      await until(() => other.heard.length === 1);
      await ask();
      await until(() => other.heard.length === 2);
      const [first, second] = other.heard;
      expect(second?.payload).toEqual(first?.payload);
      expect([runs, bus.counters.requests]).toEqual([1, 2]);
    },
  );
});

test.each(['auto', 5] as const)(
  'waits grow to their ceiling and no further, and differ (MQTT version %s)',
  async (protocol) => {
    const front = await startFront(broker.port, () => Buffer.alloc(0));
    const bus = createBus(front.url, { broker: { ...brokerAt(front.url), protocol, reconnectMaxMs: 700 } });
    cleanup.push(() => bus.close());
    const waits: number[] = [];
    bus.state$.subscribe((state) => {
      if (state.phase === 'offline') waits.push(state.retryInMs);
    });
    bus.start();
    await until(() => waits.length >= 9);
    for (const wait of waits) expect(wait).toBeLessThanOrEqual(700);
    const late = waits.slice(5);
    for (const wait of late) expect(wait).toBeGreaterThanOrEqual(350);
    expect(new Set(late).size).toBeGreaterThan(1);
  },
);

test('a broker that takes what is sent and answers nothing is noticed while more is sent', async () => {
  const own = await startMosquitto();
  cleanup.push(() => own.stop());
  const bus = await start({ broker: { ...brokerAt(own.url), keepaliveSeconds: 1 } }, own.url);
  const offline = firstValueFrom(bus.state$.pipe(where(({ phase }) => phase === 'offline')));
  own.freeze();
  cleanup.push(async () => own.thaw());
  const talk = setInterval(() => bus.publishLog({ level: 'info', ns: 'x', msg: 'x', ts: 0 }), 50);
  cleanup.push(async () => clearInterval(talk));
  expect(await offline).toMatchObject({ phase: 'offline' });
});

test('no more than the broker takes is unacknowledged at a time, and it all gets there', async () => {
  const own = await startMosquitto(['max_inflight_messages 2']);
  cleanup.push(() => own.stop());
  const bus = await start({ protocol: 5 }, own.url);
  const other = await connectPeer(own.url, ['news']);
  cleanup.push(() => other.close());
  await Promise.all(Array.from({ length: 200 }, (_, i) => bus.publish('news', String(i), { qos: 1 })));
  await until(() => other.heard.length === 200);
  expect(other.heard.map(({ payload }) => payload.toString())).toEqual(
    Array.from({ length: 200 }, (_, i) => String(i)),
  );
  expect(bus.counters.reconnects).toBe(0);
});

test('the last will says offline when the process is killed', async () => {
  const other = await peer(['hearth/pi5/state']);
  const front = await startFront(broker.port, () => undefined);
  await start({}, front.url);
  await other.json('hearth/pi5/state', ({ state }: { state: string }) => state === 'online');
  // A reset without a DISCONNECT, as the kernel sends it for a process that was killed.
  front.reset();
  await other.json('hearth/pi5/state', ({ state }: { state: string }) => state === 'offline');
});

describe('a broker without MQTT 5', () => {
  test.each([
    ['says so in MQTT 5', Buffer.from([0x20, 0x03, 0x00, 0x84, 0x00])],
    ['says so in MQTT 3.1.1', Buffer.from([0x20, 0x02, 0x00, 0x01])],
    ['hangs up', Buffer.alloc(0)],
  ])('that %s is spoken to in 3.1.1', async (_how, answer) => {
    const front = await startFront(broker.port, (connectPacket) =>
      protocolLevel(connectPacket) === 5 ? answer : undefined,
    );
    const other = await peer(['hearth/pi5/out/#']);
    const bus = await start({ protocol: 'auto' }, front.url);
    expect(await firstValueFrom(bus.state$.pipe(where(({ phase }) => phase === 'online')))).toEqual({
      phase: 'online',
      protocol: 4,
    });
    await bus.publishEvent(event);
    expect(await other.json('hearth/pi5/out/front_door/caption')).toMatchObject({ text: event.text });
    expect(front.levels.slice(0, 2)).toContain(5);
    expect(front.levels.at(-1)).toBe(4);
  });

  test('is not spoken to in 3.1.1 when only 5 is allowed', async () => {
    const front = await startFront(broker.port, (connectPacket) =>
      protocolLevel(connectPacket) === 5 ? Buffer.from([0x20, 0x03, 0x00, 0x84, 0x00]) : undefined,
    );
    const bus = createBus(front.url, { protocol: 5 });
    cleanup.push(() => bus.close());
    bus.start();
    const state = await firstValueFrom(bus.state$.pipe(where(({ phase }) => phase === 'offline')));
    expect(state).toMatchObject({ reason: 'Connection refused: Unsupported Protocol Version' });
    await until(() => front.levels.length > 3);
    expect(new Set(front.levels)).toEqual(new Set([5]));
  });
});

interface Front {
  readonly url: string;
  readonly levels: number[];
  reset(): void;
  /** Refuses every connection from now on, until `release`. */
  hold(): void;
  release(): void;
}

/** A TCP front for the broker that looks at each CONNECT and may answer it (and hang up) by itself. */
async function startFront(port: number, intercept: (connectPacket: Buffer) => Buffer | undefined): Promise<Front> {
  const sockets = new Set<Socket>();
  const levels: number[] = [];
  let held = false;
  const server: Server = createServer((socket) => {
    if (held) {
      socket.resetAndDestroy();
      return;
    }
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', (first: Buffer) => {
      levels.push(protocolLevel(first));
      const answer = intercept(first);
      if (answer !== undefined) {
        socket.end(answer);
        return;
      }
      const upstream = connectSocket(port, '127.0.0.1');
      sockets.add(upstream);
      upstream.on('error', () => undefined);
      upstream.write(first);
      socket.pipe(upstream).pipe(socket);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const reset = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  cleanup.push(async () => {
    reset();
    server.close();
    await once(server, 'close');
  });
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return {
    url: `mqtt://127.0.0.1:${address.port}`,
    levels,
    reset,
    hold: () => (held = true),
    release: () => (held = false),
  };
}

/** Byte 7 of the variable header of CONNECT, after one to four bytes of length and the name `MQTT`. */
function protocolLevel(packet: Buffer): number {
  return packet[packet.indexOf('MQTT') + 4] ?? -1;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`never came true: ${condition.toString()}`);
}
