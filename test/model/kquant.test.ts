/**
 * The reference case whose checkpoint is too large for the repository (66 MB): wide enough for blocks of 256, with K and
 * V weights in the layers that share a KV cache, which nothing may read; as a checkpoint, and as the file that llama.cpp's
 * converter and quantiser made of it. Runs where the reference data lies beside the clone.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NativeEngine } from '../../daemon/inference/native';
import { convertCheckpoint } from '../../daemon/models/convert/convert';
import { readGguf, rewriteGguf } from '../helpers/gguf-reader';
import { klDivergence, maxDifference, readGolden } from '../helpers/golden';
import { decodeTensor, kQuants } from '../helpers/k-quants';
import { availableIsas, logitsOfEach } from '../helpers/native';

const checkpointDir = '../shared/reference/cases/kquant';
const present = existsSync(join(checkpointDir, 'model.safetensors'));
if (!present) console.warn(`skipped: the kquant case needs ${checkpointDir}, which is not part of a clone`);

(present ? describe : describe.skip)('kquant', () => {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-kquant-'));
  const modelPath = join(directory, 'kquant.gguf');

  beforeAll(async () => {
    await convertCheckpoint({ checkpointDir, outPath: modelPath, type: 'bf16' });
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  test('logits of all 50 positions, every instruction set, 1, 2 and 3 threads; greedy continuation', async () => {
    const golden = readGolden(join(checkpointDir, 'golden.safetensors'));
    const ids = golden.get('input_ids')?.values ?? [];
    const logits = Float32Array.from(golden.get('logits')?.values ?? []);
    const greedy = Array.from(golden.get('greedy')?.values ?? []);
    expect([ids.length, greedy.length]).toEqual([50, 16]);
    const vocab = logits.length / ids.length;
    const isas = await availableIsas(modelPath);
    expect(isas).toContain('scalar');
    for (const isa of isas) {
      let oneThread: Float32Array[] | undefined;
      for (const threads of [1, 2, 3]) {
        const session = (await NativeEngine.open({ modelPath, isa, threads, exact: true })).newSession();
        const rows = await logitsOfEach(session, Int32Array.from(ids));
        rows.forEach((row, i) => {
          expect(maxDifference(row, logits.subarray(i * vocab, (i + 1) * vocab))).toBeLessThanOrEqual(1e-3);
        });
        oneThread ??= rows;
        expect(rows.map((row, i) => maxDifference(row, oneThread?.[i] ?? []))).toEqual(rows.map(() => 0));
        const tokens: number[] = [];
        for (let i = 0; i < greedy.length; i++) {
          tokens.push(session.sample({}).token);
          await session.advance(1);
        }
        expect(tokens).toEqual(greedy);
      }
    }
  }, 240_000);

  test("llama.cpp's Q4_K_M file: mean KL 5e-4 from its own weights in float32, 0.05 from the original ones", async () => {
    const quantised = join(checkpointDir, 'kquant-Q4_K_M.gguf');
    const types = [...readGguf(quantised).tensors.values()].map(({ typeId }) => typeId);
    expect([...new Set(types)].sort((a, b) => a - b)).toEqual([0, kQuants.q4_k.id, kQuants.q6_k.id]);
    const exact = join(directory, 'dequantised.gguf');
    rewriteGguf(quantised, exact, (_name, { typeId, bytes }) => {
      const values = decodeTensor(typeId, bytes);
      return values && { typeId: 0, bytes: new Uint8Array(values.buffer) };
    });
    const golden = readGolden(join(checkpointDir, 'golden.safetensors'));
    const ids = Int32Array.from(golden.get('input_ids')?.values ?? []);
    const reference = Float32Array.from(golden.get('logits')?.values ?? []);
    const vocab = reference.length / ids.length;
    const original = Array.from(ids, (_, i) => reference.subarray(i * vocab, (i + 1) * vocab));
    const run = async (modelPath: string, isa: string, float32 = false): Promise<Float32Array[]> =>
      logitsOfEach((await NativeEngine.open({ modelPath, isa, threads: 2, exact: float32 })).newSession(), ids);
    const compare = (expected: readonly Float32Array[], actual: readonly Float32Array[]) => {
      const best = (row: Float32Array): number => row.indexOf(Math.max(...row));
      return {
        meanKl: expected.reduce((sum, row, i) => sum + klDivergence(row, actual[i] as Float32Array), 0) / ids.length,
        top1: expected.filter((row, i) => best(row) === best(actual[i] as Float32Array)).length / ids.length,
      };
    };
    const dequantised = await run(exact, 'scalar', true);
    for (const isa of await availableIsas(quantised)) {
      const actual = await run(quantised, isa);
      const own = compare(dequantised, actual);
      expect(own.meanKl).toBeLessThanOrEqual(5e-4);
      expect(own.top1).toBeGreaterThanOrEqual(0.98);
      const cost = compare(original, actual);
      expect(cost.meanKl).toBeLessThanOrEqual(0.05);
      expect(cost.top1).toBeGreaterThanOrEqual(0.9);
    }
  }, 240_000);
});
