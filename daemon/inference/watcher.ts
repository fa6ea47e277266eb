/**
 * A video on its way into the engine while it is being taken: its pictures and sounds are encoded as they come, and
 * prefilled behind what every prompt that begins with a video has in common. Like a listener it leaves nothing but what
 * the engine keeps anyhow, so that the job which comes with the whole video finds most of its work done.
 */
import type { NativeEngine, NativeSession, SoftTokens } from './native';
import { prefillAhead, type SparePool } from './prefill-ahead';
import { buildPrompt, type Media, type PromptTokenizer } from './prompt';
import type { Turns } from './step-scheduler';
import type { AudioClip, RgbImage, SliceRequest, VideoFrame, VideoSound } from './types';

export interface WatcherDependencies {
  readonly engine: PromptTokenizer & Pick<NativeEngine, 'encodeImage' | 'encodeAudio'>;
  readonly sessions: SparePool<NativeSession>;
  /** Its place among the jobs; steps end with `ENGINE_CANCELLED` once the signal is aborted. */
  readonly join: (signal: AbortSignal) => Turns;
  readonly slice: SliceRequest;
  /** Side of the square the pictures are resized to; 0: the model's own. */
  readonly imageSize: number;
  /** Soft tokens the video may take. */
  readonly maxTokens: number;
}

const contentOf = (media: Media): RgbImage | AudioClip => (media.type === 'image' ? media.image : media.audio);

export class Watcher {
  readonly #dependencies: WatcherDependencies;
  readonly #turns: Turns;
  readonly #abort = new AbortController();
  readonly #frames: VideoFrame[] = [];
  readonly #sounds: VideoSound[] = [];
  readonly #soft = new Map<RgbImage | AudioClip, SoftTokens>();
  #news = false;
  #working: Promise<void> | undefined;

  constructor(dependencies: WatcherDependencies) {
    this.#dependencies = dependencies;
    this.#turns = dependencies.join(this.#abort.signal);
  }

  seen(frame: VideoFrame): void {
    this.#frames.push(frame);
    this.#goOn();
  }

  heard(sound: VideoSound): void {
    this.#sounds.push(sound);
    this.#goOn();
  }

  /** Resolves when all that has come is prepared, or nothing more will be. Never rejects. */
  async settled(): Promise<void> {
    await this.#working;
  }

  /** Nothing more is begun. */
  cancel(): void {
    this.#abort.abort();
  }

  #goOn(): void {
    this.#news = true;
    if (this.#abort.signal.aborted || this.#frames.length === 0) return;
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  /** An error, a cancellation among them, ends it: the job that comes with the video does without, or gets the same. */
  async #work(): Promise<void> {
    try {
      while (this.#news) {
        this.#news = false;
        await this.#prepare();
      }
    } catch {
      this.cancel();
    }
  }

  async #prepare(): Promise<void> {
    const { engine, sessions, slice, maxTokens } = this.#dependencies;
    const video = { type: 'video' as const, frames: this.#frames, sounds: this.#sounds, maxTokens };
    const { ids, media } = buildPrompt(engine, [{ role: 'user', parts: [video] }]);
    const ends: readonly number[] = [engine.info.special.endOfImage, engine.info.special.endOfAudio];
    let end = 0;
    for (const [at, one] of media.entries()) {
      if (!this.#soft.has(contentOf(one))) this.#soft.set(contentOf(one), await this.#encode(one));
      end = ids.findIndex((id, i) => i >= end && ends.includes(id)) + 1;
      // Earlier ones first: what comes later in the video may not be its last word.
      const soft = media.slice(0, at + 1).flatMap((known) => this.#soft.get(contentOf(known)) ?? []);
      await prefillAhead({ turns: this.#turns, sessions, ids: ids.slice(0, end), soft, slice }, () => true);
    }
  }

  #encode(media: Media): Promise<SoftTokens> {
    const { engine, imageSize } = this.#dependencies;
    return this.#turns.step(() =>
      media.type === 'image' ? engine.encodeImage(media.image, imageSize) : engine.encodeAudio(media.audio.samples),
    );
  }
}
