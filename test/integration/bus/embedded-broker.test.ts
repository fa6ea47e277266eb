import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import pino from 'pino';
import { type EmbeddedBroker, startEmbeddedBroker } from '../../../daemon/bus/embedded-broker';
import { createBus } from '../../helpers/bus';
import { connectPeer } from '../../helpers/mqtt-peer';

const log = pino({ level: 'silent' });
let broker: EmbeddedBroker;

beforeEach(async () => {
  broker = await startEmbeddedBroker({ port: 0, maxPacketBytes: 1 << 20, log });
});

afterEach(() => broker.close());

test('the bus falls back to 3.1.1, publishes, answers and says offline', async () => {
  const peer = await connectPeer(broker.url, ['hearth/#'], { protocolVersion: 4 });
  const bus = createBus(broker.url);
  bus.start();
  await bus.ready();
  bus.onRequest('health', () => ({ load: 1 }));
  await peer.client.publishAsync('hearth/pi5/request/health', '{"id":"h"}', { qos: 1 });
  expect(await peer.json('hearth/pi5/response/health')).toEqual({ id: 'h', ok: true, data: { load: 1 } });
  expect(await peer.json('hearth/pi5/state')).toEqual({ state: 'online' });
  await bus.close();
  expect(await peer.json('hearth/pi5/state', ({ state }: { state: string }) => state === 'offline')).toEqual({
    state: 'offline',
  });
  await peer.close();
});

test('a message that fits several filters reaches each handler once', async () => {
  const peer = await connectPeer(broker.url, [], { protocolVersion: 4 });
  const bus = createBus(broker.url, { protocol: 4 });
  bus.start();
  await bus.ready();
  const seen: string[] = [];
  for (const filter of ['cam/+/frame', 'cam/a/+', 'cam/end']) await bus.subscribe(filter, () => seen.push(filter));
  await peer.client.publishAsync('cam/a/frame', 'x', { qos: 1 });
  await peer.client.publishAsync('cam/end', 'x', { qos: 1 });
  while (!seen.includes('cam/end')) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(seen.toSorted()).toEqual(['cam/+/frame', 'cam/a/+', 'cam/end']);
  await bus.close();
  await peer.close();
});

test('listens on loopback only', async () => {
  const { port } = new URL(broker.url);
  const others = Object.values(networkInterfaces()).flatMap((entries) =>
    (entries ?? []).filter(({ internal, family }) => !internal && family === 'IPv4'),
  );
  for (const { address } of others) {
    const socket = connect(Number(port), address);
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
  }
  const socket = connect(Number(port), '127.0.0.1');
  await once(socket, 'connect');
  socket.destroy();
});

test('a taken port is a clear error', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await expect(startEmbeddedBroker({ port, maxPacketBytes: 1024, log })).rejects.toMatchObject({
    code: 'BUS_CONNECT_REFUSED',
    message: expect.stringMatching(new RegExp(`port ${port} .*EADDRINUSE.*mqtt\\.url`)) as string,
  });
  server.close();
});

test('oversized packets and garbage cost their sender the connection, and nobody else', async () => {
  const peer = await connectPeer(broker.url, ['t'], { protocolVersion: 4 });
  const port = Number(new URL(broker.url).port);
  const connectPacket = Buffer.from('101000044d51545404020000000462616421', 'hex');
  const hostile = [
    Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]),
    Buffer.concat([connectPacket, Buffer.from([0x30, 0x81, 0x80, 0x40]), Buffer.alloc(64)]),
    Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff, 0xff]),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.alloc(1000, 0xff),
  ];
  for (const bytes of hostile) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.resume();
    socket.write(bytes);
    await once(socket, 'close');
  }
  await peer.client.publishAsync('t', Buffer.alloc(1 << 19, 1), { qos: 1 });
  const { payload } = await peer.waitFor(({ topic }) => topic === 't');
  expect(payload.equals(Buffer.alloc(1 << 19, 1))).toBe(true);
  await peer.close();
});
