/** Moves a tensor's values from the checkpoint into a file, a slab at a time, so that memory does not grow with the model. */
import { HearthError } from '../../errors';
import { blockFormats, encodedBytes } from './block-formats';
import { largestMagnitude } from './float-formats';
import type { GgufWriter } from './gguf-writer';
import type { Plan } from './plan';
import type { Checkpoint, CheckpointTensor } from './safetensors';

/** Values handled at a time, a multiple of every block: 16 MB as float32. */
const slabValues = 4 << 20;

/** Buffers for one slab, used for every slab of a conversion. */
export class Slabs {
  private readonly values = new Float32Array(slabValues);
  private readonly bytes = new Uint8Array(slabValues * 4);

  constructor(private readonly checkpoint: Checkpoint) {}

  /** Encoded bytes of `count` values from `first` on, valid until the next call; zeroes without a tensor. */
  encode(plan: Plan, tensor: CheckpointTensor | undefined, first: number, count: number): Uint8Array {
    const slab = this.values.subarray(0, count);
    const format = blockFormats[plan.type];
    if (tensor === undefined) {
      slab.fill(0);
    } else {
      this.checkpoint.read(tensor, first, slab);
      const largest = largestMagnitude(slab);
      if (!Number.isFinite(largest))
        throw new HearthError('CHECKPOINT_MALFORMED', `tensor ${tensor.name} has values that are no finite numbers`);
      if (largest >= format.overflow) {
        throw new HearthError(
          'CHECKPOINT_UNSUPPORTED',
          `tensor ${tensor.name}: expected values below ${format.overflow} for ${plan.type}, found ${largest}; take another type`,
        );
      }
    }
    const to = this.bytes.subarray(0, encodedBytes(format, count));
    format.encode(slab, to);
    return to;
  }
}

/** Rows never straddle a block, so slabs may be cut anywhere on one. */
export async function writePlan(
  slabs: Slabs,
  plan: Plan,
  writer: GgufWriter,
  onValues: (count: number) => Promise<void>,
): Promise<void> {
  const put = async (tensor: CheckpointTensor | undefined, values: number): Promise<void> => {
    for (let first = 0; first < values; first += slabValues) {
      const count = Math.min(slabValues, values - first);
      writer.write(slabs.encode(plan, tensor, first, count));
      await onValues(count);
    }
  };
  for (const source of plan.sources) await put(source, source.values);
  await put(undefined, plan.padValues);
}
