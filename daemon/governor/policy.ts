/**
 * The governor's policy: what a job runs on. Pure; what is measured and remembered comes in as values.
 *
 * 1. What the request names is what it gets; then what the configuration names.
 * 2. The pressure on the board (`pressure.ts`) sets how far down the ladder a job starts: level 1 a third of the slices
 *    and one picture size, level 3 all the way.
 * 3. The deadline may ask for more: of everything at or below that, the job gets the least loss of quality that is
 *    estimated to be done in time, with a tenth to spare (three tenths for anything larger than the last job had to make do
 *    with, so that jobs at the edge do not alternate). When nothing is fast enough, the fastest it is.
 * 4. Keys and values that are there already count. A slice of another KV group (other FFN widths in the layers that write
 *    them) has to prefill the whole conversation again, one of the same group (a tail: other layers above them only) does
 *    not. So the time of a re-prefill is part of every estimate, and where less than the largest slice is asked for,
 *    the slice of the cached group is taken instead of another if it is at most as much work for the job as a whole.
 *    At ease a conversation goes back to the largest slice, whatever that costs: quality is what there is time for.
 * 5. Every job gets the smallest slice of its KV group as a tail for the runner to change to between two tokens, should the
 *    deadline be missed otherwise or the board become hot meanwhile.
 */
import type { ChoiceReason, GenerateRequest, SliceInfo } from '../inference/types';
import type { ImageSize, Ladder } from './ladder';
import { maxLevel, type Pressure } from './pressure';
import type { Timings, Work } from './timings';

export interface JobFacts extends Work {
  readonly request: Pick<GenerateRequest, 'slice' | 'imageSize' | 'tailSlice'>;
  /** Milliseconds until the deadline; null without one. */
  readonly remainingMs: number | null;
  /** Keys and values that can be reused, and the group they are of. */
  readonly cached?: { readonly kvGroup: number; readonly tokens: number } | undefined;
}

export interface PolicyState {
  readonly pressure: Pressure;
  readonly ladder: Ladder;
  readonly timings: Pick<Timings, 'estimate'>;
  /** What the last job had to make do with because of its deadline; null when it had not. */
  readonly constrained: Constrained | null;
  /** Unix time in milliseconds. */
  readonly now: number;
}

export interface Constrained {
  readonly decodeMacs: number;
  readonly imageSize: number;
}

export interface Decision {
  /** What to add to the request; absent members are left as they are. */
  readonly slice?: string;
  readonly tailSlice?: string;
  readonly imageSize?: ImageSize;
  readonly reasons: readonly ChoiceReason[];
  readonly why: string;
  readonly constrained: Constrained | null;
}

const spare = 1.1;
const spareBeyondTheLast = 1.3;

interface Candidate {
  readonly slice: SliceInfo;
  readonly imageSize: ImageSize | undefined;
}

/** What a level makes of a list that is ordered from the best on. */
function at<T>(list: readonly T[], level: number): number {
  return Math.min(list.length - 1, Math.ceil((level / maxLevel) * (list.length - 1)));
}

export function decide(state: PolicyState, job: JobFacts): Decision {
  const { ladder, pressure } = state;
  const { request } = job;
  const freeSlice = request.slice === undefined && !ladder.pinned.slice;
  const freeSize = request.imageSize === undefined && !ladder.pinned.imageSize && ladder.imageSizes.length > 1;
  const top = ladder.slices[0];
  if (top === undefined || (!freeSlice && !freeSize)) return fixed(job);

  const known =
    request.slice === undefined
      ? freeSlice
        ? undefined
        : top
      : ladder.slices.find(({ name }) => name === request.slice);
  const start = at(ladder.slices, pressure.level);
  const slices = freeSlice ? fromLadder(state, job, start) : [known ?? top];
  // One size a level: there are three of each.
  const sizes: readonly (ImageSize | undefined)[] = freeSize
    ? ladder.imageSizes.slice(Math.min(pressure.level, ladder.imageSizes.length - 1))
    : [request.imageSize ?? ladder.imageSizes[0]];
  const first: Candidate = { slice: slices[0] ?? top, imageSize: sizes[0] };
  // The time of a slice that is none of ours cannot be told.
  const judged = freeSlice || known !== undefined;
  const { chosen, late } = judged ? inTime(state, job, first, slices, sizes) : { chosen: first, late: false };

  const reasons: ChoiceReason[] = [];
  const texts: string[] = [];
  const pictures = freeSize && job.images > 0;
  const shrunk = (freeSlice && first.slice !== top) || (pictures && first.imageSize !== ladder.imageSizes[0]);
  if (request.slice !== undefined || request.imageSize !== undefined) {
    reasons.push('request');
    texts.push(`the request names ${request.slice === undefined ? 'the picture size' : 'the slice'}`);
  } else if (!freeSlice) {
    reasons.push('pinned');
    texts.push('the slice is pinned');
  }
  if (shrunk) {
    reasons.push(...pressure.reasons);
    texts.push(...pressure.texts);
  }
  if (freeSlice && ladder.slices[start] !== first.slice) {
    reasons.push('cache');
    texts.push(`${job.cached?.tokens} cached tokens make ${first.slice.name} the least work`);
  }
  const constrained = chosen !== first;
  if (constrained || late) {
    reasons.push('deadline');
    texts.push(
      late
        ? `nothing is fast enough for ${job.remainingMs} ms`
        : `${describe(first, job)} would not be done in ${job.remainingMs} ms`,
    );
  }
  const tail = freeSlice && request.tailSlice === undefined ? tailOf(ladder, chosen.slice) : undefined;
  return {
    ...(freeSlice && { slice: chosen.slice.name }),
    ...(tail !== undefined && { tailSlice: tail.name }),
    ...(pictures && chosen.imageSize !== undefined && { imageSize: chosen.imageSize }),
    reasons: reasons.length === 0 ? ['nominal'] : reasons,
    why: texts.length === 0 ? 'nothing speaks against it' : texts.join('; '),
    constrained: constrained ? { decodeMacs: chosen.slice.decodeMacs, imageSize: chosen.imageSize ?? 0 } : null,
  };
}

