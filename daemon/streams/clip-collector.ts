/**
 * What a camera shows within a few seconds, and a microphone hears meanwhile, gathered into clips. A clip begins with a
 * frame and ends when its time is over or its frames and sounds have used up their tokens, or too much memory. Frames come chosen already:
 * so far apart in time, and so different from the one before, as the camera's options say.
 */
import { asyncScheduler, type SchedulerLike, type Subscription } from 'rxjs';
import type { AudioClip, RgbImage, VideoPart } from '../inference/types';
import { frameCount } from '../inference/video';

export interface ClipOptions {
  readonly seconds: number;
  /** Soft tokens of the frames and sounds of a clip. */
  readonly maxTokens: number;
  /** The microphone stream that is heard with it. */
  readonly sound?: string;
}

export interface ClipFrame {
  readonly image: RgbImage;
  /** Unix time in seconds. */
  readonly capturedTs: number;
  readonly topic: string;
  readonly sha256: string;
}

export interface ClipSound {
  readonly audio: AudioClip;
  /** Unix time in seconds when it began. */
  readonly startedTs: number;
}

export interface Clip {
  /** One at least, in the order they came. */
  readonly frames: readonly ClipFrame[];
  readonly sounds: readonly ClipSound[];
}

/** Of the released models: what a frame and a sound cost. */
const softTokens = { imageSoftTokens: 256, audioSoftTokens: 188 };

/** Pixels and samples of a clip at most: a camera of 24 megapixels must not take the memory of a board. */
const maxClipBytes = 64 << 20;

/** A clip as the engine takes it; its time begins with its first frame. */
export function videoOf({ frames, sounds }: Clip, maxTokens: number): VideoPart {
  const startTs = frames[0]?.capturedTs ?? 0;
  const timeMs = (ts: number): number => Math.round((ts - startTs) * 1000);
  return {
    type: 'video',
    frames: frames.map(({ image, capturedTs }) => ({ image, timeMs: timeMs(capturedTs) })),
    ...(sounds.length > 0 && {
      sounds: sounds.map(({ audio, startedTs }) => ({ audio, timeMs: timeMs(startedTs) })),
    }),
    maxTokens,
  };
}

export class ClipCollector {
  #frames: ClipFrame[] = [];
  #sounds: ClipSound[] = [];
  #sizeBytes = 0;
  #timer: Subscription | undefined;

  constructor(
    private readonly options: () => ClipOptions,
    private readonly onClip: (clip: Clip) => void,
    private readonly scheduler: SchedulerLike = asyncScheduler,
  ) {}

  /** What there is of the clip in hand. */
  get clip(): Clip {
    return { frames: this.#frames, sounds: this.#sounds };
  }

  add(frame: ClipFrame): void {
    this.#frames.push(frame);
    this.#sizeBytes += frame.image.data.byteLength;
    this.#timer ??= this.scheduler.schedule(() => this.end(), this.options().seconds * 1000);
    this.#endIfFull();
  }

  /** Nothing to a clip that has not begun. */
  hear(sound: ClipSound): void {
    if (this.#frames.length === 0) return;
    this.#sounds.push(sound);
    this.#sizeBytes += sound.audio.samples.byteLength;
    this.#endIfFull();
  }

  /** The clip in hand is over, whatever is missing. */
  end(): void {
    this.#timer?.unsubscribe();
    this.#timer = undefined;
    const clip = this.clip;
    this.#frames = [];
    this.#sounds = [];
    this.#sizeBytes = 0;
    if (clip.frames.length > 0) this.onClip(clip);
  }

  #endIfFull(): void {
    const { maxTokens } = this.options();
    const full = this.#frames.length >= frameCount(videoOf(this.clip, maxTokens), softTokens);
    if (full || this.#sizeBytes >= maxClipBytes) this.end();
  }
}
