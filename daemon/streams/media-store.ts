/** Decoded pictures and sounds, held while handlers may still ask for them. What crosses to a plugin is the reference. */
import { ulid } from 'ulid';
import { HearthError } from '../errors';
import type { Part } from '../inference/types';

export type DecodedMedia = Extract<Part, { readonly type: 'image' | 'audio' | 'video' }>;

interface Held {
  readonly media: DecodedMedia;
  readonly sizeBytes: number;
  holders: number;
}

function sizeOf(media: DecodedMedia): number {
  switch (media.type) {
    case 'image':
      return media.image.data.byteLength;
    case 'audio':
      return media.audio.samples.byteLength;
    case 'video': {
      const pictures = media.frames.reduce((sum, { image }) => sum + image.data.byteLength, 0);
      return (media.sounds ?? []).reduce((sum, { audio }) => sum + audio.samples.byteLength, pictures);
    }
  }
}

export class MediaStore {
  readonly #held = new Map<string, Held>();
  readonly #maxBytes: number;
  #sizeBytes = 0;

  constructor(options: { readonly maxBytes: number }) {
    this.#maxBytes = options.maxBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get count(): number {
    return this.#held.size;
  }

  /** Returns a reference that holds `media` until it is released once. Throws `MEDIA_STORE_FULL`. */
  add(media: DecodedMedia): string {
    const sizeBytes = sizeOf(media);
    if (this.#sizeBytes + sizeBytes > this.#maxBytes) {
      throw new HearthError(
        'MEDIA_STORE_FULL',
        `media store: expected at most ${this.#maxBytes} bytes held, ${this.#sizeBytes} are and ${sizeBytes} more came`,
      );
    }
    const ref = ulid();
    this.#held.set(ref, { media, sizeBytes, holders: 1 });
    this.#sizeBytes += sizeBytes;
    return ref;
  }

  /** Throws `MEDIA_GONE` for a reference nobody holds any more, or that never was one. */
  get(ref: string): DecodedMedia {
    return this.#find(ref).media;
  }

  /** One more holder, one more `release`. Throws `MEDIA_GONE`. */
  retain(ref: string): void {
    this.#find(ref).holders++;
  }

  /** Throws `MEDIA_GONE` when there is nothing to release. */
  release(ref: string): void {
    const held = this.#find(ref);
    held.holders--;
    if (held.holders > 0) return;
    this.#held.delete(ref);
    this.#sizeBytes -= held.sizeBytes;
  }

  #find(ref: string): Held {
    const held = this.#held.get(ref);
    if (held === undefined)
      throw new HearthError('MEDIA_GONE', `media: ${JSON.stringify(String(ref).slice(0, 40))} is not held`);
    return held;
  }
}
