/** The last picture each camera was looked at by, for questions that come afterwards; a few of them, within a bound. */
import type { RgbImage } from '../inference/types';

export class LatestFrames {
  /** Least recently looked at first. */
  readonly #frames = new Map<string, RgbImage>();
  #bytes = 0;

  constructor(private readonly maxBytes: number) {}

  set(stream: string, image: RgbImage): void {
    this.#forget(stream);
    if (image.data.byteLength > this.maxBytes) return;
    this.#frames.set(stream, image);
    this.#bytes += image.data.byteLength;
    for (const oldest of this.#frames.keys()) {
      if (this.#bytes <= this.maxBytes) return;
      this.#forget(oldest);
    }
  }

  get(stream: string): RgbImage | undefined {
    return this.#frames.get(stream);
  }

  #forget(stream: string): void {
    this.#bytes -= this.#frames.get(stream)?.data.byteLength ?? 0;
    this.#frames.delete(stream);
  }
}
