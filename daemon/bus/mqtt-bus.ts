/**
 * The bus over MQTT: a control connection with the last will, and an ingest connection for media, so that a flood of
 * frames never delays a request or a keepalive. Publishing waits in an outbox of ours; incoming messages are handed on
 * at once and never held.
 */
import type { IPublishPacket } from 'mqtt';
import { BehaviorSubject, type Observable } from 'rxjs';
import { HearthError } from '../errors';
import type { StreamEvent } from '../events';
import { type Log, messageOf } from '../log';
import type { ModelUpdate } from '../models/model-update';
import {
  type Answer,
  type Bus,
  type BusCounters,
  type BusState,
  type LogLine,
  type MessageHandler,
  maxOnceInFlight,
  type OnceMessage,
  type PartialText,
  type PluginState,
  type Published,
  type PublishOptions,
  type Request,
  type RequestHandler,
  type SubscribeOptions,
  type Unsubscribe,
} from './bus';
import { type BrokerOptions, Connection, type Session } from './connection';
import type { Journal, Stored } from './journal';
import { Outbox, type Outgoing } from './outbox';
import { clientOptions, propertiesOf } from './packet-properties';
import { Requests } from './requests';
import { checkFilter, checkTopic, matchesFilter, multilevelReaches, Topics } from './topics';

export interface MqttBusOptions {
  readonly broker: BrokerOptions;
  readonly baseTopic: string;
  readonly node: string;
  readonly clientId: string;
  readonly eventExpirySeconds: number;
  /** How long an MQTT 5 broker keeps requests for this node while the connection is broken. */
  readonly sessionExpirySeconds: number;
  readonly maxRequestBytes: number;
  /** Largest frame or audio chunk that is handled; announced, with room for topic and properties. */
  readonly maxMediaBytes: number;
  readonly outbox: OutboxLimits;
  /** Where durable messages outlive the process; without one they wait in memory. */
  readonly journal?: Journal;
  readonly log: Log;
  /** Hears what is published, whether there is a connection or not. */
  readonly onPublish?: (published: Published) => void;
}

export interface OutboxLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
  /** How long a durable message waits for the broker. */
  readonly maxAgeMs: number;
}

interface Subscription {
  readonly filter: string;
  readonly handler: MessageHandler;
  readonly options: SubscribeOptions;
  readonly role: Role;
}

/** All subscriptions to one filter on one connection, which the broker sees as one. */
interface Group {
  readonly filter: string;
  readonly shareGroup: string | undefined;
  readonly id: number;
  /** The broker was asked to hand each message to one of the share group, and does. */
  shared: boolean;
  readonly members: Set<Subscription>;
}

type Role = 'control' | 'ingest';

/** Topic, properties and fixed header beside the payload. */
const headroomBytes = 64 << 10;
/** QoS 0 messages are refused while this much waits in the socket. */
const maxSocketBytes = 1 << 20;
const maxSummaryCharacters = 250;
const json = { contentType: 'application/json', utf8: true } as const;
const online = JSON.stringify({ state: 'online' });
const offline = JSON.stringify({ state: 'offline' });

export class MqttBus implements Bus {
  readonly topics: Topics;
  readonly #options: MqttBusOptions;
  readonly #state = new BehaviorSubject<BusState>({ phase: 'connecting', attempt: 0 });
  readonly state$: Observable<BusState> = this.#state.asObservable();
  readonly #connections: Readonly<Record<Role, Connection>>;
  readonly #groups: Readonly<Record<Role, Map<string, Group>>> = { control: new Map(), ingest: new Map() };
  /** Filters that nobody wants any more and the broker was not told of. */
  readonly #abandoned: Readonly<Record<Role, Set<string>>> = { control: new Set(), ingest: new Set() };
  readonly #outbox: Outbox;
  readonly #requests: Requests;
  /** What stays true: published again on every connection, since a broker may have forgotten it. */
  readonly #lasting = new Map<string, string>();
  readonly #ready: Record<Role, PromiseWithResolvers> = { control: withResolvers(), ingest: withResolvers() };
  /** QoS 0 publishes the socket has not taken yet; the client forgets them when it is lost. */
  readonly #onTheWire = new Set<() => void>();
  /** Senders of events that wait for the broker's answer; a lost connection lets them go on. */
  readonly #awaitingAnswers = new Set<() => void>();
  readonly #counts = { received: 0, published: 0, retainedDropped: 0, refused: 0, handlerErrors: 0, reconnects: 0 };
  #nextSubscriptionId = 1;
  #intakeStopped = false;
  #closing: Promise<void> | undefined;

