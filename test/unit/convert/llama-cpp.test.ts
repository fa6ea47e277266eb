/**
 * Names, shapes and keys against llama.cpp's own converter: `kquant/llama-cpp.json` lists what its file of the case
 * `kquant` has. The weights here are zeroes but for the per-layer embeddings, which take more than one slab.
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertCheckpoint } from '../../../daemon/models/convert/convert';
import { type ReadGguf, readGguf } from '../../helpers/gguf-reader';
import { type Bf16Tensor, toCheckpoint, writeBf16Safetensors } from '../../helpers/hugging-face';

interface Listing {
  readonly keys: Readonly<Record<string, unknown>>;
  /** Dimensions, fastest first. */
  readonly tensors: Readonly<Record<string, number[]>>;
}

const listing = JSON.parse(
  readFileSync('test/fixtures/checkpoints/kquant/llama-cpp.json', 'utf8'),
  (_key, value: unknown) => (value === '-Infinity' ? Number.NEGATIVE_INFINITY : value),
) as Listing;
const textVocab = 1024;
const pleValues = textVocab * 7680;

/** Finite bfloat16 numbers that differ from row to row and from slab to slab. */
const ple = new Uint16Array(pleValues);
for (let i = 0; i < pleValues; i++) ple[i] = 0x3c00 + ((i * 31 + (i >>> 13)) % 0x300);

function kquantTensors(): Bf16Tensor[] {
  return Object.entries(listing.tensors).flatMap(([name, dims]) => {
    const table = name === 'per_layer_token_embd.weight';
    const parts = toCheckpoint(name, dims, 'model.', table ? textVocab : undefined);
    return table ? parts.map((part) => ({ ...part, bytes: new Uint8Array(ple.buffer) })) : parts;
  });
}

function writeCheckpoint(directory: string, tensors: readonly Bf16Tensor[]): void {
  copyFileSync('test/fixtures/checkpoints/kquant/config.json', join(directory, 'config.json'));
  copyFileSync('test/fixtures/checkpoints/nano/tokenizer.model', join(directory, 'tokenizer.model'));
  writeBf16Safetensors(join(directory, 'model.safetensors'), tensors);
}

describe("beside llama.cpp's file of the same checkpoint", () => {
  let directory: string;
  let ours: ReadGguf;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'hearth-convert-'));
    writeCheckpoint(directory, kquantTensors());
    await convertCheckpoint({ checkpointDir: directory, outPath: join(directory, 'kquant.gguf'), type: 'bf16' });
    ours = readGguf(join(directory, 'kquant.gguf'));
  });

  afterAll(() => rmSync(directory, { recursive: true }));

  test('the same tensors of the same shapes', () => {
    const shapes = Object.fromEntries([...ours.tensors].map(([name, { dims }]) => [name, [...dims]]));
    expect(shapes).toEqual(listing.tensors);
  });

  test('every key it writes, with the same value', () => {
    const values = Object.fromEntries(Object.keys(listing.keys).map((key) => [key, ours.keys.get(key)]));
    expect(values).toEqual(listing.keys);
  });

  test('norms and small matrices are float32, the rest as asked', () => {
    const float32 = [...ours.tensors]
      .filter(([, { typeId }]) => typeId === 0)
      .map(([name]) => name.replace(/^blk\.\d+\./, ''));
    expect([...new Set(float32)].sort()).toEqual([
      'altup_correct_coef.weight',
      'altup_correct_scale.weight',
      'altup_predict_coef.weight',
      'altup_router.weight',
      'altup_router_norm.weight',
      'attn_k_norm.weight',
      'attn_norm.weight',
      'attn_q_norm.weight',
      'ffn_norm.weight',
      'laurel_post_norm.weight',
      'output_norm.weight',
      'per_layer_proj_norm.weight',
      'post_attention_norm.weight',
      'post_ffw_norm.weight',
      'post_norm.weight',
    ]);
  });

  test('values survive the cuts between slabs; added rows are zeroes', () => {
    const table = ours.tensors.get('per_layer_token_embd.weight')?.bytes as Buffer;
    expect(table.length).toBe(2 * 1280 * 7680);
    expect(table.subarray(0, 2 * pleValues).equals(Buffer.from(ple.buffer))).toBe(true);
    expect(table.subarray(2 * pleValues).equals(Buffer.alloc(2 * 256 * 7680))).toBe(true);
  });

  test('layers that share a cache may come without K and V of their own', async () => {
    const lean = kquantTensors().filter(({ name }) => !/layers\.2\d\.self_attn\.(k_proj|v_proj|k_norm)/.test(name));
    writeCheckpoint(directory, lean);
    await convertCheckpoint({ checkpointDir: directory, outPath: join(directory, 'lean.gguf'), type: 'bf16' });
    const { tensors } = readGguf(join(directory, 'lean.gguf'));
    expect(Object.keys(listing.tensors).filter((name) => !tensors.has(name))).toHaveLength(30);
  });
});
