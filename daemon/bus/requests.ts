/** Request and response over topics: hostile bytes in, exactly one answer out, the same answer for the same id. */
import { catalogue, type ErrorCode, HearthError } from '../errors';
import { type Log, messageOf } from '../log';
import type { Answer, PacketInfo, PublishOptions, Request, RequestHandler } from './bus';
import { parseRequest, type RequestPayload, shorten } from './request-payload';
import { checkTopic, checkVerb, clusterLevel, matchesFilter, type ResponsePayload, type Topics } from './topics';

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

  answers(verb: string): boolean {
    return this.#handlers.has(verb);
  }

  /** Answers a request that came another way. Never rejects. */
  async perform(request: Request): Promise<Answer> {
    const begun = this.#begin(request);
    return begun instanceof HearthError ? refusal(begun) : await begun;
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
    let request: RequestPayload | undefined;
    let answer: Promise<Answer>;
    try {
      request = parseRequest(payload, this.#options.maxRequestBytes);
      answer = this.#answer(request, verb, topic, info);
    } catch (error) {
      answer = Promise.resolve(refusal(error));
    }
    void this.#respond(verb, request?.id ?? null, answer, info);
  }

  #answer(request: RequestPayload, verb: string, topic: string, info: PacketInfo): Promise<Answer> {
    const key = `${verb}\0${request.id}`;
    const known = request.own ? this.#answers.get(key) : undefined;
    if (known !== undefined) return Promise.resolve(known.answer);
    const pending = request.own ? this.#pending.get(key) : undefined;
    if (pending !== undefined) return pending;
    const { properties, receivedTs } = info;
    const { id, payload } = request;
    const begun = this.#begin({ id, verb, payload, topic, properties, receivedTs });
    if (begun instanceof HearthError) return Promise.resolve(refusal(begun));
    const answer = begun;
    if (request.own) {
      this.#pending.set(key, answer);
      void answer.then((settled) => {
        this.#pending.delete(key);
        this.#remember(key, settled);
      });
    }
    return answer;
  }

  #begin(request: Request): Promise<Answer> | HearthError {
    const handler = this.#handlers.get(request.verb);
    if (this.#stopped) return new HearthError('SHUTDOWN', 'the daemon is stopping');
    if (handler === undefined) {
      return new HearthError(
        'REQUEST_UNKNOWN_VERB',
        `expected one of ${[...this.#handlers.keys()].sort().join(' ')}, received ${request.verb}`,
      );
    }
    if (this.#running >= maxPending)
      return new HearthError('REQUEST_BUSY', `expected at most ${maxPending} requests at a time`);
    return this.#run(handler, request);
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
    const clusters = `${base}/${clusterLevel}/`;
    const forbidden =
      wanted.startsWith('$') ||
      wanted.startsWith(`${base}/in/`) ||
      matchesFilter(`${base}/+/request/#`, wanted) ||
      (wanted.startsWith(own) && !wanted.startsWith(`${own}response/`)) ||
      (wanted.startsWith(clusters) && !matchesFilter(`${clusters}+/response/#`, wanted)) ||
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
