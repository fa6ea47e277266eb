/**
 * Rounding, bit for bit against `blocks.golden.gguf`: numbers, and what the gguf package 0.19 for Python (the reference
 * quantisers, in numpy) and numpy's own float16 made of them.
 */
import { blockFormats, encodedBytes, type WeightType } from '../../../daemon/models/convert/block-formats';
import { f16ToFloat32, fromFloat16, largestMagnitude } from '../../../daemon/models/convert/float-formats';
import { floats, type ReadTensor, readGguf } from '../../helpers/gguf-reader';

const golden = readGguf('test/fixtures/models/blocks.golden.gguf').tensors;
const tensor = (name: string): ReadTensor => golden.get(name) as ReadTensor;

function encode(type: WeightType, values: Float32Array): Buffer {
  const bytes = Buffer.alloc(encodedBytes(blockFormats[type], values.length));
  blockFormats[type].encode(values, bytes);
  return bytes;
}

describe('weight types', () => {
  test.each([
    ['q8_0', 'blocks.f32', 'blocks.q8_0'],
    ['q4_0', 'blocks.f32', 'blocks.q4_0'],
    ['f16', 'floats.f32', 'floats.f16'],
    ['bf16', 'wide.f32', 'wide.bf16'],
    ['f32', 'wide.f32', 'wide.f32'],
  ] as const)('%s of %s is %s', (type, from, expected) => {
    expect(tensor(expected).typeId).toBe(blockFormats[type].id);
    expect(encode(type, floats(tensor(from))).equals(tensor(expected).bytes)).toBe(true);
  });

  test('float16 to float32 gives back every number', () => {
    const every = Uint16Array.from({ length: 0x10000 }, (_, bits) => bits).filter((bits) => (bits & 0x7c00) !== 0x7c00);
    const values = new Float32Array(every.length);
    f16ToFloat32(every, values);
    expect(encode('f16', values).equals(Buffer.from(every.buffer))).toBe(true);
    expect([fromFloat16(0x7c00), fromFloat16(0xfc00), fromFloat16(0x7e00)]).toEqual([Infinity, -Infinity, NaN]);
  });

  test.each(['f16', 'bf16', 'q8_0', 'q4_0'] as const)('%s overflows where it says, and not before', (type) => {
    const { overflow } = blockFormats[type];
    const scaleBits = (value: number): number => {
      const values = new Float32Array(32);
      values[3] = value;
      const bytes = encode(type, values);
      return type === 'f16' || type === 'bf16' ? bytes.readUInt16LE(6) & 0x7fff : bytes.readUInt16LE(0) & 0x7fff;
    };
    const infinite = type === 'bf16' ? 0x7f80 : 0x7c00;
    expect(scaleBits(overflow)).toBe(infinite);
    expect(scaleBits(overflow * (1 - 2 ** -20))).toBe(infinite - 1);
  });

  test('the largest magnitude sees infinities and what is no number', () => {
    expect(largestMagnitude(Float32Array.of(1, -3, 2))).toBe(3);
    expect(largestMagnitude(new Float32Array(4))).toBe(0);
    expect(largestMagnitude(Float32Array.of(1, -Infinity, 2))).toBe(Infinity);
    expect(largestMagnitude(Float32Array.of(1, NaN, Infinity))).toBeNaN();
  });
});
