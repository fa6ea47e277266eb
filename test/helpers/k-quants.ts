/**
 * The block types of llama.cpp's files, written and read a second time: the tests compare the runtime with this. Layouts:
 * `addon/gguf/block_types.h`; what is read here is held to the gguf package by `quantised.test.ts`. What is written is no
 * good quantisation, only a valid one.
 */
import { fromFloat16, toFloat16 } from '../../daemon/models/convert/float-formats';

/** In Jest every mention of a global is a look-up that takes a microsecond. */
const { abs, max: greatest, min: least, round } = Math;

interface BlockFormat {
  readonly id: number;
  readonly values: number;
  readonly bytes: number;
  read(block: DataView, out: Float32Array): void;
  write(values: Float32Array, block: DataView): void;
}

const half = (block: DataView, at: number): number => fromFloat16(block.getUint16(at, true));
const setHalf = (block: DataView, at: number, value: number): number => {
  block.setUint16(at, toFloat16(value), true);
  return half(block, at);
};
const bits = (block: DataView, at: number, first: number, count: number): number =>
  (block.getUint8(at) >> first) & ((1 << count) - 1);
const setBits = (block: DataView, at: number, first: number, value: number): void =>
  block.setUint8(at, block.getUint8(at) | (value << first));
const code = (value: number, step: number, max: number): number =>
  step === 0 ? 0 : least(max, greatest(0, round(value / step)));

/** Blocks of 32: a scale, perhaps an offset, perhaps fifth bits, then nibbles. */
function smallBlocks(id: number, codeBits: 4 | 5, offset: boolean): BlockFormat {
  const highAt = offset ? 4 : 2;
  const nibblesAt = highAt + (codeBits === 5 ? 4 : 0);
  const bias = offset ? 0 : 2 ** (codeBits - 1);
  const max = 2 ** codeBits - 1;
  return {
    id,
    values: 32,
    bytes: nibblesAt + 16,
    read(block, out) {
      const d = half(block, 0);
      const m = offset ? half(block, 2) : 0;
      for (let i = 0; i < 32; i++) {
        const low = bits(block, nibblesAt + (i % 16), i < 16 ? 0 : 4, 4);
        const high = codeBits === 5 ? bits(block, highAt + (i >> 3), i % 8, 1) : 0;
        const scaled = d * (low + 16 * high - bias);
        out[i] = offset ? scaled + m : scaled; // not + 0: a zero keeps its sign
      }
    },
    write(values, block) {
      const lowest = least(...values);
      const largest = greatest(...values.map(abs));
      const step = setHalf(block, 0, offset ? (greatest(...values) - lowest) / max : largest / (bias - 1));
      const base = offset ? setHalf(block, 2, lowest) : -bias * step;
      values.forEach((value, i) => {
        const c = code(value - base, step, max);
        setBits(block, nibblesAt + (i % 16), i < 16 ? 0 : 4, c & 15);
        if (codeBits === 5) setBits(block, highAt + (i >> 3), i % 8, c >> 4);
      });
    },
  };
}

/** Blocks of 256 in 8 groups of 32 with 6-bit scales and offsets. */
function superBlocks(id: number, codeBits: 4 | 5): BlockFormat {
  const nibblesAt = codeBits === 5 ? 48 : 16;
  const max = 2 ** codeBits - 1;
  const packed = (block: DataView, g: number, which: 0 | 1): number =>
    g < 4
      ? bits(block, 4 + 4 * which + g, 0, 6)
      : bits(block, 8 + g, 4 * which, 4) | (bits(block, 4 * which + g, 6, 2) << 4);
  const pack = (block: DataView, g: number, which: 0 | 1, value: number): void => {
    if (g < 4) setBits(block, 4 + 4 * which + g, 0, value);
    else {
      setBits(block, 8 + g, 4 * which, value & 15);
      setBits(block, 4 * which + g, 6, value >> 4);
    }
  };
  return {
    id,
    values: 256,
    bytes: nibblesAt + 128,
    read(block, out) {
      const d = half(block, 0);
      const dmin = half(block, 2);
      for (let i = 0; i < 256; i++) {
        const g = i >> 5;
        const low = bits(block, nibblesAt + 32 * (g >> 1) + (i % 32), 4 * (g % 2), 4);
        const high = codeBits === 5 ? bits(block, 16 + (i % 32), g, 1) : 0;
        out[i] = d * packed(block, g, 0) * (low + 16 * high) - dmin * packed(block, g, 1);
      }
    },
    write(values, block) {
      const groups = Array.from({ length: 8 }, (_, g) => values.subarray(32 * g, 32 * g + 32));
      const lowest = groups.map((group) => least(0, ...group));
      const steps = groups.map((group, g) => (greatest(...group) - (lowest[g] as number)) / max);
      const d = setHalf(block, 0, greatest(...steps) / 63);
      const dmin = setHalf(block, 2, -least(...lowest) / 63);
      groups.forEach((group, g) => {
        const scale = code(steps[g] as number, d, 63);
        const offset = code(-(lowest[g] as number), dmin, 63);
        pack(block, g, 0, scale);
        pack(block, g, 1, offset);
        group.forEach((value, i) => {
          const c = code(value + dmin * offset, d * scale, max);
          setBits(block, nibblesAt + 32 * (g >> 1) + i, 4 * (g % 2), c & 15);
          if (codeBits === 5) setBits(block, 16 + i, g, c >> 4);
        });
      });
    },
  };
}

