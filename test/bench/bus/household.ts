/** Someone who shows frames, asks questions and writes down everything that comes back, with the time it took. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import type { StreamEvent } from '../../../daemon/events';

const picture = readFileSync(join(__dirname, '../../../../daemon/demo/media/000.png'));

interface Asked {
  readonly verb: string;
  readonly body: string;
  readonly sentMs: number;
  /** Every delivery of the answer. */
  readonly answers: string[];
  answeredMs: number | undefined;
}

interface Seen {
  readonly event: StreamEvent;
  readonly heardMs: number;
  deliveries: number;
}

/** What a `health` request says, as far as it is looked at here. */
export interface Health {
  readonly mqtt: Readonly<Record<string, number>>;
  readonly streams: Readonly<
    Record<string, { readonly received: number; readonly skipped: Readonly<Record<string, number>> }>
  >;
}

export class Household {
  readonly asked = new Map<string, Asked>();
  /** By topic and id: skipped events have ids, too. */
  readonly events = new Map<string, Seen>();
  readonly #shownMs = new Map<string, number>();
  readonly #waiting = new Set<() => void>();
  #onlineHeard = 0;
  #next = 0;

  private constructor(
    readonly client: MqttClient,
    readonly node: string,
  ) {}

  /** With a session that the broker is asked to keep. */
  static async move(url: string, protocol: 5 | 4, node = 'pi5'): Promise<Household> {
    const client = await connectAsync(url, {
      protocolVersion: protocol,
      clientId: `household-${process.pid}`,
      clean: false,
      reconnectPeriod: 100,
      ...(protocol === 5 && { properties: { sessionExpiryInterval: 3600 } }),
    });
    const household = new Household(client, node);
    client.on('message', (topic, payload) => household.#hear(topic, payload));
    // Connection errors end in another attempt.
    client.on('error', () => undefined);
    await client.subscribeAsync([`hearth/${node}/out/+/+`, `hearth/${node}/response/#`, `hearth/${node}/state`], {
      qos: 1,
    });
    return household;
  }

  /** How often the daemon said that it is online. */
  get onlineHeard(): number {
    return this.#onlineHeard;
  }

  /** A frame no other is equal to, of at least so many bytes. */
  show(stream: string, bytes = 0): void {
    const frame = this.frame(bytes);
    this.#shownMs.set(createHash('sha256').update(frame).digest('hex'), performance.now());
    this.client.publish(`hearth/in/${stream}/frame`, frame);
  }

  frame(bytes = 0): Buffer {
    // What stands behind a picture's end is no part of it.
    const tail = Buffer.from(String(this.#next++).padStart(12, '0'));
    return Buffer.concat([picture, Buffer.alloc(Math.max(0, bytes - picture.length - tail.length)), tail]);
  }

  ask(verb: string, payload: Readonly<Record<string, unknown>> = {}): string {
    const id = `q${this.#next++}`;
    const body = JSON.stringify({ id, ...payload });
    this.asked.set(id, { verb, body, sentMs: performance.now(), answers: [], answeredMs: undefined });
    this.#send(verb, body);
    return id;
  }

  /** Sends again, with the same ids, what has no answer. */
  repeat(): void {
    for (const { verb, body, answers } of this.asked.values()) if (answers.length === 0) this.#send(verb, body);
  }

  get unanswered(): number {
    return [...this.asked.values()].filter(({ answers }) => answers.length === 0).length;
  }

  async health(): Promise<Health> {
    const id = this.ask('health');
    await this.until(() => (this.asked.get(id)?.answers.length ?? 0) > 0, 'an answer about health');
    const [answer] = this.asked.get(id)?.answers ?? [];
    this.asked.delete(id);
    return (JSON.parse(answer ?? '{}') as { data: Health }).data;
  }

  /** Milliseconds from a request to its answer. */
  answerMs(verb: string): number[] {
    return [...this.asked.values()].flatMap(({ verb: of, sentMs, answeredMs }) =>
      of === verb && answeredMs !== undefined ? [answeredMs - sentMs] : [],
    );
  }

  /** Milliseconds from a frame's sending to its caption's arrival. */
  captionMs(stream: string): number[] {
    return this.eventsOf(stream, 'caption').flatMap(({ event, heardMs }) => {
      const shownMs = this.#shownMs.get(event.source?.sha256 ?? '');
      return shownMs === undefined ? [] : [heardMs - shownMs];
    });
  }

  eventsOf(stream: string, kind: StreamEvent['kind']): Seen[] {
    return [...this.events.values()].filter(({ event }) => event.stream === stream && event.kind === kind);
  }

  async until(holds: () => boolean, what: string, withinMs = 120_000): Promise<void> {
    const end = performance.now() + withinMs;
    while (!holds()) {
      if (performance.now() > end) throw new Error(`there was no ${what} within ${withinMs / 1000} s`);
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, 100);
        this.#waiting.add(wake);
      });
    }
  }

  async leave(): Promise<void> {
    await this.client.endAsync(true);
  }

  #send(verb: string, body: string): void {
    this.client.publish(`hearth/${this.node}/request/${verb}`, body, { qos: 1 });
  }

  #hear(topic: string, payload: Buffer): void {
    const text = payload.toString();
    if (topic.endsWith('/state')) {
      if (text.includes('online')) this.#onlineHeard++;
    } else if (topic.includes('/response/')) {
      const asked = this.asked.get((JSON.parse(text) as { id: string | null }).id ?? '');
      asked?.answers.push(text);
      if (asked !== undefined) asked.answeredMs ??= performance.now();
    } else {
      this.#see(topic, JSON.parse(text) as StreamEvent);
    }
    for (const wake of [...this.#waiting]) wake();
  }

  #see(topic: string, event: StreamEvent): void {
    // `events` says the same once more.
    if (topic.endsWith('/events') || topic.endsWith('/partial')) return;
    const seen = this.events.get(event.id);
    if (seen === undefined) this.events.set(event.id, { event, heardMs: performance.now(), deliveries: 1 });
    else seen.deliveries++;
  }
}
