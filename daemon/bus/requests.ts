/** Request and response over topics: hostile bytes in, exactly one answer out, the same answer for the same id. */
import { isUtf8 } from 'node:buffer';
import { ulid } from 'ulid';
import { catalogue, type ErrorCode, HearthError } from '../errors';
import { isDeeperThan, maxJsonDepth } from '../json';
import { type Log, messageOf } from '../log';
import type { PacketInfo, PublishOptions, Request, RequestHandler } from './bus';
import { checkTopic, checkVerb, matchesFilter, type ResponsePayload, type Topics } from './topics';

export interface RequestsOptions {
  readonly topics: Topics;
  readonly maxRequestBytes: number;
  readonly expirySeconds: number;
  readonly log: Log;
  /** Whether the daemon has subscribed to what is published there. */
  readonly listensTo: (topic: string) => boolean;
  readonly publish: (topic: string, payload: string, options: PublishOptions) => Promise<void>;
}

/** Answers that are remembered by id, and how many bytes of them. */
const maxAnswers = 512;
const maxAnswerBytes = 4 << 20;
const maxPending = 64;
const maxIdLength = 128;

type Answer =
  | { readonly ok: true; readonly data: unknown }
  | { readonly ok: false; readonly error: { code: string; message: string } };

interface Parsed {
  readonly id: string;
  /** The id is the requester's own: a second request with it gets the first one's answer. */
  readonly own: boolean;
  readonly payload: Readonly<Record<string, unknown>>;
}

export class Requests {
  readonly #options: RequestsOptions;
  readonly #handlers = new Map<string, RequestHandler>();
  readonly #pending = new Map<string, Promise<Answer>>();
  #running = 0;
  /** Oldest first. */
  readonly #answers = new Map<string, { readonly answer: Answer; readonly sizeBytes: number }>();
  #answerBytes = 0;
  #stopped = false;
  #received = 0;
  #refused = 0;

  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  get received(): number {
    return this.#received;
  }

  get refused(): number {
    return this.#refused;
  }

