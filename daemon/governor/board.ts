/** Everything the board says about itself, at one time. */
import type { BoardRoots } from './files';
import { type Memory, readMemory } from './memory';
import { readThermal, type Thermal } from './thermal';
import { type Frequency, readFrequency, readThrottling, type Throttling } from './throttling';

export interface Board extends Thermal {
  readonly throttled: Throttling | null;
  readonly frequency: Frequency | null;
  readonly memory: Memory;
}

/** Never rejects: what cannot be read is null or NaN. */
export async function readBoard(roots: BoardRoots): Promise<Board> {
  const [thermal, throttled, frequency, memory] = await Promise.all([
    readThermal(roots.sys),
    readThrottling(roots),
    readFrequency(roots.sys),
    readMemory(roots),
  ]);
  return { ...thermal, throttled, frequency, memory };
}
