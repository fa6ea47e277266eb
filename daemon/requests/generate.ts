/** The request verbs `generate` and `cancel`: a question from anyone on the bus, with or without a picture or a sound. */
import Ajv from 'ajv';
import type { Bus, Request } from '../bus/bus';
import { checkStreamName } from '../bus/topics';
import { HearthError } from '../errors';
import { ranAs, type StreamEvent } from '../events';
import type {
  GenerateRequest,
  GenerateResult,
  JsonSchema,
  Part,
  RgbImage,
  SliceRequest,
  Speculation,
} from '../inference/types';
import type { BargeIn } from '../streams/barge-in';
import type { Skips } from '../streams/skips';
import { summarise } from '../summary';
import type { RequestJobs } from './jobs';
import { takeMedia } from './media';

/** The JSON a `generate` request holds, beside `id`. */
interface GeneratePayload {
  readonly prompt: string;
  readonly system?: string;
  /** Base64 of a JPEG, PNG or WebP, or a data URL. */
  readonly image?: string;
  /** Base64 of a WAV. */
  readonly audio?: string;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
  readonly slice?: SliceRequest;
  readonly tailSlice?: SliceRequest;
  readonly imageSize?: 256 | 512 | 768;
  readonly schema?: JsonSchema;
  readonly speculation?: Speculation;
  readonly priority?: number;
  readonly deadlineMs?: number;
  /** Publishes the reply as an `answer` event of this stream, too. */
  readonly stream?: string;
  /** The question is about the latest picture of the stream. */
  readonly look?: boolean;
}

const sliceSchema = {
  anyOf: [
    { type: 'string', minLength: 1, maxLength: 64 },
    {
      type: 'object',
      required: ['ffnWidths', 'skippedLayers'],
      additionalProperties: false,
      properties: {
        ffnWidths: { type: 'array', maxItems: 256, items: { type: 'integer', minimum: 1 } },
        skippedLayers: { type: 'array', maxItems: 256, items: { type: 'integer', minimum: 0 } },
      },
    },
  ],
};

const payloadSchema = {
  type: 'object',
  required: ['prompt'],
  additionalProperties: false,
  properties: {
    id: {},
    prompt: { type: 'string', minLength: 1, maxLength: 65_536 },
    system: { type: 'string', maxLength: 65_536 },
    image: { type: 'string', minLength: 1 },
    audio: { type: 'string', minLength: 1 },
    maxTokens: { type: 'integer', minimum: 1, maximum: 32_768 },
    temperature: { type: 'number', minimum: 0, maximum: 100 },
    topK: { type: 'integer', minimum: 0, maximum: 262_144 },
    topP: { type: 'number', minimum: 0, maximum: 1 },
    minP: { type: 'number', minimum: 0, maximum: 1 },
    seed: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    stop: { type: 'array', maxItems: 16, items: { type: 'string', minLength: 1, maxLength: 256 } },
    slice: sliceSchema,
    tailSlice: sliceSchema,
    imageSize: { enum: [256, 512, 768] },
    schema: { type: ['object', 'boolean'] },
    speculation: { enum: ['auto', 'on', 'off'] },
    priority: { type: 'integer', minimum: 0, maximum: 100 },
    deadlineMs: { type: 'integer', minimum: 1 },
    stream: { type: 'string' },
    look: { type: 'boolean' },
  },
};

const isPayload = new Ajv({ allErrors: true, allowUnionTypes: true }).compile<GeneratePayload>(payloadSchema);

function parsePayload(payload: Readonly<Record<string, unknown>>): GeneratePayload {
  if (isPayload(payload)) return payload;
  const problems = (isPayload.errors ?? [])
    .slice(0, 5)
    .map((error) => `${error.instancePath || 'payload'} ${error.message ?? 'does not fit'}`);
  throw new HearthError('REQUEST_INVALID', `generate: ${problems.join('; ')}`);
}

async function mediaParts({ image, audio }: GeneratePayload, maxAudioSeconds: number): Promise<Part[]> {
  const media = await takeMedia({ image, audio }, maxAudioSeconds);
  return [media.image, media.audio].filter((part) => part !== undefined);
}

/** `exactOptionalPropertyTypes`: a member that is absent stays absent. */
function present<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as never;
}

export interface GenerateRequestsOptions {
  readonly bus: Bus;
  readonly jobs: RequestJobs;
  readonly node: string;
  readonly modelName: () => string | undefined;
  readonly maxAudioSeconds: number;
  /** The picture a camera was last looked at by. */
  readonly latestFrame?: (stream: string) => RgbImage | undefined;
  readonly bargeIn?: Pick<BargeIn, 'check'>;
  /** Told of answers that someone's speech interrupted. */
  readonly skips?: Pick<Skips, 'skip'>;
  /** For `cancel`: true when a request of that id was under way elsewhere. */
  readonly cancelElsewhere?: (id: string) => boolean;
}

export class GenerateRequests {
  private readonly running = new Map<string, AbortController>();