  handle(verb: string, handler: RequestHandler): () => void {
    checkVerb(verb);
    if (this.#handlers.has(verb)) throw new HearthError('INTERNAL', `request verb ${verb} is answered already`);
    this.#handlers.set(verb, handler);
    return () => {
      if (this.#handlers.get(verb) === handler) this.#handlers.delete(verb);
    };
  }

  /** From now on every request is refused with `SHUTDOWN`. */
  stop(): void {
    this.#stopped = true;
  }

  /** Takes one message of a request topic. Never throws and never waits. */
  receive(topic: string, payload: Buffer, info: PacketInfo): void {
    this.#received++;
    const verb = this.#options.topics.verbOf(topic);
    if (verb === undefined) {
      // Its response topic could not be built either.
      this.#refused++;
      this.#options.log.warn({ topic: topic.slice(0, 160) }, 'request with a malformed verb');
      return;
    }
    let request: Parsed | undefined;
    let answer: Promise<Answer>;
    try {
      request = this.#parse(payload);
      answer = this.#answer(request, verb, topic, info);
    } catch (error) {
      answer = Promise.resolve(refusal(error));
    }
    void this.#respond(verb, request?.id ?? null, answer, info);
  }

  #parse(payload: Buffer): Parsed {
    const { maxRequestBytes } = this.#options;
    if (payload.length > maxRequestBytes) {
      throw new HearthError(
        'REQUEST_TOO_LARGE',
        `request: expected at most ${maxRequestBytes} bytes, received ${payload.length}`,
      );
    }
    let value: unknown = {};
    if (!isUtf8(payload)) throw badJson('bytes that are not UTF-8');
    if (payload.length > 0) {
      try {
        value = JSON.parse(payload.toString('utf8'));
      } catch (cause) {
        throw badJson(`text that does not parse (${shorten(messageOf(cause))})`);
      }
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw badJson(value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`);
    }
    if (isDeeperThan(value, maxJsonDepth)) throw badJson(`more than ${maxJsonDepth} levels of nesting`);
    const fields = value as Record<string, unknown>;
    const { id } = fields as { id?: unknown };
    if (id === undefined) return { id: ulid(), own: false, payload: fields };
    if (typeof id !== 'string' || id.length === 0 || id.length > maxIdLength) {
      throw badJson(`an id that is not text of 1 to ${maxIdLength} characters`);
    }
    return { id, own: true, payload: fields };
  }

  #answer(request: Parsed, verb: string, topic: string, info: PacketInfo): Promise<Answer> {
    const key = `${verb}\0${request.id}`;
    const known = request.own ? this.#answers.get(key) : undefined;
    if (known !== undefined) return Promise.resolve(known.answer);
    const pending = request.own ? this.#pending.get(key) : undefined;
    if (pending !== undefined) return pending;
    const handler = this.#handlers.get(verb);
    if (this.#stopped) return Promise.resolve(refusal(new HearthError('SHUTDOWN', 'the daemon is stopping')));
    if (handler === undefined) {
      return Promise.resolve(
        refusal(
          new HearthError(
            'REQUEST_UNKNOWN_VERB',
            `expected one of ${[...this.#handlers.keys()].sort().join(' ')}, received ${verb}`,
          ),
        ),
      );
    }
    if (this.#running >= maxPending) {
      return Promise.resolve(
        refusal(new HearthError('REQUEST_BUSY', `expected at most ${maxPending} requests at a time`)),
      );
    }
    const { id, payload } = request;
    const answer = this.#run(handler, {
      id,
      verb,
      payload,
      topic,
      properties: info.properties,
      receivedTs: info.receivedTs,
    });
    if (request.own) {
      this.#pending.set(key, answer);
      void answer.then((settled) => {
        this.#pending.delete(key);
        this.#remember(key, settled);
      });
    }
    return answer;
  }

  async #run(handler: RequestHandler, request: Request): Promise<Answer> {
    this.#running++;
    try {
      const data: unknown = await handler(request);
      // What cannot be written as JSON is found out here, where it can still be answered.
      return { ok: true, data: data === undefined ? null : (JSON.parse(JSON.stringify(data) ?? 'null') as unknown) };
    } catch (error) {
      if (!(error instanceof HearthError))
        this.#options.log.error({ verb: request.verb, reason: messageOf(error) }, 'a request handler failed');
      return refusal(error);
    } finally {
      this.#running--;
    }
  }

  /** Only what a repetition could not change is remembered. */
  #remember(key: string, answer: Answer): void {
    if (!answer.ok && isRetryable(answer.error.code)) return;
    const sizeBytes = Buffer.byteLength(JSON.stringify(answer));
    if (sizeBytes > maxAnswerBytes) return;
    this.#answers.set(key, { answer, sizeBytes });
    this.#answerBytes += sizeBytes;
    for (const [oldest, { sizeBytes: freed }] of this.#answers) {
      if (this.#answers.size <= maxAnswers && this.#answerBytes <= maxAnswerBytes) break;
      this.#answers.delete(oldest);
      this.#answerBytes -= freed;
    }
  }

  async #respond(verb: string, id: string | null, pending: Promise<Answer>, info: PacketInfo): Promise<void> {
    const { topics, publish, expirySeconds, log } = this.#options;
    let answer = await pending;
    let topic = topics.response(verb);
    try {
      topic = this.#responseTopic(info.properties.responseTopic) ?? topic;
    } catch (error) {
      answer = refusal(error);
    }
    if (!answer.ok) this.#refused++;
    const { correlationData } = info.properties;
    const payload: ResponsePayload = { id, ...answer };
    const options = {
      qos: 1,
      expirySeconds,
      contentType: 'application/json',
      utf8: true,
      durable: true,
      ...(correlationData === undefined ? {} : { correlationData }),
    } as const;
    try {
      await publish(topic, JSON.stringify(payload), options);
    } catch (error) {
      log.warn({ verb, reason: messageOf(error) }, 'a response did not get out');
      if (error instanceof HearthError && error.code === 'BUS_PAYLOAD_TOO_LARGE') {
        await publish(topic, JSON.stringify({ id, ...refusal(error) }), options).catch(() => undefined);
      }
    }
  }

  /**
   * The requester chooses where the answer goes, but not to make the daemon speak as itself, as a camera or to itself,
   * nor to ask another daemon in its name: then one request would become several, or one without end.
   */
  #responseTopic(wanted: string | undefined): string | undefined {
    if (wanted === undefined) return undefined;
    checkTopic(wanted);
    const { base, node } = this.#options.topics;
    const own = `${base}/${node}/`;
    const forbidden =
      wanted.startsWith('$') ||
      wanted.startsWith(`${base}/in/`) ||
      matchesFilter(`${base}/+/request/#`, wanted) ||
      (wanted.startsWith(own) && !wanted.startsWith(`${own}response/`)) ||
      this.#options.listensTo(wanted);
    if (forbidden) {
      throw new HearthError(
        'BUS_TOPIC_INVALID',
        `response topic: expected none that a daemon, its inputs or the broker own, received ${JSON.stringify(shorten(wanted))}`,
      );
    }
    return wanted;
  }
}

function refusal(error: unknown): Answer {
  if (error instanceof HearthError) return { ok: false, error: { code: error.code, message: error.message } };
  return { ok: false, error: { code: 'INTERNAL', message: messageOf(error) } };
}

function isRetryable(code: string): boolean {
  return Object.hasOwn(catalogue, code) ? catalogue[code as ErrorCode].retryable : true;
}

function badJson(received: string): HearthError {
  return new HearthError(
    'REQUEST_BAD_JSON',
    `request: expected a JSON object with an optional id, received ${received}`,
  );
}

function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}...` : text;
}
