/** Has the scene changed? Compared on a small grid of mean luma, which sensor noise and JPEG artefacts hardly move. */
import type { RgbImage } from '../inference/types';

/** Cells of a row, and rows. */
export const thumbnailSide = 32;

export interface Thumbnail {
  readonly width: number;
  readonly height: number;
  /** `thumbnailSide` x `thumbnailSide` means of luma, 0..255. */
  readonly luma: Float32Array;
}

export function thumbnailOf({ width, height, data }: RgbImage): Thumbnail {
  const sums = new Float64Array(thumbnailSide ** 2);
  const counts = new Uint32Array(thumbnailSide ** 2);
  // About 64k samples tell as much as all pixels do.
  const step = Math.max(1, Math.floor(Math.sqrt((width * height) / 65_536)));
  for (let y = 0; y < height; y += step) {
    const row = Math.floor((y * thumbnailSide) / height) * thumbnailSide;
    for (let x = 0; x < width; x += step) {
      const cell = row + Math.floor((x * thumbnailSide) / width);
      const at = 3 * (y * width + x);
      // ITU-R BT.601 luma.
      const luma = 0.299 * (data[at] ?? 0) + 0.587 * (data[at + 1] ?? 0) + 0.114 * (data[at + 2] ?? 0);
      sums[cell] = (sums[cell] ?? 0) + luma;
      counts[cell] = (counts[cell] ?? 0) + 1;
    }
  }
  return { width, height, luma: Float32Array.from(sums, (sum, i) => sum / Math.max(1, counts[i] ?? 0)) };
}

const allCells = Array.from({ length: thumbnailSide ** 2 }, (_cell, i) => i);

/** Mean absolute difference of luma over some cells, 0..255; 0 over none, infinite for pictures of different sizes. */
export function difference(a: Thumbnail, b: Thumbnail, cells: readonly number[] = allCells): number {
  if (a.width !== b.width || a.height !== b.height) return Number.POSITIVE_INFINITY;
  let sum = 0;
  for (const i of cells) sum += Math.abs((a.luma[i] ?? 0) - (b.luma[i] ?? 0));
  return sum / Math.max(1, cells.length);
}
