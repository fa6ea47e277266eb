/** The bus without a broker: records what goes out, and hands in what a test says came. */
import { ulid } from 'ulid';
import type { MessageHandler, PartialText, PluginState, PublishOptions, Request, RequestHandler } from '../bus/bus';
import { matchesFilter } from '../bus/topics';
import { HearthError } from '../errors';
import type { StreamEvent } from '../events';

export interface Published {
  readonly topic: string;
  readonly payload: string;
  readonly options: PublishOptions | undefined;
}

export class MemoryBus {
  /** In the order they went out; those of kind `skipped` and `error`, too. */
  readonly events: StreamEvent[] = [];
  readonly published: Published[] = [];
  readonly partials: { stream: string; partial: PartialText }[] = [];
  readonly states = new Map<string, PluginState[]>();
  readonly subscriptions: { filter: string; handler: MessageHandler }[] = [];
  readonly verbs = new Map<string, RequestHandler>();
  #waiting: (() => void)[] = [];

  publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<void> {
    // What the plugin asked for; content type and format follow from the payload.
    const { contentType: _type, utf8: _utf8, ...asked } = options ?? {};
    this.published.push({ topic, payload: Buffer.from(payload as Uint8Array).toString(), options: options && asked });
    return Promise.resolve();
  }

  publishEvent(event: StreamEvent): Promise<void> {
    this.events.push(event);
    for (const wake of this.#waiting.splice(0)) wake();
    return Promise.resolve();
  }

  publishPartial(stream: string, partial: PartialText): void {
    this.partials.push({ stream, partial });
  }

  publishPluginState(name: string, state: PluginState): void {
    this.states.set(name, [...(this.states.get(name) ?? []), state]);
  }

  subscribe(filter: string, handler: MessageHandler): Promise<() => Promise<void>> {
    const entry = { filter, handler };
    this.subscriptions.push(entry);
    return Promise.resolve(() => {
      this.subscriptions.splice(this.subscriptions.indexOf(entry), 1);
      return Promise.resolve();
    });
  }

  onRequest(verb: string, handler: RequestHandler): () => void {
    if (this.verbs.has(verb)) throw new HearthError('INTERNAL', `request verb ${verb} is answered already`);
    this.verbs.set(verb, handler);
    return () => this.verbs.delete(verb);
  }

  /** Filters somebody subscribed to that match a topic. */
  matching(topic: string): string[] {
    return this.subscriptions.map(({ filter }) => filter).filter((filter) => matchesFilter(filter, topic));
  }

  /** The first event of a kind that came, or is still to come. */
  async event(kind: StreamEvent['kind']): Promise<StreamEvent> {
    for (;;) {
      const found = this.events.find((event) => event.kind === kind);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** A message from outside, to everyone who subscribed to it. */
  receive(topic: string, payload: string): void {
    for (const { filter, handler } of this.subscriptions) {
      if (matchesFilter(filter, topic))
        handler(topic, Buffer.from(payload), { retain: false, receivedTs: Date.now() / 1000, properties: {} });
    }
  }

  /** A request from outside: resolves to `data` of the answer, or rejects with its error. */
  async request(verb: string, payload: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const handler = this.verbs.get(verb);
    if (handler === undefined) throw new HearthError('REQUEST_UNKNOWN_VERB', verb);
    const request: Request = {
      id: ulid(),
      verb,
      payload,
      topic: `hearth/pi5/request/${verb}`,
      properties: {},
      receivedTs: Date.now() / 1000,
    };
    return await handler(request);
  }

  state(name: string): string | undefined {
    return this.states.get(name)?.at(-1)?.state;
  }

  reason(name: string): string | undefined {
    return this.states.get(name)?.at(-1)?.reason;
  }
}
