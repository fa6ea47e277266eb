/** Speech to text for Home Assistant and others that speak the Wyoming protocol: events over a plain TCP connection. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { HearthError } from '../errors';
import { type Log, messageOf } from '../log';
import { EventReader } from './events';
import { errorEvent, Session, type WyomingContext } from './session';

export interface WyomingServerOptions extends WyomingContext {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly log: Log;
  /** A client that says nothing for so long is hung up on. */
  readonly idleMs?: number;
}

/** Each may hold a recording. */
const maxConnections = 8;

export class WyomingServer {
  readonly #options: WyomingServerOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(options: WyomingServerOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.maxConnections = maxConnections;
  }

  /** Resolves to the port it listens at. Rejects with `HTTP_LISTEN_FAILED`. */
  async start(): Promise<number> {
    const { host, port } = this.#options;
    try {
      this.#server.listen({ host, port });
      await once(this.#server, 'listening');
    } catch (cause) {
      throw new HearthError('HTTP_LISTEN_FAILED', `wyoming: ${host}, port ${port}: ${messageOf(cause)}`, { cause });
    }
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  }

  /** Hangs up on everybody, which cancels their jobs. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #serve(socket: Socket): void {
    const { log, idleMs = 60_000 } = this.#options;
    const reader = new EventReader();
    const session = new Session(this.#options, (bytes) => {
      if (socket.writable) socket.write(bytes);
    });
    const fail = (error: unknown): void => {
      session.close();
      const code = error instanceof HearthError ? error.code : 'INTERNAL';
      log.warn({ code, reason: messageOf(error) }, 'a Wyoming client was hung up on');
      if (socket.writable) socket.end(errorEvent(error), () => socket.destroy());
      else socket.destroy();
    };
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.setTimeout(idleMs, () => {
      if (!session.busy) socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#sockets.delete(socket);
      session.close();
    });
    socket.on('data', (chunk) => {
      if (!socket.writable) return;
      try {
        for (const event of reader.push(chunk)) session.take(event).catch(fail);
      } catch (error) {
        fail(error);
      }
    });
  }
}
