/** One job from request to result: encode, prefill, decode. Runs in the runner, over the native addon. */
import { performance } from 'node:perf_hooks';
import { HearthError } from '../errors';
import type { NativeEngine, NativeSession, SoftTokens } from './native';
import { buildPrompt, type Media } from './prompt';
import type { Turns } from './step-scheduler';
import { StopSequences } from './stop-sequences';
import { Stopwatch } from './stopwatch';
import { TailSwitch } from './tail-switch';
import type { GenerateRequest, GenerateResult, Speculation } from './types';

export interface GenerateDefaults {
  readonly slice: string;
  readonly imageSize: number;
  readonly speculation?: Speculation;
}

export interface GenerateHooks {
  readonly onText: (piece: string) => void;
  /** Does an encoder run, a prefill chunk or a decode step when it is the job's turn. */
  readonly step: Turns['step'];
  /** When to go on with the request's `tailSlice`. */
  readonly pace?: Pace;
}

export interface Pace {
  /** Unix time in milliseconds. */
  readonly deadlineAt?: number | undefined;
  readonly expectedTokens?: number | undefined;
  readonly hurry?: AbortSignal;
}

/** Tokens computed in one step of a prefill; a cancelled one ends within one such chunk, and another job waits no longer. */
const prefillChunk = 128;
export const defaultMaxTokens = 256;
const speculations: readonly Speculation[] = ['auto', 'on', 'off'];

function checkRequest(request: GenerateRequest): void {
  const { maxTokens, stop, speculation } = request;
  if (maxTokens !== undefined && (!Number.isInteger(maxTokens) || maxTokens < 1)) {
    throw new HearthError('OPTION_INVALID', `maxTokens must be a positive integer, not ${maxTokens}`);
  }
  if (stop !== undefined && (stop.length > 16 || stop.some((text) => text === '' || text.length > 256))) {
    throw new HearthError('OPTION_INVALID', 'stop takes at most 16 texts of 1 to 256 characters');
  }
  if (speculation !== undefined && !speculations.includes(speculation)) {
    throw new HearthError(
      'OPTION_INVALID',
      `speculation must be one of ${speculations.join(', ')}, not ${speculation}`,
    );
  }
}

function speculates(request: GenerateRequest, otherwise: Speculation = 'auto'): boolean {
  const mode = request.speculation ?? otherwise;
  return mode === 'on' || (mode === 'auto' && (request.schema !== undefined || !request.sampling?.temperature));
}

async function encode(engine: NativeEngine, media: Media, imageSize: number): Promise<SoftTokens> {
  return media.type === 'image'
    ? await engine.encodeImage(media.image, imageSize)
    : await engine.encodeAudio(media.audio.samples);
}

/** Rejects with the runtime's error, or `ENGINE_CANCELLED` within one step of the signal. */
export async function generate(
  engine: NativeEngine,
  session: NativeSession,
  request: GenerateRequest,
  defaults: GenerateDefaults,
  hooks: GenerateHooks,
): Promise<GenerateResult> {
  checkRequest(request);
  const stopwatch = new Stopwatch(hooks.step);
  const { startedAt, step } = stopwatch;

  session.setGrammar(request.schema === undefined ? null : JSON.stringify(request.schema));
  const prompt = buildPrompt(engine, request.messages);
  if (prompt.ids.length >= engine.info.contextLength) {
    throw new HearthError(
      'CONTEXT_FULL',
      `a prompt of ${prompt.ids.length} tokens does not fit a context of ${engine.info.contextLength} with room for a reply`,
    );
  }

  const soft: SoftTokens[] = [];
  const imageSize = request.imageSize ?? defaults.imageSize;
  let cachedMedia = 0;
  for (const media of prompt.media) {
    await step(async () => {
      const { mediaHits } = engine.reuse();
      soft.push(await encode(engine, media, imageSize));
      // Nobody else encodes in this job's turn.
      cachedMedia += engine.reuse().mediaHits - mediaHits;
    });
  }
  const encodeMs = stopwatch.lap();

  const slice = request.slice ?? defaults.slice;
  await step(() => session.resume(prompt.ids, soft, { slice, checkpoints: prompt.checkpoints }));
  const sliceName = session.sliceName;
  while ((await step(() => session.advance(prefillChunk))) > 0);
  const cached = session.reused;
  const prefillMs = stopwatch.lap();

  const room = engine.info.contextLength - prompt.ids.length;
  const maxTokens = Math.min(request.maxTokens ?? defaultMaxTokens, room);
  const sampling = request.sampling ?? {};
  const { deadlineAt, expectedTokens, hurry } = hooks.pace ?? {};
  const { tailSlice } = request;
  const ending = new TailSwitch(session, { slice, tailSlice, deadlineAt, expectedTokens, maxTokens, hurry });
  const stops = new StopSequences(request.stop ?? []);
  const speculation = speculates(request, defaults.speculation);
  const draft = speculation ? {} : { maxTokens: 0 };
  let text = '';
  let completion = 0;
  let drafted = 0;
  let accepted = 0;
  let firstToken: number | undefined;
  const show = (piece: string): void => {
    if (piece === '') return;
    text += piece;
    hooks.onText(piece);
  };
  /** What ended the reply before its length did: the model, or a stop text, after which nothing is shown. */
  let endedBy: 'model' | 'text' | undefined;
  while (completion < maxTokens && endedBy === undefined) {
    if (completion > 0) ending.before(completion);
    const decode = () => session.decode(sampling, maxTokens - completion, draft);
    // The first token came with the prefill: it only has to be chosen, which needs no turn.
    const decoded = completion === 0 ? await decode() : await step(decode);
    firstToken ??= performance.now();
    drafted += decoded.drafted;
    accepted += decoded.accepted;
    for (const sampled of decoded.sampled) {
      if (sampled.end) {
        endedBy = 'model';
        break;
      }
      completion++;
      const { text: piece, stopped } = stops.push(sampled.text);
      show(piece);
      if (stopped) {
        endedBy = 'text';
        break;
      }
    }
  }
  const tail = session.flushText();
  if (endedBy !== 'text') show(stops.push(tail).text + stops.flush());
  const decodeMs = stopwatch.lap();
  const ended = performance.now();
  // The next turn of the conversation goes on from here. A copy, no computing: it waits for no turn.
  await session.checkpoint();
  return {
    text,
    finishReason: endedBy === undefined ? 'length' : 'stop',
    tokens: { prompt: prompt.ids.length, completion, cached, ...(speculation && { drafted, accepted }) },
    ...(prompt.media.length > 0 && { cachedMedia }),
    timings: {
      encode: encodeMs,
      prefill: prefillMs,
      decode: decodeMs,
      waiting: stopwatch.waitingMs,
      firstToken: (firstToken ?? ended) - startedAt,
      total: ended - startedAt,
    },
    slice: sliceName,
    ...(ending.tail !== undefined && { tail: ending.tail }),
    ...(prompt.media.some(({ type }) => type === 'image') && { imageSize: imageSize || engine.info.imageSize }),
  };
}