/** Nothing is left to choose. */
function fixed({ request }: JobFacts): Decision {
  const asked = request.slice !== undefined || request.imageSize !== undefined;
  return asked
    ? { reasons: ['request'], why: 'the request names it', constrained: null }
    : { reasons: ['pinned'], why: 'there is nothing to choose from', constrained: null };
}

function describe({ slice, imageSize }: Candidate, job: JobFacts): string {
  return job.images > 0 && imageSize !== undefined ? `${slice.name} at ${imageSize} px` : slice.name;
}

/** The slices a job may get, the one to prefer first. */
function fromLadder({ ladder }: PolicyState, job: JobFacts, start: number): readonly SliceInfo[] {
  const below = ladder.slices.slice(start);
  const target = below[0];
  const { cached } = job;
  if (cached === undefined || target === undefined) return below;
  const group = groupOf(ladder, cached.kvGroup);
  const reuse = group.find(({ decodeMacs }) => decodeMacs <= target.decodeMacs) ?? group.at(-1);
  if (reuse === undefined || start === 0 || target.kvGroup === cached.kvGroup) {
    return [...below, ...group.filter((slice) => slice.decodeMacs < target.decodeMacs && !below.includes(slice))];
  }
  const rest = below.filter((slice) => slice !== reuse);
  return workOf(reuse, job) <= workOf(target, job)
    ? [reuse, ...rest]
    : [...below, ...(below.includes(reuse) ? [] : [reuse])];
}

/** From the most work to the least. */
function groupOf({ slices, tails }: Ladder, kvGroup: number): SliceInfo[] {
  return [...slices, ...tails].filter((slice) => slice.kvGroup === kvGroup).sort((a, b) => b.decodeMacs - a.decodeMacs);
}

/** Multiply-adds of the whole job. */
function workOf(slice: SliceInfo, { promptTokens, expectedTokens, cached }: JobFacts): number {
  const reused = cached?.kvGroup === slice.kvGroup ? cached.tokens : 0;
  return Math.max(0, promptTokens - reused) * slice.prefillMacs + expectedTokens * slice.decodeMacs;
}

/** The first choice if it will be done in time, else the least loss that will. */
function inTime(
  { ladder, timings, constrained, now }: PolicyState,
  job: JobFacts,
  first: Candidate,
  slices: readonly SliceInfo[],
  sizes: readonly (ImageSize | undefined)[],
): { readonly chosen: Candidate; readonly late: boolean } {
  const { remainingMs, cached } = job;
  if (remainingMs === null) return { chosen: first, late: false };
  const estimate = ({ slice, imageSize }: Candidate): number | null =>
    timings.estimate(slice, imageSize ?? 0, job, cached?.kvGroup === slice.kvGroup ? cached.tokens : 0, now);
  if (estimate(first) === null) return { chosen: first, late: false };
  const fits = (candidate: Candidate): boolean => {
    const larger =
      constrained !== null &&
      (candidate.slice.decodeMacs > constrained.decodeMacs ||
        (job.images > 0 && (candidate.imageSize ?? 0) > constrained.imageSize));
    const ms = estimate(candidate);
    return ms !== null && ms * (larger ? spareBeyondTheLast : spare) <= remainingMs;
  };
  if (fits(first)) return { chosen: first, late: false };
  const others = slices.flatMap((slice) =>
    (job.images > 0 ? sizes : [first.imageSize]).map((imageSize): Candidate => ({ slice, imageSize })),
  );
  const lossOf = lossIn(ladder);
  const candidates = others.sort((a, b) => lossOf(a) - lossOf(b));
  const chosen = candidates.find(fits);
  if (chosen !== undefined) return { chosen, late: false };
  const fastest = candidates.reduce((best, other) =>
    (estimate(other) ?? Number.POSITIVE_INFINITY) < (estimate(best) ?? Number.POSITIVE_INFINITY) ? other : best,
  );
  return { chosen: fastest, late: true };
}

/** From 0 for the best there is to 2 for the smallest slice with the smallest picture. */
function lossIn({ slices, tails, imageSizes }: Ladder): (candidate: Candidate) => number {
  const macs = [...slices, ...tails].map(({ decodeMacs }) => decodeMacs);
  const most = Math.max(...macs);
  const range = most - Math.min(...macs) || 1;
  return ({ slice, imageSize }) => {
    const size = imageSize === undefined ? 0 : imageSizes.indexOf(imageSize) / Math.max(1, imageSizes.length - 1);
    return (most - slice.decodeMacs) / range + Math.max(0, size);
  };
}

/** Worth a change only when it saves something. */
function tailOf(ladder: Ladder, slice: SliceInfo): SliceInfo | undefined {
  const smallest = groupOf(ladder, slice.kvGroup).at(-1);
  return smallest !== undefined && smallest.decodeMacs < slice.decodeMacs ? smallest : undefined;
}
