/**
 * Noise in the formats of weights, a slab at a time. The codes of a block come straight out of a cipher's key stream
 * (AES in counter mode: repeatable, and several gigabytes a second), every block of a tensor has the same scale. A
 * product with rows like these is Gaussian, so a sparse layer keeps the share of its gates it is meant to keep.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { blockFormats, encodedBytes } from '../../../daemon/models/convert/block-formats';
import { toFloat16 } from '../../../daemon/models/convert/float-formats';
import type { NoiseType } from './layout';

/** Values handled at a time, a multiple of every block. */
export const slabValues = 16 << 20;
const blockValues = 32;
/** What the codes of a block deviate by: uniform over -8..7, and over -127..127. */
const codeDeviation = { q4_0: Math.sqrt((16 ** 2 - 1) / 12), q8_0: Math.sqrt((255 ** 2 - 1) / 12) } as const;

const zeroes = new Uint8Array(encodedBytes(blockFormats.q8_0, slabValues));

/** One tensor's noise; the same for the same seed and name. */
export class Noise {
  private readonly stream;

  constructor(
    seed: string,
    name: string,
    private readonly type: NoiseType,
    private readonly std: number | undefined,
  ) {
    const digest = createHash('sha256').update(`${seed}/${name}`).digest();
    this.stream = createCipheriv('aes-128-ctr', digest.subarray(0, 16), digest.subarray(16, 32));
  }

  /** The next `values` values, whole blocks and at most a slab. */
  next(values: number): Uint8Array {
    if (this.type === 'f32') return this.floats(values);
    const bytes = this.random(encodedBytes(blockFormats[this.type], values));
    const scale = toFloat16((this.std ?? 1) / codeDeviation[this.type]);
    const { bytesPerBlock } = blockFormats[this.type];
    for (let at = 0; at < bytes.length; at += bytesPerBlock) {
      bytes[at] = scale & 255;
      bytes[at + 1] = scale >>> 8;
    }
    if (this.type === 'q8_0') withoutMinus128(bytes);
    return bytes;
  }

  private random(count: number): Uint8Array {
    return this.stream.update(zeroes.subarray(0, count));
  }

  /** Sums of the 12 bytes of a uniform distribution's Irwin-Hall: near enough to a normal one. */
  private floats(values: number): Uint8Array {
    const out = new Float32Array(values);
    if (this.std === undefined) {
      out.fill(1);
    } else {
      const bytes = this.random(values * 12);
      const step = this.std / Math.sqrt(256 ** 2 - 1);
      for (let i = 0; i < values; i++) {
        let sum = -12 * 127.5;
        for (let j = 0; j < 12; j++) sum += bytes[i * 12 + j] as number;
        out[i] = sum * step;
      }
    }
    return new Uint8Array(out.buffer);
  }
}

/** No quantiser writes this code, and not every kernel can multiply by it. */
function withoutMinus128(blocks: Uint8Array): void {
  for (let at = 0; at < blocks.length; at += 2 + blockValues) {
    for (let i = at + 2; i < at + 2 + blockValues; i++) if (blocks[i] === 0x80) blocks[i] = 0;
  }
}
