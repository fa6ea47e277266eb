/** Subscriptions that several nodes share where the broker has that, and messages that are said now or never. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import mqttPacket, { type Packet } from 'mqtt-packet';
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

/** A broker that says whether it shares subscriptions, and refuses them; it hands on what `filters` it was asked for. */
async function stubBroker(announced: boolean): Promise<{ url: string; filters: string[]; server: Server }> {
  const filters: string[] = [];
  const server = createServer((socket) => {
    const parser = mqttPacket.parser({ protocolVersion: 5 });
    const answer = (packet: Packet): boolean => socket.write(mqttPacket.generate(packet, { protocolVersion: 5 }));
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => parser.parse(chunk));
    parser.on('packet', (packet) => {
      const messageId = packet.messageId ?? 0;
      if (packet.cmd === 'connect') {
        const properties = { sharedSubscriptionAvailable: announced };
        answer({ cmd: 'connack', reasonCode: 0, sessionPresent: false, properties });
      } else if (packet.cmd === 'subscribe') {
        const asked = packet.subscriptions.map(({ topic }) => topic);
        filters.push(...asked);
        answer({ cmd: 'suback', messageId, granted: asked.map((topic) => (topic.startsWith('$share/') ? 0x9e : 0)) });
      } else if (packet.cmd === 'publish' && packet.qos === 1) {
        answer({ cmd: 'puback', messageId, reasonCode: 0 });
      } else if (packet.cmd === 'unsubscribe') {
        answer({ cmd: 'unsuback', messageId, granted: packet.unsubscriptions.map(() => 0) });
      }
    });
  });
  const port = await freePort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  cleanup.push(async () => await new Promise((resolve) => server.close(resolve)));
  return { url: `mqtt://127.0.0.1:${port}`, filters, server };
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
