/**
 * Quantised files, against the float32 run of the very same (dequantised) weights: what differs is how the kernels
 * compute, not what quantising costs.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NativeEngine } from '../../daemon/inference/native';
import { blockFormats, encodedBytes } from '../../daemon/models/convert/block-formats';
import { convertCheckpoint } from '../../daemon/models/convert/convert';
import { fromFloat16 } from '../../daemon/models/convert/float-formats';
import { mapTensor } from '../../daemon/models/convert/names';
import { randomCheckpoint, type TestTensor, writeSafetensors } from '../helpers/checkpoint';
import { klDivergence } from '../helpers/golden';
import { logitsOfEach } from '../helpers/native';

function decodeBlocks(type: 'q8_0' | 'q4_0', bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { bytesPerBlock } = blockFormats[type];
  const values = new Float32Array((bytes.length / bytesPerBlock) * 32);
  for (let block = 0; block < bytes.length / bytesPerBlock; block++) {
    const at = block * bytesPerBlock;
    const scale = fromFloat16(view.getUint16(at, true));
    for (let i = 0; i < 32; i++) {
      const code =
        type === 'q8_0' ? view.getInt8(at + 2 + i) : ((view.getUint8(at + 2 + (i % 16)) >> (i < 16 ? 0 : 4)) & 15) - 8;
      values[block * 32 + i] = scale * code;
    }
  }
  return values;
}

/** The tensor as a file of that type would hold it. */
function roundTrip(tensor: TestTensor, type: 'q8_0' | 'q4_0'): TestTensor {
  const mapping = mapTensor(tensor.name);
  const rowValues = tensor.shape.at(-1) ?? 1;
  if (mapping === undefined || mapping.exact === true || rowValues % 32 !== 0) return tensor;
  const bytes = new Uint8Array(encodedBytes(blockFormats[type], tensor.values.length));
  blockFormats[type].encode(tensor.values, bytes);
  return { ...tensor, values: decodeBlocks(type, bytes) };
}

describe('quantised weights', () => {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-quantised-'));
  const ids = Int32Array.from({ length: 50 }, (_, i) => (i === 0 ? 2 : 8 + ((i * 37) % 1000)));

  afterAll(() => rmSync(directory, { recursive: true }));

  for (const type of ['q8_0', 'q4_0'] as const) {
    test(`${type}: mean KL over positions at most 2e-3`, async () => {
      const source = join(directory, `${type}-source`);
      const dequantised = join(directory, `${type}-dequantised`);
      const tensors = randomCheckpoint(source);
      mkdirSync(dequantised);
      for (const file of ['config.json', 'tokenizer.model'])
        writeFileSync(join(dequantised, file), readFileSync(join(source, file)));
      writeSafetensors(
        join(dequantised, 'model.safetensors'),
        tensors.map((tensor) => roundTrip(tensor, type)),
      );

      const quantisedPath = join(directory, `${type}.gguf`);
      const exactPath = join(directory, `${type}-exact.gguf`);
      await convertCheckpoint({ checkpointDir: source, outPath: quantisedPath, type });
      await convertCheckpoint({ checkpointDir: dequantised, outPath: exactPath, type: 'f32' });
      const quantised = await NativeEngine.open({ modelPath: quantisedPath, threads: 2 });
      const exact = await NativeEngine.open({ modelPath: exactPath, threads: 2, isa: 'scalar' });
      const actual = await logitsOfEach(quantised.newSession(), ids);
      const expected = await logitsOfEach(exact.newSession(), ids);
      const mean = expected.reduce((sum, row, i) => sum + klDivergence(row, actual[i] as Float32Array), 0) / ids.length;
      expect(mean).toBeLessThanOrEqual(2e-3);
      // The quantised file is not the original in disguise.
      const spread = Math.max(...(expected[49] as Float32Array)) - Math.min(...(expected[49] as Float32Array));
      expect(spread).toBeGreaterThan(1);
    });
  }
});
