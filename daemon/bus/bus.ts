import type { Observable } from 'rxjs';
import type { StreamEvent } from '../events';
import type { ModelUpdate } from '../models/model-update';

/**
 * The MQTT side of the daemon, as everything else sees it. The real one is `mqtt-bus.ts`; unit tests put a fake
 * behind the same interface. Topics are those of the README's table.
 */
export interface Bus {
  /** Replays the current state to a new subscriber; completes after `close`. */
  readonly state$: Observable<BusState>;
  readonly counters: BusCounters;
  /** Resolves at the first connection with both sessions up; rejects only when `close` comes first. */
  ready(): Promise<void>;

  /**
   * Publishes on any topic. Resolves when the broker has taken it (QoS 1) or the socket has (QoS 0). While there is no
   * connection, QoS 1 messages wait in a bounded outbox and QoS 0 messages are refused.
   * Rejects with `BUS_OFFLINE`, `BUS_OUTBOX_FULL`, `BUS_EXPIRED`, `BUS_PUBLISH_REFUSED`, `BUS_PAYLOAD_TOO_LARGE` or `BUS_TOPIC_INVALID`.
   */
  publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<void>;

  /**
   * Writes all messages to the connection there is, in one turn and with QoS 1, and never again: for what must not be
   * said late. Resolves when the broker has taken them. Rejects with `BUS_OFFLINE`, `BUS_OUTBOX_FULL` or
   * `BUS_PAYLOAD_TOO_LARGE` before any is written; with `BUS_OFFLINE`, too, when the connection is lost before the
   * broker has answered, and with `BUS_PUBLISH_REFUSED`. Callers keep to `maxOnceInFlight` messages at a time.
   */
  publishOnce(messages: readonly OnceMessage[]): Promise<void>;

  /**
   * `out/<stream>/<kind>`, its retained `/last` and `out/<stream>/events`. Resolves when the broker has taken all three,
   * or when there is no connection (any more): then they wait in the outbox, all but `skipped` ones in its file as well.
   * Rejects as `publish` does. Events of kind `skipped` and `error` go out the same way.
   */
  publishEvent(event: StreamEvent): Promise<void>;
  /** `out/<stream>/partial`, QoS 0; silently nothing without a connection, since a partial is worth nothing later. */
  publishPartial(stream: string, partial: PartialText): void;
  /** `plugin/<name>/state`, retained. The latest state is published again on every connection. */
  publishPluginState(name: string, state: PluginState): void;
  /** `info`, retained. The latest is published again on every connection. */
  publishInfo(info: Readonly<Record<string, unknown>>): void;
  /** `health`, retained; only the newest waits while there is no connection. */
  publishHealth(health: Readonly<Record<string, unknown>>): void;
  /** `model/update`, retained. The latest is published again on every connection. */
  publishModelUpdate(update: ModelUpdate): void;
  /** `log`, QoS 0; nothing without a connection. */
  publishLog(line: LogLine): void;

  /**
   * Hands every message that matches `filter` to `handler`. The handler is synchronous: it takes the payload and
   * returns, it never waits; what it throws is logged and counted. The subscription is made again on every connection.
   * Resolves once the broker has granted it, or at once while there is no connection (a later refusal is logged).
   * Rejects with `BUS_TOPIC_INVALID` (also for a `#` filter that reaches under the base topic) or `BUS_SUBSCRIBE_REFUSED`.
   */
  subscribe(filter: string, handler: MessageHandler, options?: SubscribeOptions): Promise<Unsubscribe>;

  /**
   * Answers `request/<verb>`. Verbs have one or two levels (`caption`, `model/load`). What the handler returns becomes
   * `data` of the response; what it throws becomes `error` (a `HearthError` as it is, anything else as `INTERNAL`).
   * A verb nobody answers gets `REQUEST_UNKNOWN_VERB`. Throws `BUS_TOPIC_INVALID` for a bad verb and `INTERNAL` when
   * the verb is taken. Returns what ends it.
   */
  onRequest(verb: string, handler: RequestHandler): () => void;

  /** Answers a request that came another way than on this node's own topic. Never rejects. */
  perform(request: Request): Promise<Answer>;
  /** Whether a verb has a handler. */
  answers(verb: string): boolean;
  /** Whether the broker shares a subscription of this node with others, as `shareGroup` asks. */
  readonly sharing: boolean;

  /** Takes no more messages and requests; answers and events still go out. */
  stopIntake(): void;
  /** Flushes what it can within `timeoutMs` (default 1500), publishes `offline`, ends both connections. Never rejects. */
  close(timeoutMs?: number): Promise<void>;
}