  constructor(private readonly options: GenerateRequestsOptions) {}

  /** Returns what ends it; requests in hand run on. */
  start(): () => void {
    const { bus } = this.options;
    const ends = [
      bus.onRequest('generate', (request) => this.generate(request)),
      bus.onRequest('cancel', (request) => this.cancel(request)),
    ];
    return () => {
      for (const end of ends) end();
    };
  }

  private async generate(request: Request): Promise<Record<string, unknown>> {
    const payload = parsePayload(request.payload);
    if (payload.stream !== undefined) checkStreamName(payload.stream);
    if (this.running.has(request.id))
      throw new HearthError('REQUEST_INVALID', `generate: request ${request.id} is still running`);
    const abort = new AbortController();
    this.running.set(request.id, abort);
    try {
      const parts: Part[] = [
        ...this.latest(payload),
        ...(await mediaParts(payload, this.options.maxAudioSeconds)),
        { type: 'text', text: payload.prompt },
      ];
      if (payload.stream !== undefined) this.options.bargeIn?.check('answer', payload.stream, request.receivedTs);
      const { result, firstTokenTs } = await this.run(payload, parts, abort.signal);
      await this.publishAnswer(request, payload, result, firstTokenTs);
      return {
        text: result.text,
        finish_reason: result.finishReason,
        tokens: result.tokens,
        timings_ms: result.timings,
        ...ranAs(result),
      };
    } catch (error) {
      this.tellInterrupted(request, payload, error);
      throw error;
    } finally {
      this.running.delete(request.id);
    }
  }

  private tellInterrupted({ topic, receivedTs }: Request, { stream }: GeneratePayload, error: unknown): void {
    if (stream === undefined || !(error instanceof HearthError) || error.code !== 'BARGE_IN') return;
    this.options.skips?.skip({ stream, reason: 'barge-in', capturedTs: receivedTs, topic, error });
  }

  /** Throws `REQUEST_INVALID` where there is no picture to look at. */
  private latest({ look, stream, image }: GeneratePayload): Part[] {
    if (look !== true) return [];
    if (stream === undefined || image !== undefined) {
      throw new HearthError('REQUEST_INVALID', 'generate: look: expected a stream, and no image');
    }
    const latest = this.options.latestFrame?.(stream);
    if (latest !== undefined) return [{ type: 'image', image: latest }];
    throw new HearthError(
      'REQUEST_INVALID',
      `generate: look: expected a camera that was looked at, received ${stream}`,
    );
  }

  private async run(
    payload: GeneratePayload,
    parts: Part[],
    signal: AbortSignal,
  ): Promise<{ result: GenerateResult; firstTokenTs: number }> {
    const { temperature, topK, topP, minP, seed, maxTokens, stop, slice, tailSlice, imageSize, schema, speculation } =
      payload;
    const request: GenerateRequest = {
      messages: [
        ...(payload.system === undefined
          ? []
          : [{ role: 'system' as const, parts: [{ type: 'text' as const, text: payload.system }] }]),
        { role: 'user', parts },
      ],
      sampling: present({ temperature, topK, topP, minP, seed }),
      ...present({ maxTokens, stop, slice, tailSlice, imageSize, schema, speculation }),
    };
    let firstTokenTs = 0;
    const result = await this.options.jobs.run(request, {
      priority: payload.priority,
      deadlineMs: payload.deadlineMs,
      signal,
      answers: payload.stream,
      onText: () => {
        firstTokenTs ||= Date.now() / 1000;
      },
    });
    return { result, firstTokenTs };
  }

  private async publishAnswer(
    request: Request,
    payload: GeneratePayload,
    result: GenerateResult,
    firstTokenTs: number,
  ): Promise<void> {
    if (payload.stream === undefined) return;
    const ts = Date.now() / 1000;
    const model = this.options.modelName();
    const event: StreamEvent = {
      v: 1,
      id: request.id,
      kind: 'answer',
      node: this.options.node,
      stream: payload.stream,
      ts,
      captured_ts: request.receivedTs,
      latency_ms: Math.round((ts - request.receivedTs) * 1000),
      ...(firstTokenTs > 0 && { first_token_ms: Math.round((firstTokenTs - request.receivedTs) * 1000) }),
      text: result.text,
      summary: summarise(result.text),
      source: { topic: request.topic },
      ...(model !== undefined && { model }),
      ...ranAs(result),
      tokens: result.tokens,
      truncated: result.finishReason === 'length',
    };
    await this.options.bus.publishEvent(event);
  }

  private cancel(request: Request): { cancelled: boolean } {
    const target = request.payload['request'];
    if (typeof target !== 'string') {
      throw new HearthError('REQUEST_INVALID', 'cancel: expected {"request": "<id of a request>"}');
    }
    const abort = this.running.get(target);
    abort?.abort();
    return { cancelled: abort !== undefined || this.options.cancelElsewhere?.(target) === true };
  }
}
