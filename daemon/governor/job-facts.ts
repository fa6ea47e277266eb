/** What can be told of a request before it runs: how much there is to encode, to prefill and to decode. */
import type { GenerateRequest, Part } from '../inference/types';
import { frameCount } from '../inference/video';

export interface RequestSize {
  readonly images: number;
  readonly clips: number;
  /** An estimate: the tokenizer is in the runner. */
  readonly promptTokens: number;
  /** Requests of one kind have replies of about one length. */
  readonly kind: string;
}

/** Soft tokens and what stands around them; see `prompt.ts`. */
const softTokens = { imageSoftTokens: 256, audioSoftTokens: 188 };
const imageTokens = softTokens.imageSoftTokens + 4;
const clipTokens = softTokens.audioSoftTokens + 4;
/** Of English text and Gemma's vocabulary; other languages have fewer. */
const charactersPerToken = 4;
const turnTokens = 8;

export function sizeOf({ messages, schema }: Pick<GenerateRequest, 'messages' | 'schema'>): RequestSize {
  let images = 0;
  let clips = 0;
  let characters = 0;
  const add = (part: Part): void => {
    if (part.type === 'text') characters += part.text.length;
    if (part.type === 'image') images++;
    if (part.type === 'audio') clips++;
    if (part.type === 'video') {
      images += Math.min(part.frames.length, frameCount(part, softTokens));
      clips += part.sounds?.length ?? 0;
    }
  };
  for (const { parts } of messages) for (const part of parts) add(part);
  return {
    images,
    clips,
    promptTokens:
      turnTokens * messages.length +
      Math.ceil(characters / charactersPerToken) +
      images * imageTokens +
      clips * clipTokens,
    kind:
      [images > 0 && 'image', clips > 0 && 'audio', schema !== undefined && 'schema'].filter(Boolean).join('+') ||
      'text',
  };
}
