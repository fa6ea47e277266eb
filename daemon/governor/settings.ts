/** The configuration, as the governor reads it. */
import type { Config } from '../config';
import type { GovernorSettings } from './governor';

export function governorSettings({ governor, model }: Pick<Config, 'governor' | 'model'>): GovernorSettings {
  const { enabled, slices, largestSlice, smallestSlice, smallestImageSize, warmC, hotC } = governor;
  return {
    enabled,
    bounds: { slices, largestSlice, smallestSlice, smallestImageSize, slice: model.slice, imageSize: model.imageSize },
    warmC,
    hotC,
    memoryReserveBytes: governor.memoryReserve,
    holdMs: governor.holdSeconds * 1000,
  };
}
