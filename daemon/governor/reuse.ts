/**
 * What the governor believes to be in the runner's prefix cache: the beginnings of earlier prompts, by message, and the
 * KV group they were computed with. Only for estimates; the runner finds out for itself what it can reuse.
 */
import { createHash, type Hash } from 'node:crypto';
import type { GenerateRequest, Message } from '../inference/types';
import { sizeOf } from './job-facts';

export interface Reusable {
  readonly kvGroup: number;
  /** Estimated as in `sizeOf`. */
  readonly tokens: number;
}

const maxPrefixes = 256;
/** Bytes of a picture or a sound that are looked at. */
const samples = 1024;

export class Reuse {
  /** Digest of the messages so far -> what was computed; the oldest first. */
  readonly #prefixes = new Map<string, Reusable>();

  /** `cachedTokens`: what the runner reused of this prompt; undefined when it keeps nothing. */
  note(request: GenerateRequest, kvGroup: number, cachedTokens: number | undefined): void {
    const expected = this.find(request);
    // It was not there any more, and so neither is what came with it.
    // Every prompt shares its first few tokens with any other.
    const gone = expected?.kvGroup === kvGroup && (cachedTokens ?? 0) < expected.tokens / 2;
    if (cachedTokens === undefined || gone) this.#prefixes.clear();
    if (cachedTokens === undefined) return;
    for (const [digest, tokens] of prefixesOf(request.messages)) {
      this.#prefixes.delete(digest);
      this.#prefixes.set(digest, { kvGroup, tokens });
    }
    for (const digest of this.#prefixes.keys()) {
      if (this.#prefixes.size <= maxPrefixes) break;
      this.#prefixes.delete(digest);
    }
  }

  /** Of the longest beginning that is known. */
  find({ messages }: Pick<GenerateRequest, 'messages'>): Reusable | undefined {
    return prefixesOf(messages)
      .map(([digest]) => this.#prefixes.get(digest))
      .findLast((known) => known !== undefined);
  }
}

function prefixesOf(messages: readonly Message[]): [digest: string, tokens: number][] {
  const hash = createHash('sha256');
  return messages.map((message, index) => {
    addMessage(hash, message);
    return [hash.copy().digest('base64'), sizeOf({ messages: messages.slice(0, index + 1) }).promptTokens];
  });
}

function addMessage(hash: Hash, { role, parts }: Message): void {
  hash.update(`${role} ${parts.length}\n`);
  for (const part of parts) {
    if (part.type === 'text') hash.update(`${part.text.length} ${part.text}\n`);
    if (part.type === 'image') addBytes(hash, part.image.data);
    if (part.type === 'audio') addSamples(hash, part.audio.samples);
    if (part.type === 'video') {
      for (const { image } of part.frames) addBytes(hash, image.data);
      for (const { audio } of part.sounds ?? []) addSamples(hash, audio.samples);
    }
  }
}

function addSamples(hash: Hash, { buffer, byteOffset, byteLength }: Float32Array): void {
  addBytes(hash, new Uint8Array(buffer, byteOffset, byteLength));
}

/** A sample of them: two that agree in it make a wrong estimate and nothing worse. */
function addBytes(hash: Hash, bytes: Uint8Array): void {
  const step = Math.max(1, Math.floor(bytes.length / samples));
  const some = Uint8Array.from({ length: Math.min(samples, bytes.length) }, (_none, at) => bytes[at * step] ?? 0);
  hash.update(`${bytes.length} `).update(some);
}
