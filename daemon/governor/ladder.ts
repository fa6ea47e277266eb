/**
 * What the governor may choose from, best first: the slices of the model and the picture sizes, within what the
 * configuration allows.
 */
import { HearthError } from '../errors';
import type { ModelInfo, SliceInfo } from '../inference/types';

export interface Bounds {
  /** The only slices to choose from; null: those the model's family was trained at, and the one that was loaded alone. */
  readonly slices: readonly string[] | null;
  readonly largestSlice: string | null;
  readonly smallestSlice: string | null;
  readonly smallestImageSize: number;
  /** What the configuration names is not chosen any more. */
  readonly slice: string | null;
  readonly imageSize: number | null;
}

export interface Ladder {
  /** What a job may run on, from the most work to the least; empty where the configuration names one without a cost. */
  readonly slices: readonly SliceInfo[];
  /** What a job may change to in the middle of its reply, beside `slices`. */
  readonly tails: readonly SliceInfo[];
  /** From the largest to the smallest; empty without a vision encoder. */
  readonly imageSizes: readonly ImageSize[];
  readonly pinned: { readonly slice: boolean; readonly imageSize: boolean };
}

export type ImageSize = 256 | 512 | 768;

export const isTail = ({ name }: SliceInfo): boolean => name.endsWith('-tail');

/** Throws `CONFIG_INVALID` for a slice the model does not have and for bounds that leave nothing. */
export function ladderOf(info: ModelInfo, bounds: Bounds): Ladder {
  const named = (option: string, name: string): SliceInfo => {
    const found = info.sliceInfos.find((slice) => slice.name === name);
    if (found !== undefined) return found;
    throw new HearthError(
      'CONFIG_INVALID',
      `${option}: expected one of ${info.sliceInfos.map((slice) => slice.name).join(', ')}, received "${name.slice(0, 64)}"`,
    );
  };
  const pinned = { slice: bounds.slice !== null, imageSize: bounds.imageSize !== null };
  const imageSizes = imageSizesOf(info, bounds);
  // The runtime also takes names that are not listed, such as `e2b-tail`; what they cost is not known then.
  if (bounds.slice !== null) {
    const only = info.sliceInfos.find((slice) => slice.name === bounds.slice);
    return { slices: only === undefined ? [] : [only], tails: [], imageSizes, pinned };
  }
  const most = bounds.largestSlice === null ? undefined : named('governor.largestSlice', bounds.largestSlice);
  const least = bounds.smallestSlice === null ? undefined : named('governor.smallestSlice', bounds.smallestSlice);
  const listed =
    bounds.slices === null
      ? info.sliceInfos.filter(({ name, published }) => published || name === info.loadedSlice)
      : bounds.slices.map((name) => named('governor.slices', name));
  const allowed = listed
    .filter(({ decodeMacs }) => decodeMacs <= (most?.decodeMacs ?? Number.POSITIVE_INFINITY))
    .filter(({ decodeMacs }) => decodeMacs >= (least?.decodeMacs ?? 0))
    .filter((slice, index, all) => all.findIndex((other) => same(slice, other)) === index)
    .sort((a, b) => b.decodeMacs - a.decodeMacs || b.prefillMacs - a.prefillMacs);
  // A tail that was loaded alone is all there is to begin with.
  const isBeginning = (slice: SliceInfo): boolean => !isTail(slice) || slice.name === info.loadedSlice;
  const slices = allowed.filter(isBeginning);
  if (slices.length === 0) {
    throw new HearthError(
      'CONFIG_INVALID',
      `governor: expected slices, largestSlice and smallestSlice to leave a slice that is no tail, received ${listed.map(({ name }) => name).join(', ') || 'none'} between ${most?.name ?? 'any'} and ${least?.name ?? 'any'}`,
    );
  }
  return { slices, tails: allowed.filter((slice) => !isBeginning(slice)), imageSizes, pinned };
}

/** The same layers by two names: `full` is `e4b` of an E4B file. */
function same(a: SliceInfo, b: SliceInfo): boolean {
  return a.kvGroup === b.kvGroup && a.decodeMacs === b.decodeMacs;
}

function imageSizesOf(info: ModelInfo, { imageSize, smallestImageSize }: Bounds): ImageSize[] {
  const largest = imageSize ?? info.imageSize;
  const smallest = imageSize ?? Math.min(smallestImageSize, largest);
  return info.imageSizes.filter((size): size is ImageSize => size <= largest && size >= smallest).sort((a, b) => b - a);
}
