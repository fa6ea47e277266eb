/**
 * The reference case whose checkpoint is too large for the repository (66 MB): wide enough for blocks of 256, with K and
 * V weights in the layers that share a KV cache, which nothing may read. Runs where the reference data lies beside the
 * clone.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NativeEngine } from '../../daemon/inference/native';
import { convertCheckpoint } from '../../daemon/models/convert/convert';
import { maxDifference, readGolden } from '../helpers/golden';
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
        const session = (await NativeEngine.open({ modelPath, isa, threads })).newSession();
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
});
