/** Files of noise: what is in them, and that the runtime takes them. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NativeEngine } from '../../../daemon/inference/native';
import { fromFloat16 } from '../../../daemon/models/convert/float-formats';
import { parseModelConfig } from '../../../daemon/models/convert/model-config';
import { textLayout } from '../../bench/model/layout';
import { Noise } from '../../bench/model/noise';
import { randomModel, writeRandomModel } from '../../bench/model/random-model';
import { promptIds } from '../../bench/text/prompt-ids';
import { floats, readGguf } from '../../helpers/gguf-reader';

const config = parseModelConfig({
  model_type: 'gemma3n_text',
  hidden_size: 64,
  hidden_size_per_layer_input: 32,
  intermediate_size: 256,
  num_hidden_layers: 12,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 32,
  num_kv_shared_layers: 2,
  laurel_rank: 32,
  vocab_size: 1280,
  vocab_size_per_layer_input: 1024,
});

/** Standard deviation about zero, and mean. */
function moments(values: ArrayLike<number>): { std: number; mean: number } {
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    sum += values[i] as number;
    squares += (values[i] as number) ** 2;
  }
  return { std: Math.sqrt(squares / values.length), mean: sum / values.length };
}

function q4Values(blocks: Uint8Array): Float32Array {
  const view = new DataView(blocks.buffer, blocks.byteOffset, blocks.byteLength);
  return Float32Array.from({ length: (blocks.length / 18) * 32 }, (_, i) => {
    const at = Math.floor(i / 32) * 18;
    const code = (blocks[at + 2 + (i % 16)] as number) >> (i % 32 < 16 ? 0 : 4);
    return fromFloat16(view.getUint16(at, true)) * ((code & 15) - 8);
  });
}

describe('noise', () => {
  test('Q4_0: every code, the deviation asked for', () => {
    const blocks = new Noise('seed', 'a', 'q4_0', 0.125).next(32 * 4096);
    expect(blocks).toHaveLength(18 * 4096);
    const codes = new Set(q4Values(blocks));
    expect(codes.size).toBe(16);
    expect(moments(q4Values(blocks)).std / 0.125).toBeCloseTo(1, 1);
  });

  test('Q8_0: from -127 to 127', () => {
    const blocks = new Noise('seed', 'a', 'q8_0', 1 / 45).next(32 * 4096);
    expect(blocks).toHaveLength(34 * 4096);
    const codes = new Set(Int8Array.from(blocks.filter((_, i) => i % 34 >= 2)));
    expect([codes.size, codes.has(-128)]).toEqual([255, false]);
    const scale = fromFloat16((blocks[0] as number) | ((blocks[1] as number) << 8));
    expect(scale * 73.6 * 45).toBeCloseTo(1, 2);
  });

  test('float32: ones, or about normal', () => {
    expect(floats({ dims: [], typeId: 0, bytes: Buffer.from(new Noise('s', 'a', 'f32', undefined).next(3)) })).toEqual(
      Float32Array.of(1, 1, 1),
    );
    const values = new Float32Array(new Noise('s', 'a', 'f32', 0.3).next(20_000).buffer);
    const { std, mean } = moments(values);
    expect([std, mean].map((value) => Number(value.toFixed(2)))).toEqual([0.3, 0]);
    // A twentieth lies beyond 1.645 deviations.
    expect(values.filter((value) => value > 0.3 * 1.645).length / values.length).toBeCloseTo(0.05, 2);
  });

  test('the same for a seed and a name, in pieces of any size, and no other', () => {
    const whole = new Noise('s', 'a', 'q4_0', 1).next(256);
    const pieces = new Noise('s', 'a', 'q4_0', 1);
    expect(Buffer.concat([pieces.next(64), pieces.next(192)]).equals(whole)).toBe(true);
    expect(Buffer.from(new Noise('s', 'b', 'q4_0', 1).next(256)).equals(whole)).toBe(false);
    expect(Buffer.from(new Noise('t', 'a', 'q4_0', 1).next(256)).equals(whole)).toBe(false);
  });

  test('a row times a vector is above its 95th percentile for a twentieth of the rows', () => {
    const columns = 256;
    const rows = 8192;
    const x = new Float32Array(new Noise('s', 'x', 'f32', 1).next(columns).buffer);
    const weights = q4Values(new Noise('s', 'gate', 'q4_0', columns ** -0.5).next(rows * columns));
    const gate = Float32Array.from({ length: rows }, (_, r) =>
      x.reduce((sum, value, i) => sum + value * (weights[r * columns + i] as number), 0),
    );
    const { mean } = moments(gate);
    const { std } = moments(gate.map((value) => value - mean));
    expect(gate.filter((value) => value > mean + 1.6448536 * std).length / rows).toBeCloseTo(0.05, 2);
  });
});

describe('a model of noise', () => {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-bench-'));
  const layout = textLayout(config.text);
  afterAll(() => rmSync(directory, { recursive: true }));

  test('the file has the layout, keys and pieces', () => {
    const path = join(directory, 'small.gguf');
    writeRandomModel(path, 'small', config, layout);
    const { keys, tensors } = readGguf(path);
    expect(
      [...tensors].map(([name, { dims, typeId, bytes }]) => ({ name, dims, typeId, bytes: bytes.length })),
    ).toEqual(layout.map(({ info }) => info));
    expect(keys.get('general.architecture')).toBe('gemma3n');
    expect(keys.get('gemma3n.block_count')).toBe(12);
    const sparsity = keys.get('gemma3n.activation_sparsity_scale') as number[];
    expect(sparsity.map((z) => Number(z.toFixed(4)))).toEqual([
      ...Array<number>(10).fill(1.6449),
      ...Array<number>(2).fill(-Infinity),
    ]);
    const pieces = keys.get('tokenizer.ggml.tokens') as string[];
    expect([pieces.length, pieces[2], pieces[106]]).toEqual([1280, '<bos>', '<end_of_turn>']);
    expect(keys.get('tokenizer.ggml.unknown_token_id')).toBe(3);
    const again = join(directory, 'again.gguf');
    writeRandomModel(again, 'small', config, layout);
    expect(readFileSync(again).equals(readFileSync(path))).toBe(true);
  });

  test('the runtime computes with it', async () => {
    const { path, textIds } = randomModel(directory, 'small', config, () => undefined);
    const session = (await NativeEngine.open({ modelPath: path, threads: 2 })).newSession();
    const ids = promptIds(textIds, 2, 40);
    expect(new Set(ids).size).toBeGreaterThan(30);
    session.append(Int32Array.from(ids));
    while ((await session.advance(64)) > 0);
    const { std } = moments(session.logits());
    expect(Number.isFinite(std) && std > 0.01).toBe(true);
  });

  test('it is made once; files of other recipes make room', () => {
    const old = join(directory, 'random-small-000000000000.gguf');
    writeFileSync(old, 'old');
    const lines: string[] = [];
    const made = randomModel(directory, 'small', config, (line) => lines.push(line));
    expect([lines, existsSync(old)]).toEqual([[], true]);
    const before = statSync(made.path).mtimeMs;
    expect(randomModel(directory, 'small', config, (line) => lines.push(line)).path).toBe(made.path);
    expect([lines, statSync(made.path).mtimeMs]).toEqual([[], before]);
    rmSync(made.path);
    randomModel(directory, 'small', config, (line) => lines.push(line));
    expect(lines).toEqual([expect.stringContaining(made.path)]);
    expect(readdirSync(directory).filter((name) => name.startsWith('random-'))).toHaveLength(1);
  });
});