/** Blocks of 256 in 16 groups of 16 with signed scales. */
const q6: BlockFormat = {
  id: 14,
  values: 256,
  bytes: 210,
  read(block, out) {
    const d = half(block, 208);
    for (let i = 0; i < 256; i++) {
      const h = i >> 7;
      const k = (i >> 5) % 4;
      const j = i % 32;
      const low = bits(block, 64 * h + (i % 64), k < 2 ? 0 : 4, 4);
      const high = bits(block, 128 + 32 * h + j, 2 * k, 2);
      out[i] = d * block.getInt8(192 + (i >> 4)) * (low + 16 * high - 32);
    }
  },
  write(values, block) {
    const largest = (group: Float32Array): number => greatest(...group.map(abs));
    const d = setHalf(block, 208, largest(values) / 31 / 127);
    for (let g = 0; g < 16; g++) {
      const group = values.subarray(16 * g, 16 * g + 16);
      // Every other scale is negative: then the codes run the other way.
      const scale = code(largest(group) / 31, d, 127) * (g % 2 === 0 ? 1 : -1);
      block.setInt8(192 + g, scale);
      group.forEach((value, at) => {
        const i = 16 * g + at;
        const c = scale === 0 ? 32 : least(63, greatest(0, round(value / (d * scale)) + 32));
        setBits(block, 64 * (i >> 7) + (i % 64), (i >> 5) % 4 < 2 ? 0 : 4, c & 15);
        setBits(block, 128 + 32 * (i >> 7) + (i % 32), 2 * ((i >> 5) % 4), c >> 4);
      });
    }
  },
};

export const kQuants = {
  q4_1: smallBlocks(3, 4, true),
  q5_0: smallBlocks(6, 5, false),
  q5_1: smallBlocks(7, 5, true),
  q4_k: superBlocks(12, 4),
  q5_k: superBlocks(13, 5),
  q6_k: q6,
} as const;
export type KQuant = keyof typeof kQuants;

/** The values of a tensor of one of these types, by its id; undefined for another. */
export function decodeTensor(typeId: number, bytes: Uint8Array): Float32Array | undefined {
  const format = Object.values(kQuants).find(({ id }) => id === typeId);
  if (format === undefined) return undefined;
  const blocks = bytes.length / format.bytes;
  const values = new Float32Array(blocks * format.values);
  for (let b = 0; b < blocks; b++) {
    const block = new DataView(bytes.buffer, bytes.byteOffset + b * format.bytes, format.bytes);
    format.read(block, values.subarray(b * format.values, (b + 1) * format.values));
  }
  return values;
}

export function encodeTensor(type: KQuant, values: Float32Array): Uint8Array {
  const format = kQuants[type];
  const blocks = values.length / format.values;
  const bytes = new Uint8Array(blocks * format.bytes);
  for (let b = 0; b < blocks; b++) {
    const block = new DataView(bytes.buffer, b * format.bytes, format.bytes);
    format.write(values.subarray(b * format.values, (b + 1) * format.values), block);
  }
  return bytes;
}