export type BusState =
  | { readonly phase: 'connecting'; readonly attempt: number }
  | { readonly phase: 'online'; readonly protocol: 5 | 4 }
  | { readonly phase: 'offline'; readonly reason: string; readonly retryInMs: number }
  | { readonly phase: 'closed' };

/** Since the start of the daemon, but for what waits. */
export interface BusCounters {
  readonly received: number;
  readonly published: number;
  /** Retained replays that were not handed on. */
  readonly retainedDropped: number;
  /** Messages a full outbox, an expiry or a missing connection cost. */
  readonly publishesDropped: number;
  /** Of those, QoS 1 messages that gave way to others, and those that waited longer than they are worth. */
  readonly outboxEvicted: number;
  readonly outboxExpired: number;
  /** What waits for the broker now. */
  readonly outboxMessages: number;
  readonly outboxBytes: number;
  readonly handlerErrors: number;
  readonly requests: number;
  readonly requestsRefused: number;
  readonly reconnects: number;
}

export interface PublishOptions {
  readonly qos?: 0 | 1;
  readonly retain?: boolean;
  /**
   * How long the broker keeps it for a subscriber (MQTT 5 only). The outbox drops a message that waited so long for the
   * broker itself, unless it is durable: those wait for `mqtt.outbox.maxSeconds`.
   */
  readonly expirySeconds?: number;
  readonly contentType?: string;
  /** MQTT 5 payload format indicator: the payload is UTF-8. */
  readonly utf8?: boolean;
  readonly correlationData?: Uint8Array;
  /** QoS 1: waits in a file as well, so that it is sent by the next process if this one ends before. */
  readonly durable?: boolean;
  /** QoS 1: gives way before others where too many wait. */
  readonly disposable?: boolean;
}

/**
 * A broker counts what is said once with what the outbox sends, and may hang up on more than its receive maximum (HiveMQ's
 * is 10): the outbox leaves room for so many.
 */
export const maxOnceInFlight = 6;

export interface OnceMessage {
  readonly topic: string;
  readonly payload: string;
  readonly options?: Omit<PublishOptions, 'qos'>;
}

export interface SubscribeOptions {
  /** Which connection carries it. Media belongs on `ingest`. Default `control`. */
  readonly connection?: 'control' | 'ingest';
  readonly qos?: 0 | 1;
  /** Hand on retained replays too. Default false: they are counted, and reported to `onRetained`. */
  readonly acceptRetained?: boolean;
  /**
   * Of those in the group that subscribe to the same filter, one is handed each message, where the broker has shared
   * subscriptions (MQTT 5) and allows them; else each is handed all. `PacketInfo.shared` says which.
   */
  readonly shareGroup?: string;
  /** A retained replay that was dropped. */
  readonly onRetained?: (topic: string, sizeBytes: number) => void;
}

export interface PacketInfo {
  /** A retained replay, not something that just happened. */
  readonly retain: boolean;
  /** Unix time in seconds when the packet arrived. */
  readonly receivedTs: number;
  readonly properties: PacketProperties;
  /** The broker chose this node from a group to have it. */
  readonly shared?: boolean;
}

/** MQTT 5 properties; all absent on 3.1.1. */
export interface PacketProperties {
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: Buffer;
  readonly userProperties?: Readonly<Record<string, string>>;
}

export type MessageHandler = (topic: string, payload: Buffer, info: PacketInfo) => void;
export type Unsubscribe = () => Promise<void>;

export interface Request {
  /** The requester's own id, or a ULID where there was none. */
  readonly id: string;
  readonly verb: string;
  /** The JSON object that came in, with `id`. An empty payload is `{}`. */
  readonly payload: Readonly<Record<string, unknown>>;
  readonly topic: string;
  readonly properties: PacketProperties;
  /** Unix time in seconds. */
  readonly receivedTs: number;
}

export type Answer =
  | { readonly ok: true; readonly data: unknown }
  | { readonly ok: false; readonly error: { readonly code: string; readonly message: string } };

export type RequestHandler = (request: Request) => unknown;

/** A piece of text while tokens stream; `text` is all of it so far, `seq` counts from 0. */
export interface PartialText {
  readonly id: string;
  readonly seq: number;
  readonly text: string;
}

export interface PluginState {
  readonly state: 'starting' | 'running' | 'restarting' | 'quarantined' | 'stopped';
  readonly restarts: number;
  readonly reason?: string;
}

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'fatal';
  readonly ns: string;
  readonly msg: string;
  /** Unix time in seconds. */
  readonly ts: number;
}

/** What the daemon says about its streams and plugins, for those inside who want to hear it, too. */
export type Published =
  | { readonly type: 'event'; readonly event: StreamEvent }
  | { readonly type: 'partial'; readonly stream: string; readonly partial: PartialText }
  | { readonly type: 'plugin'; readonly name: string; readonly state: PluginState };
