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
  /** `from` holds whole blocks; writes `from.length / valuesPerBlock * bytesPerBlock` bytes. */
  encode(from: Float32Array, to: Uint8Array): void;
}

const blockValues = 32;

/** d = largest magnitude / 127; q = round half away from zero (x / d). */
function encodeQ8(from: Float32Array, to: Uint8Array): void {
  const bytes = new Int8Array(to.buffer, to.byteOffset, to.byteLength);
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
      const scaled = Math.fround((from[start + i] as number) * inverse);
      bytes[at + 2 + i] = scaled < 0 ? -Math.floor(-scaled + 0.5) : Math.floor(scaled + 0.5);
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
      const low = Math.min(15, Math.trunc(Math.fround(Math.fround((from[start + i] as number) * inverse) + 8.5)));
      const high = Math.min(15, Math.trunc(Math.fround(Math.fround((from[start + half + i] as number) * inverse) + 8.5)));
      to[at + 2 + i] = low | (high << 4);
    }
  }
}

function words(to: Uint8Array, count: number): Uint16Array {
  return new Uint16Array(to.buffer, to.byteOffset, count);
}

export const blockFormats: Readonly<Record<WeightType, BlockFormat>> = {
  f32: { id: 0, valuesPerBlock: 1, bytesPerBlock: 4, encode: (from, to) => new Float32Array(to.buffer, to.byteOffset, from.length).set(from) },
  f16: { id: 1, valuesPerBlock: 1, bytesPerBlock: 2, encode: (from, to) => float32ToF16(from, words(to, from.length)) },
  bf16: { id: 30, valuesPerBlock: 1, bytesPerBlock: 2, encode: (from, to) => float32ToBf16(from, words(to, from.length)) },
  q8_0: { id: 8, valuesPerBlock: blockValues, bytesPerBlock: 34, encode: encodeQ8 },
  q4_0: { id: 2, valuesPerBlock: blockValues, bytesPerBlock: 18, encode: encodeQ4 },
};

export function encodedBytes(format: BlockFormat, values: number): number {
  return (values / format.valuesPerBlock) * format.bytesPerBlock;
}
