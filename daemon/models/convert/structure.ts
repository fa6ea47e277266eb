/**
 * Holds a checkpoint's tensors to the shapes its configuration calls for, before a byte is written. Shapes are written
 * as patterns, slowest dimension first: a number must be met, a name stands for the same number wherever it occurs.
 */
import { HearthError } from '../../errors';
import { shown } from './checkpoint-files';

/** A tensor of the files, as the checkpoint has it. */
export interface Part {
  /** Its name in the checkpoint, for messages. */
  readonly source: string;
  readonly shape: readonly number[];
}

export type Pattern = readonly (number | string)[];

/** Parts by GGUF name; each may be claimed once, and in the end none may be left. */
export class Structure {
  private readonly left: Map<string, Part>;

  constructor(parts: ReadonlyMap<string, Part>) {
    this.left = new Map(parts);
  }

  has(name: string): boolean {
    return this.left.has(name);
  }

  /** Names found for the pattern's names join `sizes`. Throws `CHECKPOINT_INCOMPLETE` or `CHECKPOINT_MALFORMED`. */
  claim(name: string, pattern: Pattern, sizes: Map<string, number> = new Map()): void {
    const part = this.left.get(name);
    if (part === undefined)
      throw new HearthError('CHECKPOINT_INCOMPLETE', `expected a tensor for ${name}, the checkpoint has none`);
    this.left.delete(name);
    const expected = pattern.map((size) => (typeof size === 'number' ? size : (sizes.get(size) ?? 'any')));
    if (
      part.shape.length !== pattern.length ||
      part.shape.some((size, i) => size < 1 || (expected[i] !== 'any' && expected[i] !== size))
    ) {
      throw new HearthError(
        'CHECKPOINT_MALFORMED',
        `tensor ${shown(part.source)}: expected shape [${expected.join(', ')}], found [${part.shape.join(', ')}]`,
      );
    }
    pattern.forEach((size, i) => {
      if (typeof size === 'string') sizes.set(size, part.shape[i] as number);
    });
  }

  /** Throws `CHECKPOINT_MALFORMED` for a tensor nothing of the model is made of. */
  finish(): void {
    const [first] = this.left.values();
    if (first !== undefined) {
      throw new HearthError(
        'CHECKPOINT_MALFORMED',
        `tensor ${shown(first.source)} is no part of the model that config.json describes${this.left.size > 1 ? `, nor are ${this.left.size - 1} others` : ''}`,
      );
    }
  }
}
