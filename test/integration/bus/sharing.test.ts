/** Subscriptions that several nodes share where the broker has that, and messages that are said now or never. */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mqttPacket, { type Packet } from 'mqtt-packet';
import pino from 'pino';
import { maxOnceInFlight } from '../../../daemon/bus/bus';
import { Journal } from '../../../daemon/bus/journal';
import type { MqttBus } from '../../../daemon/bus/mqtt-bus';
import { createBus } from '../../helpers/bus';
import { freePort, type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer } from '../../helpers/mqtt-peer';

jest.setTimeout(60_000);

let broker: Mosquitto;
const cleanup: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  broker = await startMosquitto(['max_packet_size 20000']);
});

afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

afterAll(() => broker.stop());

async function start(node: string, protocol: 5 | 4, url = broker.url): Promise<MqttBus> {
  const bus = createBus(url, { node, clientId: `hearth-${node}`, protocol });
  cleanup.push(() => bus.close());
  bus.start();
  await bus.ready();
  return bus;
}

const group = { connection: 'ingest', shareGroup: 'hearth-home' } as const;

/** What each of two nodes is handed of six frames, as `<topic's stream><shared?>`. */
async function shareOut(protocol: 5 | 4): Promise<{ all: string[][]; sharing: boolean[]; plain: string[] }> {
  const all: string[][] = [];
  const sharing: boolean[] = [];
  const plain: string[] = [];
  for (const node of ['pi4', 'pi5']) {
    const bus = await start(node, protocol);
    const own: string[] = [];
    all.push(own);
    await bus.subscribe('hearth/in/+/frame', (topic, _payload, { shared }) => own.push(`${topic} ${shared}`), group);
    if (node === 'pi4') {
      await bus.subscribe('hearth/in/door/frame', (topic, _payload, { shared }) => plain.push(`${topic} ${shared}`), {
        connection: 'ingest',
      });
    }
    sharing.push(bus.sharing);
  }
  const sender = await connectPeer(broker.url, ['hearth/in/door/frame']);
  cleanup.push(() => sender.close());
  for (let i = 0; i < 6; i++) await sender.client.publishAsync('hearth/in/door/frame', `${i}`, { qos: 1 });
  const expected = protocol === 5 ? 6 : 12;
  for (let attempt = 0; attempt < 500 && (all.flat().length < expected || plain.length < 6); attempt++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  return { all, sharing, plain };
}

test('on MQTT 5 each message goes to one of the group, and to whoever subscribed for itself', async () => {
  const { all, sharing, plain } = await shareOut(5);
  expect(sharing).toEqual([true, true]);
  expect(all.flat()).toEqual(Array.from({ length: 6 }, () => 'hearth/in/door/frame true'));
  expect(all.map(({ length }) => length)).toEqual([3, 3]);
  expect(plain).toEqual(Array.from({ length: 6 }, () => 'hearth/in/door/frame undefined'));
});

test('on MQTT 3.1.1 every node is handed everything, and told so', async () => {
  const { all, sharing, plain } = await shareOut(4);
  expect(sharing).toEqual([false, false]);
  for (const own of all) expect(own).toEqual(Array.from({ length: 6 }, () => 'hearth/in/door/frame undefined'));
  expect(plain).toHaveLength(6);
});

interface StubBroker {
  readonly url: string;
  /** What it was asked to subscribe to and to forget, and what was published to it. */
  readonly filters: string[];
  readonly forgotten: string[];
  readonly published: string[];
  /** Ends all connections, as if the network had. */
  readonly cut: () => void;
}

/** A broker that says whether it shares subscriptions, and refuses them. */
async function stubBroker(announced: boolean, { acknowledges = true, receiveMaximum = 64 } = {}): Promise<StubBroker> {
  const filters: string[] = [];
  const forgotten: string[] = [];
  const published: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const parser = mqttPacket.parser({ protocolVersion: 5 });
    const answer = (packet: Packet): boolean => socket.write(mqttPacket.generate(packet, { protocolVersion: 5 }));
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => parser.parse(chunk));
    parser.on('packet', (packet) => {
      const messageId = packet.messageId ?? 0;
      if (packet.cmd === 'connect') {
        const properties = { sharedSubscriptionAvailable: announced, receiveMaximum };
        answer({ cmd: 'connack', reasonCode: 0, sessionPresent: false, properties });
      } else if (packet.cmd === 'subscribe') {
        const asked = packet.subscriptions.map(({ topic }) => topic);
        filters.push(...asked);
        answer({ cmd: 'suback', messageId, granted: asked.map((topic) => (topic.startsWith('$share/') ? 0x9e : 0)) });
      } else if (packet.cmd === 'publish') {
        published.push(`${packet.topic} ${packet.payload.toString()}`);
        if (packet.qos === 1 && acknowledges) answer({ cmd: 'puback', messageId, reasonCode: 0 });
      } else if (packet.cmd === 'unsubscribe') {
        forgotten.push(...packet.unsubscriptions);
        answer({ cmd: 'unsuback', messageId, granted: packet.unsubscriptions.map(() => 0) });
      }
    });
  });
  const port = await freePort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  cleanup.push(async () => await new Promise((resolve) => server.close(resolve)));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  return { url: `mqtt://127.0.0.1:${port}`, filters, forgotten, published, cut };
}

