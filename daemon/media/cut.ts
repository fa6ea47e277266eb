/**
 * Recordings longer than the model takes, in pieces cut at pauses. Neighbours overlap in the pause between them, which
 * both have as the silence they were trained with around speech, and in nothing else: no word is lost, none is there twice.
 */
import { modelSampleRate } from './sample-rate';

const frameSamples = modelSampleRate / 50;
/** A frame this far (26 dB) under the level of the speech is a pause; see also `Segmenter`. */
const pauseRatio = 1 / 20;
/** Shorter ones are within a word: the closure of a `t`. */
const minPauseFrames = 4;
/** Of a pause, what is left behind one piece and before the next, in frames. */
const keptBehind = 20;
const keptBefore = 15;

interface Pause {
  readonly begin: number;
  readonly end: number;
}

/** RMS of each frame; the last one may be shorter. */
function levelsOf(samples: Float32Array): Float32Array {
  return Float32Array.from({ length: Math.ceil(samples.length / frameSamples) }, (_, frame) => {
    const part = samples.subarray(frame * frameSamples, (frame + 1) * frameSamples);
    return Math.sqrt(part.reduce((sum, sample) => sum + sample * sample, 0) / part.length);
  });
}

/** The level that one frame in ten exceeds. */
function speechLevelOf(levels: Float32Array): number {
  return levels.slice().sort()[Math.floor(levels.length * 0.9)] ?? 0;
}

/** The longest pause that is in frames [from, to), the later of two; it may begin earlier, from `first` on. */
function longestPause(levels: Float32Array, first: number, from: number, to: number): Pause | undefined {
  const limit = speechLevelOf(levels.subarray(from, to)) * pauseRatio;
  let longest: Pause | undefined;
  let start = from;
  while (start > first && (levels[start - 1] as number) <= limit) start--;
  for (let begin = start; begin < to; begin++) {
    let end = begin;
    while (end < levels.length && (levels[end] as number) <= limit) end++;
    if (end - begin >= Math.max(minPauseFrames, longest === undefined ? 0 : longest.end - longest.begin))
      longest = { begin, end };
    begin = end;
  }
  return longest;
}

/** Where nobody pauses: the quietest moment. */
function quietest(levels: Float32Array, from: number, to: number): Pause {
  const sumAt = (frame: number): number =>
    levels.subarray(frame, frame + minPauseFrames).reduce((sum, level) => sum + level, 0);
  let best = from;
  for (let frame = from; frame + minPauseFrames <= to; frame++) if (sumAt(frame) < sumAt(best)) best = frame;
  return { begin: best, end: best + minPauseFrames };
}

/** Mono at 16 kHz; every piece is at most `maxSamples` long, which are a second or more. Pieces of silence are left out. */
export function cutAtPauses(samples: Float32Array, maxSamples: number): Float32Array[] {
  const levels = levelsOf(samples);
  const limit = speechLevelOf(levels) * pauseRatio;
  const maxFrames = Math.floor(maxSamples / frameSamples);
  const pieces: Float32Array[] = [];
  const add = (begin: number, end: number): void => {
    if (levels.subarray(begin, end).some((level) => level > limit))
      pieces.push(samples.subarray(begin * frameSamples, end * frameSamples));
  };
  let begin = 0;
  while (levels.length - begin > maxFrames) {
    const last = begin + maxFrames - minPauseFrames;
    const pause =
      longestPause(levels, begin + 1, begin + Math.floor(maxFrames / 3), last) ??
      quietest(levels, begin + Math.floor((2 * maxFrames) / 3), last);
    add(begin, Math.min(pause.end, pause.begin + keptBehind, begin + maxFrames));
    begin = Math.max(pause.begin, pause.end - keptBefore);
  }
  add(begin, levels.length);
  return pieces;
}
