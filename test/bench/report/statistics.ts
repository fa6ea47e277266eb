/** What repeated measurements come to. */

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly runs: number;
}

/** Of an even number of values, the mean of the two in the middle; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return NaN;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

export function summarise(values: readonly number[]): Summary {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), runs: values.length };
}

/** Each of `sides` once a run, one after the other: A B A B. Samples by side. */
export async function interleave(
  runs: number,
  sides: readonly ((run: number) => Promise<number>)[],
): Promise<readonly number[][]> {
  const samples: number[][] = sides.map(() => []);
  for (let run = 0; run < runs; run++) {
    for (const [i, side] of sides.entries()) samples[i]?.push(await side(run));
  }
  return samples;
}