async function until(holds: () => boolean): Promise<void> {
  for (let attempt = 0; !holds() && attempt < 500; attempt++) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(holds()).toBe(true);
}

test.each([
  ['says that it does not share', false, ['hearth/in/+/frame']],
  ['refuses to', true, ['$share/hearth-home/hearth/in/+/frame', 'hearth/in/+/frame']],
])('a broker that %s is asked for everything', async (_what, announced, expected) => {
  const { url, filters } = await stubBroker(announced);
  const bus = await start('pi5', 5, url);
  await bus.subscribe('hearth/in/+/frame', () => undefined, group);
  expect(filters.filter((filter) => filter.endsWith('/frame'))).toEqual(expected);
  expect(bus.sharing).toBe(false);
});

test('where the broker does not share, who leaves the group takes nothing from those who subscribed for themselves', async () => {
  const { url, filters, forgotten } = await stubBroker(false);
  const bus = await start('pi5', 5, url);
  const leaveGroup = await bus.subscribe('hearth/in/+/frame', () => undefined, group);
  const leave = await bus.subscribe('hearth/in/+/frame', () => undefined, { connection: 'ingest' });
  await leaveGroup();
  expect(forgotten).toEqual([]);
  await leave();
  expect(forgotten).toEqual(['hearth/in/+/frame']);
  expect(filters.filter((filter) => filter.startsWith('$share/'))).toEqual([]);
});

test('what is said once has room beside what waits in the outbox', async () => {
  const { url, published } = await stubBroker(true, { acknowledges: false, receiveMaximum: 10 });
  const bus = await start('pi5', 5, url);
  const refused: unknown[] = [];
  for (let i = 0; i < 20; i++) bus.publish('news', `${i}`, { qos: 1 }).catch((error: unknown) => refused.push(error));
  for (let i = 0; i < maxOnceInFlight; i++)
    bus.publishOnce([{ topic: 'node', payload: `${i}` }]).catch((error: unknown) => refused.push(error));
  await until(() => published.filter((line) => line.startsWith('node ')).length === maxOnceInFlight);
  await bus.publish('after', 'all', { qos: 0 });
  await until(() => published.includes('after all'));
  expect(published.filter((line) => !line.startsWith('after '))).toHaveLength(10);
  expect(refused).toEqual([]);
});

test('what is said once is in no file, and is not sent again after a lost connection', async () => {
  const { url, published, cut } = await stubBroker(true, { acknowledges: false });
  const directory = mkdtempSync(join(tmpdir(), 'hearth-once-'));
  cleanup.push(async () => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'outbox.journal');
  const log = pino({ level: 'silent' });
  const journal = Journal.open({ path, destination: url, maxFileBytes: 1 << 20, log });
  const bus = createBus(url, { protocol: 5, journal });
  cleanup.push(() => bus.close());
  bus.start();
  await bus.ready();
  const kept = bus.publish('kept', 'a result', { qos: 1, durable: true }).catch(() => undefined);
  const once = bus.publishOnce([{ topic: 'node', payload: 'an answer' }]);
  const rejected = expect(once).rejects.toMatchObject({ code: 'BUS_OFFLINE' });
  await until(() => published.includes('node an answer') && published.includes('kept a result'));
  const file = readFileSync(path, 'latin1');
  expect([file.includes('a result'), file.includes('an answer')]).toEqual([true, false]);
  cut();
  await rejected;
  await until(() => published.filter((line) => line === 'kept a result').length === 2);
  await bus.publish('after', 'all', { qos: 0 });
  await until(() => published.includes('after all'));
  expect(published.filter((line) => line === 'node an answer')).toHaveLength(1);
  await bus.close();
  await kept;
});

test('messages that are said once arrive in order, or not at all', async () => {
  const listener = await connectPeer(broker.url, ['a', 'b']);
  cleanup.push(() => listener.close());
  const bus = await start('pi5', 5);
  await bus.publishOnce([
    { topic: 'a', payload: '1' },
    { topic: 'b', payload: '2' },
  ]);
  const tooLarge = [
    { topic: 'a', payload: 'small' },
    { topic: 'b', payload: 'x'.repeat(30_000) },
  ];
  await expect(bus.publishOnce(tooLarge)).rejects.toMatchObject({ code: 'BUS_PAYLOAD_TOO_LARGE' });
  await broker.stop();
  await new Promise<void>((resolve) => {
    bus.state$.subscribe(({ phase }) => {
      if (phase === 'offline') resolve();
    });
  });
  await expect(bus.publishOnce([{ topic: 'a', payload: 'late' }])).rejects.toMatchObject({ code: 'BUS_OFFLINE' });
  await broker.start();
  await listener.client.subscribeAsync(['a', 'b'], { qos: 1 });
  await bus.publish('b', 'again', { qos: 1 });
  await listener.waitFor(({ payload }) => payload.toString() === 'again');
  expect(listener.heard.map(({ payload }) => payload.toString())).toEqual(['1', '2', 'again']);
});
