/** How far two sets of logits are from each other, one row a position. */
import { klDivergence, maxDifference } from '../../helpers/golden';
import type { ParityFigure } from '../report/result';

function topOf(row: Float32Array): number {
  return row.reduce((best, value, i) => (value > (row[best] as number) ? i : best), 0);
}

export function compareLogits(
  what: string,
  against: string,
  ours: readonly Float32Array[],
  theirs: readonly Float32Array[],
): ParityFigure {
  if (ours.length !== theirs.length || ours.length === 0)
    throw new Error(`${what}: ${ours.length} rows of logits against ${theirs.length}`);
  const pairs = ours.map((row, i) => [row, theirs[i] as Float32Array] as const);
  return {
    what,
    against,
    positions: pairs.length,
    maxLogitDifference: Math.max(...pairs.map(([a, b]) => maxDifference(a, b))),
    meanKl: pairs.reduce((sum, [a, b]) => sum + klDivergence(b, a), 0) / pairs.length,
    top1Equal: pairs.filter(([a, b]) => topOf(a) === topOf(b)).length,
  };
}

/** Rows of one long array. */
export function rowsOf(values: Float32Array, count: number): Float32Array[] {
  const width = values.length / count;
  return Array.from({ length: count }, (_, i) => values.subarray(i * width, (i + 1) * width));
}
