/**
 * How long things take here, learned from the jobs that ran: an exponentially weighted mean of milliseconds a token for
 * each slice, a picture for each size, a clip. What has not been measured is inferred from what has, by the ratio of the
 * multiply-adds; without any measurement nothing is claimed.
 */
import type { SliceInfo } from '../inference/types';

/** Weight of the newest measurement. */
const weight = 0.3;
/** A measurement older than this gives way to what can be inferred from a younger one: the board may have become slower. */
const staleMs = 10 * 60_000;

interface Entry {
  readonly ms: number;
  /** Multiply-adds, or any other measure of work, of what `ms` is for. */
  readonly work: number;
  /** Unix time in milliseconds. */
  readonly at: number;
}

class Series {
  readonly #entries = new Map<string, Entry>();
  #latest: Entry | undefined;

  add(key: string, work: number, ms: number, at: number): void {
    if (!(ms >= 0) || !(work > 0)) return;
    const known = this.#entries.get(key);
    // So much faster than ever, it was not computed: the runner had it already.
    if (known !== undefined && ms < known.ms / 8) return;
    const entry = { ms: known === undefined ? ms : known.ms + weight * (ms - known.ms), work, at };
    this.#entries.set(key, entry);
    this.#latest = entry;
  }

  of(key: string, work: number, now: number): number | null {
    const own = this.#entries.get(key);
    if (own !== undefined && (now - own.at < staleMs || own === this.#latest)) return own.ms;
    const latest = this.#latest;
    return latest === undefined ? null : (latest.ms * work) / latest.work;
  }
}

/** What a job consists of. */
export interface Work {
  readonly images: number;
  readonly clips: number;
  readonly promptTokens: number;
  readonly expectedTokens: number;
}

/** What a job took. Milliseconds. */
export interface Measured {
  readonly images: number;
  readonly clips: number;
  readonly encodeMs: number;
  readonly promptTokens: number;
  readonly prefillMs: number;
  readonly completionTokens: number;
  readonly decodeMs: number;
}

/** Fewer tokens than these say little about the time of one. */
const minPrefillTokens = 8;
const minDecodeTokens = 4;

export class Timings {
  readonly #prefill = new Series();
  readonly #decode = new Series();
  readonly #images = new Series();
  readonly #clips = new Series();
  readonly #replies = new Map<string, number>();

  /** `decode` is false where the reply did not run on `slice` to its end. */
  learn(slice: SliceInfo, imageSize: number, measured: Measured, now: number, decode = true): void {
    const { images, clips, encodeMs, promptTokens, prefillMs, completionTokens, decodeMs } = measured;
    // A clip and a picture in one job cannot be told apart.
    if (images > 0 && clips === 0) this.#images.add(String(imageSize), imageSize ** 2, encodeMs / images, now);
    if (clips > 0 && images === 0) this.#clips.add('', 1, encodeMs / clips, now);
    if (promptTokens >= minPrefillTokens)
      this.#prefill.add(String(slice.kvGroup), slice.prefillMacs, prefillMs / promptTokens, now);
    if (decode && completionTokens >= minDecodeTokens)
      this.#decode.add(slice.name, slice.decodeMacs, decodeMs / completionTokens, now);
  }

  /** `kind` stands for jobs whose replies are of about the same length. */
  learnReply(kind: string, tokens: number): void {
    const known = this.#replies.get(kind);
    this.#replies.set(kind, known === undefined ? tokens : known + weight * (tokens - known));
  }

  /** Tokens a reply will probably not exceed; `maxTokens` while none was seen. */
  expectedTokens(kind: string, maxTokens: number): number {
    const mean = this.#replies.get(kind);
    return mean === undefined ? maxTokens : Math.min(maxTokens, Math.ceil(mean * 1.5) + 2);
  }

  /** Milliseconds of a job; null where a part of it was never measured. `cachedTokens` of the prompt need no prefill. */
  estimate(slice: SliceInfo, imageSize: number, work: Work, cachedTokens: number, now: number): number | null {
    const parts: [number, number | null][] = [
      [work.images, this.#images.of(String(imageSize), imageSize ** 2, now)],
      [work.clips, this.#clips.of('', 1, now)],
      [Math.max(0, work.promptTokens - cachedTokens), this.#prefill.of(String(slice.kvGroup), slice.prefillMacs, now)],
      [work.expectedTokens, this.#decode.of(slice.name, slice.decodeMacs, now)],
    ];
    let total = 0;
    for (const [count, ms] of parts) {
      if (count === 0) continue;
      if (ms === null) return null;
      total += count * ms;
    }
    return total;
  }
}