  constructor(options: MqttBusOptions) {
    this.#options = options;
    this.topics = new Topics(options.baseTopic, options.node);
    this.#outbox = new Outbox({
      maxMessages: options.outbox.maxMessages,
      maxBytes: options.outbox.maxBytes,
      maxInFlight: 16,
      send: (message, acknowledged) => this.#send(message, acknowledged),
      ...(options.journal !== undefined && { store: options.journal }),
    });
    this.#requests = new Requests({
      topics: this.topics,
      maxRequestBytes: options.maxRequestBytes,
      expirySeconds: options.eventExpirySeconds,
      log: options.log,
      listensTo: (topic) => this.#listensTo(topic),
      publish: async (topic, payload, publishOptions) => await this.publish(topic, payload, publishOptions),
    });
    const { broker, clientId, log } = options;
    this.#connections = {
      control: new Connection(
        {
          broker,
          clientId,
          will: { topic: this.topics.state, payload: offline },
          maximumPacketSize: options.maxRequestBytes + headroomBytes,
          sessionExpirySeconds: options.sessionExpirySeconds,
          log,
        },
        this.#handlers('control'),
      ),
      ingest: new Connection(
        { broker, clientId: `${clientId}-in`, maximumPacketSize: options.maxMediaBytes + headroomBytes, log },
        this.#handlers('ingest'),
      ),
    };
    for (const filter of this.topics.requestFilters) {
      const handler: MessageHandler = (topic, payload, info) => this.#requests.receive(topic, payload, info);
      this.#join({ filter, handler, options: { qos: 1 }, role: 'control' });
    }
  }

  /** Connects, and goes on trying until `close`. What an earlier process left goes out first. */
  start(): void {
    this.#takeUp();
    this.#connections.control.start();
    this.#connections.ingest.start();
  }

  /** Whether the broker has us now, on both connections. */
  get connected(): boolean {
    const { control, ingest } = this.#connections;
    return control.session !== undefined && ingest.session !== undefined;
  }

  get counters(): BusCounters {
    const { received, published, retainedDropped, refused, handlerErrors, reconnects } = this.#counts;
    return {
      received,
      published,
      retainedDropped,
      publishesDropped: refused + this.#outbox.evicted + this.#outbox.expired,
      outboxEvicted: this.#outbox.evicted,
      outboxExpired: this.#outbox.expired,
      outboxMessages: this.#outbox.size,
      outboxBytes: this.#outbox.bytes,
      handlerErrors,
      requests: this.#requests.received,
      requestsRefused: this.#requests.refused,
      reconnects,
    };
  }

  async ready(): Promise<void> {
    await Promise.all([this.#ready.control.promise, this.#ready.ingest.promise]);
  }

  async publish(topic: string, payload: string | Uint8Array, options: PublishOptions = {}): Promise<void> {
    checkTopic(topic);
    const bytes =
      typeof payload === 'string'
        ? Buffer.from(payload)
        : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    if (this.#closing !== undefined) {
      this.#counts.refused++;
      throw new HearthError('BUS_OFFLINE', `${topic}: the bus is closed`);
    }
    if ((options.qos ?? 0) === 0) {
      await this.#publishNow(topic, bytes, options);
      return;
    }
    const { durable = false, disposable = false } = options;
    const rank = disposable ? 'disposable' : 'normal';
    await this.#outbox.push({ topic, payload: bytes, options, durable, rank, expiresAtMs: this.#expiryOf(options) });
  }

  async publishOnce(messages: readonly OnceMessage[]): Promise<void> {
    for (const { topic } of messages) checkTopic(topic);
    const session = this.#writable(messages[0]?.topic ?? '');
    const outgoing = messages.map(({ topic, payload, options }) => ({
      topic,
      payload: Buffer.from(payload),
      options: { ...options, qos: 1 as const },
      expiresAtMs: Number.POSITIVE_INFINITY,
    }));
    for (const message of outgoing) checkSize(session, message);
    await Promise.all(outgoing.map((message) => this.#writeNow(session, message)));
  }

  async publishEvent(event: StreamEvent): Promise<void> {
    this.#options.onPublish?.({ type: 'event', event });
    const summary = event.summary ?? event.text;
    const full: StreamEvent = summary === undefined ? event : { ...event, summary: shorten(summary) };
    const text = JSON.stringify(full);
    const { stream, kind } = event;
    // Why an input was not used is soon nobody's concern, and there may be many of them.
    const result = kind !== 'skipped';
    const common = { ...json, qos: 1, durable: result, disposable: !result } as const;
    const options = { ...common, expirySeconds: this.#options.eventExpirySeconds };
    const published = Promise.all([
      this.publish(this.topics.out(stream, kind), text, options),
      // State-like: it stays until the next one, so it does not expire.
      this.publish(this.topics.outLast(stream, kind), text, { ...common, retain: true }),
      this.publish(this.topics.outEvents(stream), JSON.stringify({ event_type: kind, ...full }), options),
    ]);
    await this.#orLost(published);
  }

  /** What waits in the outbox for a broker that is away is off the sender's hands: it has more to do meanwhile. */
  async #orLost(published: Promise<unknown>): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const lost = (): void => {
        this.#awaitingAnswers.delete(lost);
        resolve();
      };
      this.#awaitingAnswers.add(lost);
      published.then(lost, (error: HearthError) => {
        this.#awaitingAnswers.delete(lost);
        reject(error);
      });
      // A refusal that needs no broker comes before this.
      if (this.#connections.control.session === undefined) setImmediate(lost);
    });
  }

  publishPartial(stream: string, partial: PartialText): void {
    this.#options.onPublish?.({ type: 'partial', stream, partial });
    this.#publishLossy(this.topics.outPartial(stream), JSON.stringify(partial));
  }

  publishLog(line: LogLine): void {
    this.#publishLossy(this.topics.log, JSON.stringify(line));
  }

  publishPluginState(name: string, state: PluginState): void {
    this.#options.onPublish?.({ type: 'plugin', name, state });
    this.#publishLasting(this.topics.pluginState(name), JSON.stringify(state));
  }

  publishInfo(info: Readonly<Record<string, unknown>>): void {
    this.#publishLasting(this.topics.info, JSON.stringify(info));
  }

  publishHealth(health: Readonly<Record<string, unknown>>): void {
    this.#publishLasting(this.topics.health, JSON.stringify(health));
  }

  publishModelUpdate(update: ModelUpdate): void {
    this.#publishLasting(this.topics.modelUpdate, JSON.stringify(update));
  }

  async subscribe(filter: string, handler: MessageHandler, options: SubscribeOptions = {}): Promise<Unsubscribe> {
    checkFilter(filter);
    if (multilevelReaches(filter, this.topics.base)) {
      throw new HearthError(
        'BUS_TOPIC_INVALID',
        `topic filter ${JSON.stringify(filter)}: expected no # that reaches under ${this.topics.base}/`,
      );
    }
    const role = options.connection ?? 'control';
    const subscription: Subscription = { filter, handler, options, role };
    const group = this.#join(subscription);
    const session = this.#connections[role].session;
    if (session !== undefined && !this.#intakeStopped) {
      try {
        await this.#subscribeGroup(session, group);
      } catch (error) {
        // Lost on the way, it is made again with the next connection; only a refusal is final.
        if (this.#connections[role].session === session) {
          this.#leave(subscription);
          throw error;
        }
      }
    }
    return async () => {
      const emptied = this.#leave(subscription);
      const asked = wireFilter(group);
      // One that the broker does not share has the filter of those who subscribed for themselves.
      const others = Array.from(this.#groups[role].values(), wireFilter);
      if (!emptied || others.includes(asked)) return;
      const current = this.#connections[role].session;
      try {
        if (current === undefined) throw new Error('offline');
        await current.client.unsubscribeAsync(asked);
      } catch {
        // The broker may remember it for the next connection.
        this.#abandoned[role].add(asked);
      }
    };
  }

  onRequest(verb: string, handler: RequestHandler): () => void {
    return this.#requests.handle(verb, handler);
  }

  answers(verb: string): boolean {
    return this.#requests.answers(verb);
  }

  async perform(request: Request): Promise<Answer> {
    return await this.#requests.perform(request);
  }

  get sharing(): boolean {
    return Array.from(this.#groups.ingest.values()).some(({ shared }) => shared);
  }

  stopIntake(): void {
    if (this.#intakeStopped) return;
    this.#intakeStopped = true;
    this.#requests.stop();
    const { session } = this.#connections.ingest;
    const filters = Array.from(this.#groups.ingest.values(), wireFilter);
    if (session !== undefined && filters.length > 0) session.client.unsubscribe(filters, () => undefined);
  }

  async close(timeoutMs = 1500): Promise<void> {
    this.#closing ??= this.#close(timeoutMs);
    await this.#closing;
  }

  async #close(timeoutMs: number): Promise<void> {
    this.stopIntake();
    const deadline = Date.now() + timeoutMs;
    const left = (): number => Math.max(50, deadline - Date.now());
    if (this.#connections.control.session !== undefined) {
      await this.#outbox.drain(timeoutMs / 2);
      const goodbye = this.#outbox.push(stateMessage(this.topics.state, offline));
      await Promise.race([goodbye.catch(() => undefined), after(left())]);
    }
    this.#outbox.abandon(new HearthError('BUS_OFFLINE', 'the bus was closed before the broker had the message'));
    this.#options.journal?.close();
    await Promise.all([this.#connections.control.close(left()), this.#connections.ingest.close(left())]);
    const closed = new HearthError('BUS_OFFLINE', 'the bus was closed before it was connected');
    for (const { promise, reject } of Object.values(this.#ready)) {
      promise.catch(() => undefined);
      reject(closed);
    }
    this.#state.next({ phase: 'closed' });
    this.#state.complete();
  }

  #handlers(role: Role): ConstructorParameters<typeof Connection>[1] {
    return {
      onSession: (session) => {
        void this.#onSession(role, session);
      },
      onLost: () => {
        this.#counts.reconnects++;
        if (role !== 'control') return;
        this.#outbox.shut();
        for (const fail of [...this.#onTheWire]) fail();
        for (const lost of [...this.#awaitingAnswers]) lost();
      },
      onMessage: (packet, session) => this.#onMessage(role, packet, session),
      onState: (state) => {
        // Online is said in `#onSession`, once requests are subscribed to.
        if (role === 'control' && state.phase !== 'online' && this.#closing === undefined) this.#state.next(state);
      },
    };
  }

  async #onSession(role: Role, session: Session): Promise<void> {
    const unwanted = [...this.#abandoned[role]].filter((filter) => !this.#groups[role].has(filter));
    this.#abandoned[role].clear();
    if (unwanted.length > 0) session.client.unsubscribe(unwanted, () => undefined);
    const groups = this.#intakeStopped ? [] : [...this.#groups[role].values()];
    await Promise.all(
      groups.map(async (group) => {
        await this.#subscribeGroup(session, group).catch((error: unknown) => {
          if (this.#connections[role].session === session) {
            this.#options.log.error({ filter: group.filter, reason: messageOf(error) }, 'a subscription failed');
          }
        });
      }),
    );
    if (this.#connections[role].session !== session) return;
    if (role === 'control') {
      // Availability first: what follows is from a device that is there.
      for (const [topic, payload] of [[this.topics.state, online] as const, ...this.#lasting])
        void this.#sendLasting(topic, payload);
      this.#outbox.open(Math.max(1, session.receiveMaximum - maxOnceInFlight));
      this.#state.next({ phase: 'online', protocol: session.protocol });
    }
    this.#ready[role].resolve();
  }

  #join(subscription: Subscription): Group {
    const groups = this.#groups[subscription.role];
    const { filter } = subscription;
    const { shareGroup } = subscription.options;
    const key = keyOf(subscription);
    const existing = groups.get(key);
    const group = existing ?? { filter, shareGroup, id: this.#nextSubscriptionId++, shared: false, members: new Set() };
    group.members.add(subscription);
    groups.set(key, group);
    return group;
  }

  /** True when nobody is left who wants the filter. */
  #leave(subscription: Subscription): boolean {
    const groups = this.#groups[subscription.role];
    const key = keyOf(subscription);
    const group = groups.get(key);
    if (group?.members.delete(subscription) !== true || group.members.size > 0) return false;
    groups.delete(key);
    return true;
  }

  async #subscribeGroup(session: Session, group: Group): Promise<void> {
    group.shared = group.shareGroup !== undefined && session.sharedSubscriptions;
    try {
      await this.#subscribeFilter(session, group);
    } catch (error) {
      if (!group.shared) throw error;
      this.#options.log.warn({ filter: group.filter, reason: messageOf(error) }, 'the broker does not share it');
      group.shared = false;
      await this.#subscribeFilter(session, group);
    }
  }

  async #subscribeFilter({ client, subscriptionIdentifiers }: Session, group: Group): Promise<void> {
    const filter = wireFilter(group);
    const qos = [...group.members].some(({ options }) => options.qos === 1) ? 1 : 0;
    try {
      const granted = await client.subscribeAsync(filter, {
        qos,
        ...(subscriptionIdentifiers && hasIdentifier(group)
          ? { properties: { subscriptionIdentifier: group.id } }
          : {}),
      });
      const refused = granted.find((grant) => grant.qos >= 0x80);
      if (refused !== undefined) throw new Error(`reason 0x${refused.qos.toString(16)}`);
    } catch (error) {
      throw new HearthError('BUS_SUBSCRIBE_REFUSED', `${filter}: ${messageOf(error)}`, { cause: error });
    }
  }

  #onMessage(role: Role, packet: IPublishPacket, session: Session): void {
    this.#counts.received++;
    const { topic, retain } = packet;
    const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload;
    if (this.#intakeStopped && role === 'ingest') return;
    const given = packet.properties?.subscriptionIdentifier;
    // With overlapping filters a broker may send one copy for each; the identifiers tell which one this is.
    const ids = session.subscriptionIdentifiers && given !== undefined ? new Set([given].flat()) : undefined;
    const info = { retain, receivedTs: Date.now() / 1000, properties: propertiesOf(packet) };
    for (const group of this.#groups[role].values()) {
      const { filter, id, members, shared } = group;
      const matches = ids !== undefined && hasIdentifier(group) ? ids.has(id) : matchesFilter(filter, topic);
      if (!matches) continue;
      for (const { handler, options } of [...members]) {
        try {
          if (retain && options.acceptRetained !== true) {
            this.#counts.retainedDropped++;
            options.onRetained?.(topic, payload.length);
          } else {
            handler(topic, payload, shared ? { ...info, shared } : info);
          }
        } catch (error) {
          this.#counts.handlerErrors++;
          this.#options.log.error({ filter, reason: messageOf(error) }, 'a message handler failed');
        }
      }
    }
  }

  #publishLossy(topic: string, text: string): void {
    if (this.#connections.control.session === undefined) return;
    void this.#publishNow(topic, Buffer.from(text), json).catch(() => undefined);
  }

  #publishLasting(topic: string, text: string): void {
    this.#lasting.set(topic, text);
    // Without a connection the newest waits in the map.
    if (this.#connections.control.session !== undefined && this.#closing === undefined)
      void this.#sendLasting(topic, text);
  }

  async #sendLasting(topic: string, text: string): Promise<void> {
    try {
      await this.#outbox.push(stateMessage(topic, text));
    } catch (error) {
      this.#options.log.warn({ topic, reason: messageOf(error) }, 'a retained message did not get out');
    }
  }

  async #publishNow(topic: string, payload: Buffer, options: PublishOptions): Promise<void> {
    const session = this.#writable(topic);
    await this.#writeNow(session, { topic, payload, options, expiresAtMs: Number.POSITIVE_INFINITY });
  }

  /** The session, where it takes messages now. */
  #writable(topic: string): Session {
    const { session } = this.#connections.control;
    if (session === undefined || this.#closing !== undefined) {
      this.#counts.refused++;
      throw new HearthError('BUS_OFFLINE', `${topic}: there is no connection to the broker`);
    }
    if (session.client.stream.writableLength > maxSocketBytes) {
      this.#counts.refused++;
      throw new HearthError('BUS_OUTBOX_FULL', `${topic}: the broker takes messages more slowly than they come`);
    }
    return session;
  }

  /** Writes in this turn; settles when the broker, or for QoS 0 the socket, has it, or the connection is lost. */
  async #writeNow(session: Session, message: Stored): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: HearthError): void => {
        this.#onTheWire.delete(lost);
        if (error === undefined) resolve();
        else reject(error);
      };
      const lost = (): void =>
        settle(new HearthError('BUS_OFFLINE', `${message.topic}: the connection to the broker was lost`));
      this.#onTheWire.add(lost);
      this.#write(session, message, settle);
    });
  }

  #takeUp(): void {
    const { journal, log } = this.#options;
    const left = [...(journal?.waiting ?? [])];
    if (left.length > 0) log.info({ messages: left.length }, 'results that waited for the broker are taken up again');
    for (const [key, message] of left) {
      this.#outbox.push({ ...message, durable: true, rank: 'normal' }, key).catch((error: unknown) => {
        log.debug({ topic: message.topic, reason: messageOf(error) }, 'a result of before did not get out');
      });
    }
  }

  #expiryOf({ durable, expirySeconds }: PublishOptions): number {
    if (expirySeconds === undefined) return Number.POSITIVE_INFINITY;
    const ownMs = expirySeconds * 1000;
    return Date.now() + (durable === true ? Math.max(ownMs, this.#options.outbox.maxAgeMs) : ownMs);
  }

  #listensTo(topic: string): boolean {
    return Object.values(this.#groups).some((groups) =>
      [...groups.values()].some(({ filter }) => matchesFilter(filter, topic)),
    );
  }

  #send(message: Outgoing, acknowledged: (error?: HearthError) => void): void {
    const { session } = this.#connections.control;
    // The loss is on its way here; the outbox keeps the message.
    if (session === undefined) return;
    this.#write(session, message, acknowledged);
  }

  #write(session: Session, message: Stored, done: (error?: HearthError) => void): void {
    const { topic, payload, options, expiresAtMs } = message;
    try {
      checkSize(session, message);
    } catch (error) {
      done(error as HearthError);
      return;
    }
    session.client.publish(topic, payload, clientOptions(session.protocol, options, expiresAtMs), (error) => {
      if (error === undefined || error === null) {
        this.#counts.published++;
        done();
      } else if ('code' in error && typeof error.code === 'number') {
        done(new HearthError('BUS_PUBLISH_REFUSED', `${topic}: ${error.message}`, { cause: error }));
      } else if (this.#connections.control.session === session) {
        // No answer of the broker's: the connection is at its end, and what `onLost` does settles this message.
        this.#connections.control.drop(error.message);
      }
    });
  }
}

