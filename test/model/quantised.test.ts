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
import { floats, type ReadTensor, readGguf, rewriteGguf } from '../helpers/gguf-reader';
import { klDivergence } from '../helpers/golden';
import { decodeTensor, encodeTensor, type KQuant, kQuants } from '../helpers/k-quants';
import { availableIsas, logitsOfEach } from '../helpers/native';

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
      // Half of the file, loaded alone, computes what half of the whole does, in less memory.
      for (const isa of await availableIsas(quantisedPath)) {
        const whole = (await NativeEngine.open({ modelPath: quantisedPath, threads: 2, isa })).newSession();
        whole.setSlice('half');
        const alone = await NativeEngine.open({ modelPath: quantisedPath, threads: 2, isa, loadSlice: 'half' });
        expect(alone.info).toMatchObject({ loadedSlice: 'half', slices: [{ name: 'half', published: false }] });
        expect(alone.info.weightBytes).toBeLessThan(quantised.info.weightBytes);
        expect(await logitsOfEach(alone.newSession(), ids)).toEqual(await logitsOfEach(whole, ids));
        expect(() => alone.newSession().setSlice('full')).toThrow(
          /slice full needs \d+ neurons of layer 0; of this file only what slice half needs was loaded/,
        );
      }
      // The quantised file is not the original in disguise.
      const spread = Math.max(...(expected[49] as Float32Array)) - Math.min(...(expected[49] as Float32Array));
      expect(spread).toBeGreaterThan(1);
    });
  }
});

/** What llama-quantize makes of a model: `type`, another where rows are no multiple of its block, Q6_K embeddings. */
function typeIn(type: KQuant, fallback: KQuant, name: string, { dims }: ReadTensor): KQuant | undefined {
  if (dims.length < 2 || /norm|altup|laurel|per_layer_model_proj/.test(name)) return undefined;
  const cols = dims[0] as number;
  return [/token_embd/.test(name) ? 'q6_k' : type, fallback].find((k) => cols % kQuants[k as KQuant].values === 0) as
    | KQuant
    | undefined;
}

describe('K-quants', () => {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-k-quants-'));
  const source = join(directory, 'source.gguf');
  const ids = Int32Array.from({ length: 12 }, (_, i) => (i === 0 ? 2 : 8 + ((i * 37) % 1000)));

  beforeAll(async () => {
    randomCheckpoint(join(directory, 'checkpoint'), 2, { hidden: 256, ple: 256, ffn: 512 });
    await convertCheckpoint({ checkpointDir: join(directory, 'checkpoint'), outPath: source, type: 'f32' });
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  test('the second reader reads what the gguf package does', () => {
    const { tensors } = readGguf('test/fixtures/models/k-blocks.golden.gguf');
    for (const [type, { id }] of Object.entries(kQuants)) {
      const { typeId, bytes } = tensors.get(type) as ReadTensor;
      expect(typeId).toBe(id);
      expect(decodeTensor(id, bytes)).toEqual(floats(tensors.get(`${type}.f32`) as ReadTensor));
    }
  });

  test.each([
    ['q4_k', 'q5_0'],
    ['q5_k', 'q5_1'],
    ['q6_k', 'q4_1'],
  ] as const)(
    '%s and %s: mean KL over positions at most 2e-4, every instruction set, whole and half',
    async (...types) => {
      const [type, fallback] = types;
      const paths = { quantised: join(directory, `${type}.gguf`), exact: join(directory, `${type}-exact.gguf`) };
      const found = new Set<number>();
      rewriteGguf(source, paths.quantised, (name, tensor) => {
        const k = typeIn(type, fallback, name, tensor);
        if (k === undefined) return undefined;
        found.add(kQuants[k].id);
        return { typeId: kQuants[k].id, bytes: encodeTensor(k, floats(tensor)) };
      });
      expect(found).toEqual(new Set([type, fallback, 'q6_k' as const].map((k) => kQuants[k].id)));
      rewriteGguf(paths.quantised, paths.exact, (_name, { typeId, bytes }) => {
        const values = decodeTensor(typeId, bytes);
        return values && { typeId: 0, bytes: new Uint8Array(values.buffer) };
      });
      const run = async (modelPath: string, isa: string, slice: string, exact = false): Promise<Float32Array[]> => {
        const session = (await NativeEngine.open({ modelPath, threads: 2, isa, exact })).newSession();
        session.setSlice(slice);
        return logitsOfEach(session, ids);
      };
      for (const slice of ['full', 'half']) {
        const expected = await run(paths.exact, 'scalar', slice, true);
        for (const isa of await availableIsas(paths.quantised)) {
          const actual = await run(paths.quantised, isa, slice);
          const total = expected.reduce((sum, row, i) => sum + klDivergence(row, actual[i] as Float32Array), 0);
          expect(total / ids.length).toBeLessThanOrEqual(2e-4);
        }
        const last = expected.at(-1) as Float32Array;
        expect(Math.max(...last) - Math.min(...last)).toBeGreaterThan(1);
      }
    },
    120_000,
  );

  test('a slice that cuts a block of 256 is refused, and so is a row that is no multiple of it', async () => {
    const modelPath = join(directory, 'q4_k.gguf');
    const session = (await NativeEngine.open({ modelPath, threads: 1 })).newSession();
    expect(() => session.setSlice({ ffnWidths: Array(7).fill(384), skippedLayers: [] })).toThrow(
      "layer 0: width 384; multiples of 256 (the values in a block of its down projection) up to the file's 512 are allowed",
    );
    const broken = join(directory, 'broken.gguf');
    rewriteGguf(source, broken, (name) =>
      name === 'blk.1.attn_output.weight' ? { typeId: kQuants.q4_k.id, bytes: new Uint8Array(64 * 144) } : undefined,
    );
    await expect(NativeEngine.open({ modelPath: broken, threads: 1 })).rejects.toThrow(
      'tensor "blk.1.attn_output.weight" has rows of 64 values, not a multiple of the 256 in a Q4_K block',
    );
  });
});
