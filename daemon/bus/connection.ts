/**
 * One MQTT connection that comes back: each attempt is a new client, so that the protocol version, the wait and what is
 * done again afterwards are decided here. MQTT.js's own reconnection and queues stay off.
 */
import { Socket } from 'node:net';
import { connect, type IClientOptions, type IConnackPacket, type IPublishPacket, type MqttClient } from 'mqtt';
import { type Log, messageOf } from '../log';
import type { BusState } from './bus';
import { limitPackets } from './packet-limit';

export interface Credentials {
  readonly username: string | null;
  readonly password: string | null;
  /** PEM texts. */
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

export interface BrokerOptions {
  readonly url: string;
  /** Asked before every attempt to connect; what it throws is the reason why there is no connection. */
  readonly credentials: () => Credentials;
  readonly rejectUnauthorized: boolean;
  readonly protocol: 'auto' | 5 | 4;
  readonly keepaliveSeconds: number;
  readonly reconnectMaxMs: number;
  readonly connectTimeoutMs?: number;
}

export interface ConnectionOptions {
  readonly broker: BrokerOptions;
  readonly clientId: string;
  readonly will?: { readonly topic: string; readonly payload: string };
  /**
   * How long an MQTT 5 broker keeps QoS 1 messages for this connection while it is broken; none where it is left out. A
   * new process begins anew all the same: what was meant for an earlier one is not answered late.
   */
  readonly sessionExpirySeconds?: number;
  /** Announced to an MQTT 5 broker, which then keeps larger packets to itself. Any other loses the connection by one. */
  readonly maximumPacketSize: number;
  readonly log: Log;
}

/** An established session, until it is lost. */
export interface Session {
  readonly client: MqttClient;
  readonly protocol: 5 | 4;
  /** What the broker announced; undefined where it sets no limit. */
  readonly maximumPacketSize: number | undefined;
  /** Unacknowledged QoS 1 messages it takes at a time: the most there are where it names none. */
  readonly receiveMaximum: number;
  readonly subscriptionIdentifiers: boolean;
  readonly sharedSubscriptions: boolean;
}

export interface ConnectionHandlers {
  onSession(session: Session): void;
  onLost(reason: string): void;
  onMessage(packet: IPublishPacket, session: Session): void;
  onState(state: BusState): void;
}

const firstDelayMs = 250;
/** A session that ended sooner did not prove that the broker is well: the wait goes on growing. */
const provenMs = 10_000;
/** A broker without MQTT 5 may hang up instead of saying so; this often, and 3.1.1 is tried. */
const hangUpsBeforeFallback = 2;
/** MQTT 5 reason 0x84 and MQTT 3.1.1 return code 1: the broker does not speak that version. */
const versionRefusals = new Set([0x84, 0x01]);
/** What a 3.1.1 return code means where the client spoke 5: the broker's answer is in its own version. */
const refusals: Readonly<Record<number, string>> = {
  1: 'unacceptable protocol version',
  2: 'client identifier rejected',
  3: 'server unavailable',
  4: 'bad user name or password',
  5: 'not authorized',
};

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #handlers: ConnectionHandlers;
  #client: MqttClient | undefined;
  #session: Session | undefined;
  #timer: NodeJS.Timeout | undefined;
  #protocol: 5 | 4;
  #attempt = 0;
  #onlineSinceMs = 0;
  /** The broker may have kept messages for us. */
  #resumes = false;
  #hangUps = 0;
  /** MQTT 3.1.1 was tried since the last session. */
  #fellBack = false;
  #closed = false;

  constructor(options: ConnectionOptions, handlers: ConnectionHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#protocol = options.broker.protocol === 4 ? 4 : 5;
  }

  get session(): Session | undefined {
    return this.#session;
  }

  start(): void {
    this.#connect();
  }