/** Throws `BUS_PAYLOAD_TOO_LARGE` for what the broker would hang up on. */
function checkSize({ maximumPacketSize: limit }: Session, { topic, payload, options }: Stored): void {
  const sizeBytes = payload.length + Buffer.byteLength(topic) + (options.correlationData?.length ?? 0) + 128;
  if (limit === undefined || sizeBytes <= limit) return;
  throw new HearthError(
    'BUS_PAYLOAD_TOO_LARGE',
    `${topic}: expected at most ${limit} bytes with its header, received ${payload.length} of payload`,
  );
}

function keyOf({ filter, options: { shareGroup } }: Subscription): string {
  return shareGroup === undefined ? filter : `$share/${shareGroup}/${filter}`;
}

/** What the broker is, or was, asked for. */
function wireFilter({ filter, shareGroup, shared }: Group): string {
  return shared ? `$share/${shareGroup}/${filter}` : filter;
}

/** One that should be shared and is not may have the filter of another, whose identifier the broker would forget. */
function hasIdentifier({ shareGroup, shared }: Group): boolean {
  return shareGroup === undefined || shared;
}

function stateMessage(topic: string, text: string): Outgoing {
  return {
    topic,
    payload: Buffer.from(text),
    options: { ...json, qos: 1, retain: true },
    expiresAtMs: Number.POSITIVE_INFINITY,
    rank: 'state',
    durable: false,
  };
}

function shorten(text: string): string {
  const characters = Array.from(text);
  return characters.length <= maxSummaryCharacters
    ? text
    : `${characters.slice(0, maxSummaryCharacters - 1).join('')}…`;
}

interface PromiseWithResolvers {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: HearthError) => void;
}

function withResolvers(): PromiseWithResolvers {
  let resolve!: () => void;
  let reject!: (error: HearthError) => void;
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}

async function after(delayMs: number): Promise<void> {
  await new Promise<void>((resolve) => {
    setTimeout(resolve, delayMs).unref();
  });
}
