/**
 * The tensor types the converter writes, bit for bit as ggml's reference quantisers round them. Block layouts are
 * described in addon/gguf/block_types.h.
 */
import { float32ToBf16, float32ToF16, toFloat16 } from './float-formats';

export const weightTypes = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0'] as const;
export type WeightType = (typeof weightTypes)[number];

export interface BlockFormat {
  /** The type's number in a GGUF file. */
  readonly id: number;
  readonly valuesPerBlock: number;
  readonly bytesPerBlock: number;
  /** Numbers of this magnitude and above become infinite. */
  readonly overflow: number;
  /** `from` holds whole blocks of finite values; writes `from.length / valuesPerBlock * bytesPerBlock` bytes. */
  encode(from: Float32Array, to: Uint8Array): void;
}

const blockValues = 32;
/** The smallest number that rounds to an infinite float16. */
const float16Overflow = 65_520;

/** d = largest magnitude / 127; q = round half away from zero (x / d). */
function encodeQ8(from: Float32Array, to: Uint8Array): void {
  const bytes = new Int8Array(to.buffer, to.byteOffset, to.byteLength);
  const words = new Int32Array(from.buffer, from.byteOffset, from.length);
  for (let start = 0, at = 0; start < from.length; start += blockValues, at += 34) {
    let largest = 0;
    for (let i = start; i < start + blockValues; i++) {
      const magnitude = Math.abs(from[i] as number);
      if (magnitude > largest) largest = magnitude;
    }
    const scale = Math.fround(largest / 127);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    const half = toFloat16(scale);
    bytes[at] = half & 255;
    bytes[at + 1] = half >>> 8;
    for (let i = 0; i < blockValues; i++) {
      // 0.5 with the value's sign, without a branch that no processor can predict. A float32 plus a half is exact in
      // float64; the conversion to int32 then cuts towards zero.
      const away = 0.5 + ((words[start + i] as number) >> 31);
      bytes[at + 2 + i] = (Math.fround((from[start + i] as number) * inverse) + away) | 0;
    }
  }
}

/** d = the value of largest magnitude / -8; code = min(15, floor(x / d + 8.5)). */
function encodeQ4(from: Float32Array, to: Uint8Array): void {
  const half = blockValues / 2;
  for (let start = 0, at = 0; start < from.length; start += blockValues, at += 18) {
    let largest = 0;
    let extreme = 0;
    for (let i = start; i < start + blockValues; i++) {
      const v = from[i] as number;
      const magnitude = Math.abs(v);
      if (magnitude > largest) {
        largest = magnitude;
        extreme = v;
      }
    }
    const scale = Math.fround(extreme / -8);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    const bits = toFloat16(scale);
    to[at] = bits & 255;
    to[at + 1] = bits >>> 8;
    for (let i = 0; i < half; i++) {
      const low = Math.min(15, Math.fround(Math.fround((from[start + i] as number) * inverse) + 8.5) | 0);
      const high = Math.min(15, Math.fround(Math.fround((from[start + half + i] as number) * inverse) + 8.5) | 0);
      to[at + 2 + i] = low | (high << 4);
    }
  }
}

function words(to: Uint8Array, count: number): Uint16Array {
  return new Uint16Array(to.buffer, to.byteOffset, count);
}

export const blockFormats: Readonly<Record<WeightType, BlockFormat>> = {
  f32: {
    id: 0,
    valuesPerBlock: 1,
    bytesPerBlock: 4,
    overflow: Infinity,
    encode: (from, to) => new Float32Array(to.buffer, to.byteOffset, from.length).set(from),
  },
  f16: {
    id: 1,
    valuesPerBlock: 1,
    bytesPerBlock: 2,
    overflow: float16Overflow,
    encode: (from, to) => float32ToF16(from, words(to, from.length)),
  },
  bf16: {
    id: 30,
    valuesPerBlock: 1,
    bytesPerBlock: 2,
    overflow: (2 - 2 ** -8) * 2 ** 127,
    encode: (from, to) => float32ToBf16(from, words(to, from.length)),
  },
  q8_0: {
    id: 8,
    valuesPerBlock: blockValues,
    bytesPerBlock: 34,
    overflow: float16Overflow * 127,
    encode: encodeQ8,
  },
  q4_0: {
    id: 2,
    valuesPerBlock: blockValues,
    bytesPerBlock: 18,
    overflow: float16Overflow * 8,
    encode: encodeQ4,
  },
};

export function encodedBytes(format: BlockFormat, values: number): number {
  return (values / format.valuesPerBlock) * format.bytesPerBlock;
}
