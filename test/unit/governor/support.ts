/** Models as the governor sees them. */

import { model as plain } from '@hearth/testkit';
import type { Bounds } from '../../../daemon/governor/ladder';
import type { ModelInfo, SliceInfo } from '../../../daemon/inference/types';

const slice = (
  name: string,
  decodeMacs: number,
  prefillMacs: number,
  kvGroup: number,
  published = true,
): SliceInfo => ({
  name,
  decodeMacs,
  prefillMacs,
  kvGroup,
  published,
});

function withSlices(sliceInfos: readonly SliceInfo[]): ModelInfo {
  const slices = sliceInfos.map(({ name }) => name);
  return { ...plain, sliceInfos, slices, imageSizes: [256, 512, 768], imageSize: 768 };
}

/** Some of the slices of an E4B file; work in units that are easy to reckon with. */
export const e4b = withSlices([
  slice('full', 40, 20, 0),
  slice('half', 24, 12, 1, false),
  slice('e4b', 40, 20, 0),
  slice('e3.39b', 34, 17, 4),
  slice('e3.18b', 32, 17, 4),
  slice('e2.54b', 26, 14, 6),
  slice('e2b', 20, 12, 1),
  slice('full-tail', 28, 20, 0),
]);

/** A model of another shape. */
export const small = withSlices([
  slice('full', 40, 20, 0),
  slice('half', 24, 12, 1, false),
  slice('full-tail', 30, 20, 0, false),
]);

export const noBounds: Bounds = {
  slices: null,
  largestSlice: null,
  smallestSlice: null,
  smallestImageSize: 256,
  slice: null,
  imageSize: null,
};
