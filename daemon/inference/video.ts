/**
 * A video as the model takes it: some of its frames and its sounds, in the order they were seen and heard. Frames are
 * chosen by change, within what they may cost in soft tokens.
 */
import { HearthError } from '../errors';
import { difference, type Thumbnail, thumbnailOf } from '../media/thumbnail';
import type { AudioClip, RgbImage, VideoFrame, VideoPart } from './types';

/** What a picture and a sound take of the context. */
export interface SoftTokenCounts {
  readonly imageSoftTokens: number;
  readonly audioSoftTokens: number;
}

/** Soft tokens of a video that says nothing about them: eight frames. */
export const defaultVideoTokens = 8 * 256;

/** Mean difference of luma, 0..255, under which two frames are the same: noise and compression do more. */
const leastChange = 1;

const positive = (name: string, value: number): void => {
  if (!(value > 0) || !Number.isFinite(value))
    throw new HearthError('PROMPT_INVALID', `video: ${name}: expected a number above 0, received ${value}`);
};

/** Frames that the budget leaves room for after the sounds; one at least. */
export function frameCount(
  { sounds = [], maxTokens = defaultVideoTokens }: VideoPart,
  counts: SoftTokenCounts,
): number {
  return Math.max(1, Math.floor((maxTokens - sounds.length * counts.audioSoftTokens) / counts.imageSoftTokens));
}

/**
 * `count` frames at most, and at most `framesPerSecond`, in time order. Those that show nothing new are left out, and of
 * too many the one that differs least from the frame before it; the first of all stays.
 */
export function chooseFrames(frames: readonly VideoFrame[], count: number, framesPerSecond = Infinity): VideoFrame[] {
  const chosen: { readonly frame: VideoFrame; readonly thumbnail: Thumbnail }[] = [];
  const apart = 1000 / framesPerSecond;
  for (const frame of [...frames].sort((a, b) => a.timeMs - b.timeMs)) {
    const last = chosen.at(-1);
    if (last !== undefined && frame.timeMs - last.frame.timeMs < apart) continue;
    const thumbnail = thumbnailOf(frame.image);
    if (last === undefined || difference(thumbnail, last.thumbnail) >= leastChange) chosen.push({ frame, thumbnail });
  }
  while (chosen.length > count) {
    let least = 1;
    let leastOfAll = Number.POSITIVE_INFINITY;
    for (let at = 1; at < chosen.length; at++) {
      const [before, here] = [chosen[at - 1], chosen[at]];
      const change = before && here ? difference(here.thumbnail, before.thumbnail) : Number.POSITIVE_INFINITY;
      // Of several that are alike, the latest: what they show is there already.
      if (change <= leastOfAll) [least, leastOfAll] = [at, change];
    }
    chosen.splice(least, 1);
  }
  return chosen.map(({ frame }) => frame);
}

/** Throws `PROMPT_INVALID` for a video without frames, or with a budget or rate of nothing. */
export function inTimeOrder(
  video: VideoPart,
  counts: SoftTokenCounts,
): ({ readonly image: RgbImage } | { readonly audio: AudioClip })[] {
  const { frames, sounds = [], framesPerSecond, maxTokens } = video;
  if (frames.length === 0) throw new HearthError('PROMPT_INVALID', 'video: expected at least one frame');
  if (maxTokens !== undefined) positive('maxTokens', maxTokens);
  if (framesPerSecond !== undefined) positive('framesPerSecond', framesPerSecond);
  const chosen = chooseFrames(frames, frameCount(video, counts), framesPerSecond);
  // A picture goes before the sound that begins with it.
  return [...chosen, ...sounds].sort((a, b) => a.timeMs - b.timeMs);
}
