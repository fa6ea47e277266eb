/** The broker for a device that has none: MQTT 3.1.1 in this process, on loopback only. */
import { createServer, type Server, type Socket } from 'node:net';
import { HearthError } from '../errors';
import { type Log, messageOf } from '../log';
import { limitPackets } from './packet-limit';

export interface EmbeddedBrokerOptions {
  /** 0 takes a free one. */
  readonly port: number;
  /** A client that sends a larger packet is disconnected. */
  readonly maxPacketBytes: number;
  readonly log: Log;
}

export interface EmbeddedBroker {
  readonly url: string;
  close(): Promise<void>;
}

const host = '127.0.0.1';
const maxConnections = 64;

/** Throws `BUS_CONNECT_REFUSED` when the port is taken. */
export async function startEmbeddedBroker({
  port,
  maxPacketBytes,
  log,
}: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
  const { Aedes } = await import('aedes');
  const broker = await Aedes.createBroker({
    concurrency: 64,
    queueLimit: 256,
    connectTimeout: 10_000,
    // A subscriber that stops reading must not make the others' messages pile up.
    drainTimeout: 15_000,
  });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.setNoDelay(true);
    limitPackets(socket, maxPacketBytes, (sizeBytes) => {
      log.warn({ sizeBytes, maxPacketBytes }, 'a client was disconnected for an oversized packet');
      socket.destroy();
    });
    broker.handle(socket);
  });
  server.maxConnections = maxConnections;
  for (const event of ['clientError', 'connectionError'] as const) {
    broker.on(event, (_client, error) =>
      log.debug({ reason: error.message }, 'a client of the embedded broker failed'),
    );
  }
  try {
    await listen(server, port);
  } catch (cause) {
    broker.close();
    throw new HearthError(
      'BUS_CONNECT_REFUSED',
      `embedded broker: expected port ${port} on ${host} to be free (${messageOf(cause)}); set mqtt.url to use a broker that runs there`,
      { cause },
    );
  }
  const address = server.address();
  const actual = typeof address === 'object' && address !== null ? address.port : port;
  log.info({ host, port: actual }, 'embedded broker listens');
  return {
    url: `mqtt://${host}:${actual}`,
    close: async () => {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      await new Promise<void>((resolve) => broker.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function listen(server: Server, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