  /** Says goodbye, so that the broker does not send the will, and ends. Waits at most `timeoutMs`. */
  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const client = this.#client;
    if (client === undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      client.end(!client.connected, { properties: { sessionExpiryInterval: 0 } }, () => {
        clearTimeout(timer);
        resolve();
      });
    });
    client.stream.destroy();
  }

  /** Ends the connection as if it had broken; it is made again. */
  drop(reason: string): void {
    this.#client?.stream.destroy(new Error(reason));
  }

  #connect(): void {
    this.#attempt++;
    const protocol = this.#protocol;
    this.#handlers.onState({ phase: 'connecting', attempt: this.#attempt });
    let client: MqttClient;
    try {
      client = connect(this.#options.broker.url, this.#clientOptions(protocol));
    } catch (error) {
      this.#retry(messageOf(error));
      return;
    }
    this.#client = client;
    let reason = 'the connection was closed';
    let code: number | undefined;
    // An acknowledgement and the answer after it are two small packets: the second would wait 40 ms for the first's ACK.
    if (client.stream instanceof Socket) client.stream.setNoDelay(true);
    limitPackets(client.stream, this.#options.maximumPacketSize, (sizeBytes) => {
      reason = `a packet of ${sizeBytes} bytes came, at most ${this.#options.maximumPacketSize} are taken`;
      client.stream.destroy();
    });
    client.on('connect', (packet) => {
      const session = sessionOf(client, protocol, packet);
      this.#session = session;
      this.#resumes = protocol === 5 && this.#options.sessionExpirySeconds !== undefined;
      this.#onlineSinceMs = Date.now();
      this.#hangUps = 0;
      this.#fellBack = false;
      this.#options.log.info({ clientId: this.#options.clientId, protocol }, 'connected');
      this.#handlers.onState({ phase: 'online', protocol });
      this.#handlers.onSession(session);
    });
    client.on('message', (_topic, _payload, packet) => {
      const session = this.#session;
      // Nothing may throw into the client: it would end the process.
      if (session?.client === client) this.#handlers.onMessage(packet, session);
    });
    client.on('error', (error) => {
      code = 'code' in error && typeof error.code === 'number' ? error.code : code;
      reason =
        code !== undefined && refusals[code] !== undefined
          ? `refused: ${refusals[code]}`
          : error.message || String(error);
      // A client that failed before it had a stream to close would stay half open.
      client.stream?.destroy();
    });
    client.on('disconnect', (packet) => {
      reason = `the broker ended the session (reason ${packet.reasonCode ?? 0})`;
    });
    client.once('close', () => {
      if (this.#client !== client) return;
      const wasOnline = this.#session !== undefined;
      this.#session = undefined;
      // Before the client gives up what it holds: that is to be sent again, not to fail.
      if (wasOnline) this.#handlers.onLost(reason);
      client.end(true);
      if (this.#closed) return;
      if (wasOnline && Date.now() - this.#onlineSinceMs >= provenMs) this.#attempt = 0;
      this.#chooseProtocol(wasOnline, code, reason);
      this.#retry(reason);
    });
  }

  #chooseProtocol(wasOnline: boolean, code: number | undefined, reason: string): void {
    if (this.#options.broker.protocol !== 'auto') return;
    if (wasOnline) {
      // The broker may have been replaced by a newer one.
      this.#protocol = 5;
      return;
    }
    const hungUp = code === undefined && reason === 'the connection was closed';
    this.#hangUps = hungUp ? this.#hangUps + 1 : 0;
    if (
      this.#protocol === 5 &&
      ((code !== undefined && versionRefusals.has(code)) || this.#hangUps >= hangUpsBeforeFallback)
    ) {
      this.#protocol = 4;
      // At once, but the first time only: what hangs up on every version is asked ever more seldom.
      if (!this.#fellBack) this.#attempt = 0;
      this.#fellBack = true;
      this.#hangUps = 0;
      this.#options.log.warn({ reason }, 'the broker does not speak MQTT 5; trying 3.1.1');
    } else if (this.#protocol === 4 && hungUp && this.#hangUps >= hangUpsBeforeFallback) {
      this.#protocol = 5;
      this.#hangUps = 0;
    }
  }

  #retry(reason: string): void {
    const ceiling = Math.min(this.#options.broker.reconnectMaxMs, firstDelayMs * 2 ** Math.min(this.#attempt, 20));
    // Jitter, so that a fleet does not come back in step.
    const retryInMs = Math.round(ceiling / 2 + Math.random() * (ceiling / 2));
    this.#options.log.warn({ clientId: this.#options.clientId, reason, retryInMs }, 'no connection to the broker');
    this.#handlers.onState({ phase: 'offline', reason, retryInMs });
    this.#timer = setTimeout(() => this.#connect(), retryInMs);
  }

  #clientOptions(protocol: 5 | 4): IClientOptions {
    const { broker, clientId, will, maximumPacketSize, sessionExpirySeconds } = this.#options;
    const { username, password, ca, cert, key } = broker.credentials();
    return {
      clientId,
      protocolVersion: protocol,
      clean: protocol !== 5 || !this.#resumes,
      keepalive: broker.keepaliveSeconds,
      // A broker that takes what is sent and answers nothing must be found out, however much is sent to it.
      reschedulePings: false,
      reconnectPeriod: 0,
      connectTimeout: broker.connectTimeoutMs ?? 10_000,
      queueQoSZero: false,
      resubscribe: false,
      rejectUnauthorized: broker.rejectUnauthorized,
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(username === null ? {} : { username }),
      ...(password === null ? {} : { password }),
      ...(protocol === 5
        ? {
            properties: {
              maximumPacketSize,
              receiveMaximum: 64,
              ...(sessionExpirySeconds !== undefined && { sessionExpiryInterval: sessionExpirySeconds }),
            },
          }
        : {}),
      ...(will === undefined
        ? {}
        : {
            will: {
              topic: will.topic,
              payload: Buffer.from(will.payload),
              qos: 1,
              retain: true,
              ...(protocol === 5
                ? { properties: { payloadFormatIndicator: true, contentType: 'application/json' } }
                : {}),
            },
          }),
    };
  }
}

function sessionOf(client: MqttClient, protocol: 5 | 4, { properties }: IConnackPacket): Session {
  return {
    client,
    protocol,
    maximumPacketSize: properties?.maximumPacketSize,
    receiveMaximum: properties?.receiveMaximum ?? 65_535,
    subscriptionIdentifiers: protocol === 5 && properties?.subscriptionIdentifiersAvailable !== false,
    sharedSubscriptions: protocol === 5 && properties?.sharedSubscriptionAvailable !== false,
  };
}
