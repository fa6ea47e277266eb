/** Where a chunk stands by its sequence number: in order, after a gap, too late, or from a sender that began anew. */
export type Place =
  | { readonly type: 'next' }
  /** Chunks are missing; this much silence stands in for them, so that words do not run together. */
  | { readonly type: 'gap'; readonly silenceSeconds: number }
  | { readonly type: 'late'; readonly after: number }
  | { readonly type: 'restart' };

/** A longer gap is a new recording. */
const maxGapSeconds = 0.5;
/** A number this far behind, or 0, is a sender that began anew. */
const maxLateChunks = 16;

export class ChunkOrder {
  #last: number | undefined;
  #missing = 0;

  get missing(): number {
    return this.#missing;
  }

  /** Chunks without a number are taken as they come. */
  place(sequence: number | undefined, durationSeconds: number): Place {
    const last = this.#last;
    if (sequence === undefined || last === undefined) {
      this.#last = sequence;
      return { type: 'next' };
    }
    if (sequence <= last && last - sequence < maxLateChunks && sequence !== 0) return { type: 'late', after: last };
    this.#last = sequence;
    if (sequence <= last) return { type: 'restart' };
    const missing = sequence - last - 1;
    if (missing === 0) return { type: 'next' };
    this.#missing += missing;
    const silenceSeconds = missing * durationSeconds;
    return silenceSeconds > maxGapSeconds ? { type: 'restart' } : { type: 'gap', silenceSeconds };
  }
}
