/**
 * Requests whose sound is longer than the model hears at a time: it is cut at pauses, the model is asked about every
 * piece, and the reply is what it says of one after the other.
 */
import { cutAtPauses } from '../media/cut';
import { modelSampleRate } from '../media/sample-rate';
import { defaultMaxTokens, type GenerateDefaults, type GenerateHooks, generate } from './generate';
import type { NativeEngine, NativeSession } from './native';
import type { GenerateRequest, GenerateResult, Part } from './types';

/** What a clip the model hears in one go lasts at most. */
export const maxClipSeconds = 30;

/**
 * The request once for each piece of its sound, or as it is: when no sound is too long; when it has several, of which
 * nobody could say what belongs together; and with a schema, which several replies in a row would not fit.
 */
export function inPieces(request: GenerateRequest, maxSeconds = maxClipSeconds): GenerateRequest[] {
  const parts = request.messages.flatMap((message) => message.parts);
  const sounds = parts.filter((part) => part.type === 'audio' || (part.type === 'video' && part.sounds?.length));
  const [sound] = sounds;
  const maxSamples = maxSeconds * modelSampleRate;
  const long = sound?.type === 'audio' && sounds.length === 1 && sound.audio.samples.length > maxSamples;
  if (!long || request.schema !== undefined) return [request];
  const pieces = cutAtPauses(sound.audio.samples, maxSamples);
  // About silence the model is asked once.
  if (pieces.length === 0) pieces.push(sound.audio.samples.subarray(0, maxSamples));
  return pieces.map((samples) => {
    const piece: Part = { type: 'audio', audio: { samples } };
    const messages = request.messages.map((message) => ({
      ...message,
      parts: message.parts.map((part) => (part === sound ? piece : part)),
    }));
    return { ...request, messages };
  });
}

/** Of two records of numbers, some of which may be missing. */
function sum<T extends object>(a: T, b: T): T {
  const keys = Object.keys({ ...a, ...b }) as (keyof T)[];
  return Object.fromEntries(keys.map((key) => [key, Number(a[key] ?? 0) + Number(b[key] ?? 0)])) as T;
}

function joined(before: GenerateResult, next: GenerateResult, text: string): GenerateResult {
  const { tail } = next;
  return {
    ...before,
    ...next,
    text,
    slice: before.slice,
    tokens: sum(before.tokens, next.tokens),
    timings: { ...sum(before.timings, next.timings), firstToken: before.timings.firstToken },
    cachedMedia: (before.cachedMedia ?? 0) + (next.cachedMedia ?? 0),
    ...(tail !== undefined && { tail: { ...tail, afterTokens: tail.afterTokens + before.tokens.completion } }),
  };
}

/** As `generate`; `maxTokens` are for all pieces together. */
export async function generateOfAnyLength(
  engine: NativeEngine,
  session: NativeSession,
  request: GenerateRequest,
  defaults: GenerateDefaults,
  hooks: GenerateHooks,
  maxSeconds = maxClipSeconds,
): Promise<GenerateResult> {
  const [first = request, ...others] = inPieces(request, maxSeconds);
  let result = await generate(engine, session, first, defaults, hooks);
  const maxTokens = request.maxTokens ?? defaultMaxTokens;
  for (const piece of others) {
    const left = maxTokens - result.tokens.completion;
    if (result.finishReason !== 'stop' || left < 1) return { ...result, finishReason: 'length' };
    let text = result.text;
    const onText = (added: string): void => {
      // Between what is said of two pieces there is a space; of silence nothing is said.
      const space = text === result.text && text !== '' && !/\s$/.test(text) && !/^\s/.test(added) ? ' ' : '';
      text += space + added;
      hooks.onText(space + added);
    };
    const next = await generate(engine, session, { ...piece, maxTokens: left }, defaults, { ...hooks, onText });
    result = joined(result, next, text);
  }
  return result;
}
