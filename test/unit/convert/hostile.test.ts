/** Checkpoints that are broken, lie or are no checkpoints: a code that says so, nothing written, nothing crashed. */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  cpSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HearthError } from '../../../daemon/errors';
import { convertCheckpoint } from '../../../daemon/models/convert/convert';
import { randomCheckpoint, randomNumbers, testConfig, writeSafetensors } from '../../helpers/checkpoint';
import { readGguf } from '../../helpers/gguf-reader';

type Json = Record<string, unknown>;
interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

const deep = '['.repeat(450_000) + ']'.repeat(450_000);

describe('a hostile checkpoint', () => {
  let root: string;
  let base: string;
  let weights: Buffer;
  let tokenizer: Buffer;
  let tensors: ReturnType<typeof randomCheckpoint>;

  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'hearth-hostile-'));
    base = join(root, 'base');
    tensors = randomCheckpoint(base);
    weights = readFileSync(join(base, 'model.safetensors'));
    tokenizer = readFileSync(join(base, 'tokenizer.model'));
  });

  afterAll(() => rmSync(root, { recursive: true }));

  /** Converts the checkpoint with some files replaced: null removes one. Returns the error's code, or 'converted'. */
  async function outcome(files: Readonly<Record<string, Buffer | string | null>>): Promise<string> {
    const checkpointDir = mkdtempSync(join(root, 'case-'));
    const out = mkdtempSync(join(root, 'out-'));
    try {
      for (const file of readdirSync(base)) if (!(file in files)) cpSync(join(base, file), join(checkpointDir, file));
      for (const [file, content] of Object.entries(files))
        if (content !== null) writeFileSync(join(checkpointDir, file), content);
      return await convert(checkpointDir, out);
    } finally {
      rmSync(checkpointDir, { recursive: true });
      rmSync(out, { recursive: true });
    }
  }

  async function convert(checkpointDir: string, out: string): Promise<string> {
    try {
      const { textPath } = await convertCheckpoint({ checkpointDir, outPath: join(out, 'model.gguf'), type: 'q8_0' });
      expect(readGguf(textPath).tensors.size).toBeGreaterThan(100);
      return 'converted';
    } catch (error) {
      if (!(error instanceof HearthError)) throw error;
      expect(readdirSync(out)).toEqual([]);
      expect(error.message.length).toBeLessThan(1000);
      return error.code;
    }
  }

  const config = (changed: Json): string => JSON.stringify({ ...testConfig, ...changed });

  function withHeader(header: Buffer | string, data: Buffer): Buffer {
    const bytes = Buffer.from(header);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(bytes.length));
    return Buffer.concat([length, bytes, data]);
  }

  function edited(edit: (header: Record<string, Entry>) => void): Buffer {
    const headerBytes = Number(weights.readBigUInt64LE());
    const header = JSON.parse(weights.toString('utf8', 8, 8 + headerBytes)) as Record<string, Entry>;
    edit(header);
    return withHeader(JSON.stringify(header), weights.subarray(8 + headerBytes));
  }

  test('which is not one at all converts', async () => {
    expect(await outcome({})).toBe('converted');
  });

  test.each<[string, (header: Record<string, Entry>) => void, string]>([
    ['a tensor missing', (h) => delete h['model.norm.weight'], 'CHECKPOINT_MALFORMED'],
    [
      'a tensor of no model',
      (h) => (h['model.layers.0.extra.weight'] = { dtype: 'F32', shape: [0], data_offsets: [0, 0] }),
      'CHECKPOINT_UNSUPPORTED',
    ],
    [
      'a layer too many',
      (h) => (h['model.layers.7.input_layernorm.weight'] = { dtype: 'F32', shape: [0], data_offsets: [0, 0] }),
      'CHECKPOINT_MALFORMED',
    ],
    ['an unknown dtype', (h) => (entry(h).dtype = 'F8_E4M3'), 'CHECKPOINT_UNSUPPORTED'],
    ['a dtype from the prototype', (h) => (entry(h).dtype = 'toString'), 'CHECKPOINT_UNSUPPORTED'],
    ['a shape that is larger than the data', (h) => (entry(h).shape[0] = 1 << 20), 'CHECKPOINT_MALFORMED'],
    [
      'a shape whose product is no number',
      (h) => (entry(h).shape = [2 ** 53 - 1, 2 ** 53 - 1, 2 ** 53 - 1, 2 ** 53 - 1]),
      'CHECKPOINT_MALFORMED',
    ],
    ['a negative shape', (h) => (entry(h).shape = [-1280, -64]), 'CHECKPOINT_MALFORMED'],
    ['a transposed shape', (h) => h['model.layers.0.mlp.up_proj.weight']?.shape.reverse(), 'CHECKPOINT_MALFORMED'],
    ['offsets past the end', (h) => shift(entry(h), 1 << 30), 'CHECKPOINT_MALFORMED'],
    ['offsets the wrong way round', (h) => entry(h).data_offsets.reverse(), 'CHECKPOINT_MALFORMED'],
    ['offsets inside another tensor', (h) => shift(last(h), -64), 'CHECKPOINT_MALFORMED'],
    [
      'offsets that are no numbers',
      (h) => Object.assign(entry(h), { data_offsets: ['0', null] }),
      'CHECKPOINT_MALFORMED',
    ],
    ['an entry that is no object', (h) => Object.assign(h, { 'model.norm.weight': 7 }), 'CHECKPOINT_UNSUPPORTED'],
    [
      'a very long name of a kind that exists',
      (h) =>
        Object.assign(h, {
          [`model.vision_tower.timm_model.blocks.0.0.${'x'.repeat(1 << 20)}.weight`]: {
            dtype: 'F32',
            shape: [0],
            data_offsets: [0, 0],
          },
        }),
      'CHECKPOINT_MALFORMED',
    ],
    [
      'a very long name',
      (h) => Object.assign(h, { ['x'.repeat(1 << 20)]: { dtype: 'F32', shape: [0], data_offsets: [0, 0] } }),
      'CHECKPOINT_UNSUPPORTED',
    ],
  ])('with %s', async (_what, edit, code) => {
    expect(await outcome({ 'model.safetensors': edited(edit) })).toBe(code);
  });

  const entry = (header: Record<string, Entry>): Entry => header['model.embed_tokens.weight'] as Entry;
  const last = (header: Record<string, Entry>): Entry => Object.values(header).at(-1) as Entry;
  const shift = (of: Entry, bytes: number): void => {
    of.data_offsets = [of.data_offsets[0] + bytes, of.data_offsets[1] + bytes];
  };

  test.each<[string, () => Buffer]>([
    ['nothing in it', () => Buffer.alloc(0)],
    ['half a length', () => Buffer.alloc(4)],
    ['a header length of 2^64 - 1', () => Buffer.alloc(64, 255)],
    ['a header longer than the file', () => Buffer.concat([Buffer.from([0, 1, 0, 0, 0, 0, 0, 0]), Buffer.from('{}')])],
    ['a header that is no JSON', () => withHeader('{"model', Buffer.alloc(0))],
    ['a header that is no object', () => withHeader('[1, 2]', Buffer.alloc(0))],
    ['a header that is no UTF-8', () => withHeader(Buffer.from([0x22, 0xff, 0x22]), Buffer.alloc(0))],
    ['four million brackets for a header', () => withHeader('['.repeat(4 << 20), Buffer.alloc(0))],
    ['bytes after its last tensor', () => Buffer.concat([weights, Buffer.alloc(4)])],
    ['its last bytes cut off', () => weights.subarray(0, -4)],
  ])('whose weights have %s', async (_what, content) => {
    expect(await outcome({ 'model.safetensors': content() })).toBe('CHECKPOINT_MALFORMED');
  });

  test.each<[string, number, string]>([
    ['NaN', NaN, 'CHECKPOINT_MALFORMED'],
    ['an infinity', -Infinity, 'CHECKPOINT_MALFORMED'],
    ['a number that overflows the type', 1e7, 'CHECKPOINT_UNSUPPORTED'],
  ])('with %s among the weights', async (_what, value, code) => {
    const changed = tensors.map((tensor) => {
      if (tensor.name !== 'model.layers.6.mlp.down_proj.weight') return tensor;
      return { ...tensor, values: tensor.values.with(77, value) };
    });
    const path = join(root, 'changed.safetensors');
    writeSafetensors(path, changed);
    expect(await outcome({ 'model.safetensors': readFileSync(path) })).toBe(code);
  });

  test.each<[string, Json, string]>([
    ['another model', { model_type: 'gemma3' }, 'CHECKPOINT_UNSUPPORTED'],
    ['no model', { model_type: undefined }, 'CHECKPOINT_UNSUPPORTED'],
    ['a vocabulary of two billion', { vocab_size: 2 ** 31 - 1 }, 'CHECKPOINT_MALFORMED'],
    ['a vocabulary the tables do not have', { vocab_size: 2048 }, 'CHECKPOINT_MALFORMED'],
    ['a billion layers', { num_hidden_layers: 1e9 }, 'CHECKPOINT_MALFORMED'],
    [
      'one layer fewer than there are',
      { num_hidden_layers: 6, layer_types: testConfig.layer_types.slice(1), activation_sparsity_pattern: 0 },
      'CHECKPOINT_MALFORMED',
    ],
    ['layer types of another number', { layer_types: ['full_attention'] }, 'CHECKPOINT_MALFORMED'],
    ['a layer type of its own', { layer_types: Array(7).fill('no_attention') }, 'CHECKPOINT_MALFORMED'],
    [
      'sharing without a cache to share',
      { layer_types: ['full_attention', ...Array<string>(6).fill('sliding_attention')].reverse() },
      'CHECKPOINT_MALFORMED',
    ],
    ['every layer sharing', { num_kv_shared_layers: 7 }, 'CHECKPOINT_MALFORMED'],
    ['heads that do not divide', { num_key_value_heads: 3 }, 'CHECKPOINT_MALFORMED'],
    ['another activation', { hidden_activation: 'silu' }, 'CHECKPOINT_UNSUPPORTED'],
    ['more AltUp streams', { altup_num_inputs: 5 }, 'CHECKPOINT_UNSUPPORTED'],
    [
      'another RoPE',
      { rope_parameters: { full_attention: { rope_type: 'yarn', rope_theta: 1e6 } } },
      'CHECKPOINT_UNSUPPORTED',
    ],
    ['an epsilon of nothing', { rms_norm_eps: 0 }, 'CHECKPOINT_MALFORMED'],
    ['a base beyond float32', { rope_theta: 1e300 }, 'CHECKPOINT_MALFORMED'],
    ['a sparsity of 1', { activation_sparsity_pattern: 1 }, 'CHECKPOINT_MALFORMED'],
    ['text for a number', { hidden_size: '64' }, 'CHECKPOINT_MALFORMED'],
    [
      'towers it has no ids for',
      { model_type: 'gemma3n', text_config: testConfig, vision_config: {} },
      'CHECKPOINT_MALFORMED',
    ],
    ['an end of text that is a word', { eos_token_id: 700 }, 'CHECKPOINT_MALFORMED'],
  ])('configured with %s', async (_what, changed, code) => {
    expect(await outcome({ 'config.json': config(changed) })).toBe(code);
  });

  test.each(['[]', 'null', '7', '{', '', '{"model_type": {}}', `"${'x'.repeat(2 << 20)}"`])(
    'configured with %.20s',
    async (text) => {
      expect(await outcome({ 'config.json': text })).toMatch(/^CHECKPOINT_/);
    },
  );

  test.each<[string, Record<string, Buffer | string | null>, string]>([
    ['config.json missing', { 'config.json': null }, 'CHECKPOINT_INCOMPLETE'],
    ['tokenizer.model missing', { 'tokenizer.model': null }, 'CHECKPOINT_INCOMPLETE'],
    ['its weights missing', { 'model.safetensors': null }, 'CHECKPOINT_INCOMPLETE'],
    ['an empty tokenizer', { 'tokenizer.model': '' }, 'CHECKPOINT_MALFORMED'],
    ['a tokenizer that is text', { 'tokenizer.model': 'once upon a time' }, 'CHECKPOINT_MALFORMED'],
    ['prompts half a million brackets deep', { 'prompts.json': `{"a": ${deep}}` }, 'CHECKPOINT_MALFORMED'],
    ['a picture size as deep', { 'preprocessor_config.json': `{"size": ${deep}}` }, 'CHECKPOINT_MALFORMED'],
    [
      'a configuration as deep',
      { 'config.json': `{"model_type": "gemma3n_text", "hidden_activation": ${deep}}` },
      'CHECKPOINT_UNSUPPORTED',
    ],
    ['an index as deep', { 'model.safetensors.index.json': `{"weight_map": {"a": ${deep}}}` }, 'CHECKPOINT_MALFORMED'],
    ['prompts that are no object', { 'prompts.json': '[]' }, 'CHECKPOINT_MALFORMED'],
    [
      'an image size nobody encodes',
      { 'preprocessor_config.json': '{"size": {"height": 100, "width": 100}}' },
      'CHECKPOINT_MALFORMED',
    ],
    ['a shard outside its directory', index('../../../etc/passwd'), 'CHECKPOINT_MALFORMED'],
    ['a shard that is missing', index('shard.safetensors'), 'CHECKPOINT_INCOMPLETE'],
    ['an index without a map', { 'model.safetensors.index.json': '{}' }, 'CHECKPOINT_MALFORMED'],
    ['an index that leaves tensors out', index('model.safetensors'), 'CHECKPOINT_MALFORMED'],
    [
      'an index of a tensor that is not there',
      { 'model.safetensors.index.json': '{"weight_map": {"x": "model.safetensors"}}' },
      'CHECKPOINT_INCOMPLETE',
    ],
  ])('with %s', async (_what, files, code) => {
    expect(await outcome(files)).toBe(code);
  });

  function index(shard: string): Record<string, string> {
    return { 'model.safetensors.index.json': JSON.stringify({ weight_map: { 'model.norm.weight': shard } }) };
  }

  test('with a FIFO or a directory for a file is refused without waiting', async () => {
    const checkpointDir = join(root, 'fifo');
    const out = join(root, 'fifo-out');
    cpSync(base, checkpointDir, { recursive: true });
    mkdirSync(out);
    rmSync(join(checkpointDir, 'model.safetensors'));
    execFileSync('mkfifo', [join(checkpointDir, 'model.safetensors')]);
    expect(await convert(checkpointDir, out)).toBe('CHECKPOINT_INCOMPLETE');
    rmSync(join(checkpointDir, 'config.json'));
    mkdirSync(join(checkpointDir, 'config.json'));
    expect(await convert(checkpointDir, out)).toBe('CHECKPOINT_INCOMPLETE');
  });

  test('with a header of 100 MB is refused without reading it', async () => {
    const checkpointDir = join(root, 'large');
    const out = join(root, 'large-out');
    cpSync(base, checkpointDir, { recursive: true });
    mkdirSync(out);
    const fd = openSync(join(checkpointDir, 'model.safetensors'), 'w');
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(100_000_000n);
    writeSync(fd, prefix);
    ftruncateSync(fd, 100_000_008);
    closeSync(fd);
    const before = process.memoryUsage();
    expect(await convert(checkpointDir, out)).toBe('CHECKPOINT_MALFORMED');
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(10_000_000);
  });

  test('200 seeded mutations: converted, or refused with a code', async () => {
    const random = randomNumbers(20_261_124);
    const below = (n: number): number => Math.floor(random() * n);
    const flip = (bytes: Buffer, from: number, to: number): Buffer => {
      const mutant = Buffer.from(bytes);
      for (let i = 0; i <= below(3); i++) {
        const at = from + below(to - from);
        mutant[at] = (mutant[at] as number) ^ (1 << below(8));
      }
      return mutant;
    };
    const cut = (bytes: Buffer): Buffer => bytes.subarray(0, below(bytes.length));
    const splice = (bytes: Buffer, within: number): Buffer => {
      const at = below(within);
      const junk = Buffer.from(Array.from({ length: below(12) }, () => below(256)));
      return Buffer.concat([bytes.subarray(0, at), junk, bytes.subarray(at + below(12))]);
    };
    const headerBytes = Number(weights.readBigUInt64LE());
    const values: unknown[] = [null, -1, 0, 1, 1e308, 2 ** 31, 0.5, 'x', '', [], [null], {}, true, [[[]]]];
    const configKeys = Object.keys(testConfig);
    const mutants: (() => Record<string, Buffer | string>)[] = [
      () => ({ 'model.safetensors': flip(weights, 0, 8 + headerBytes) }),
      () => ({ 'model.safetensors': cut(weights) }),
      () => ({ 'model.safetensors': splice(weights, headerBytes) }),
      () => ({ 'tokenizer.model': flip(tokenizer, 0, tokenizer.length) }),
      () => ({ 'tokenizer.model': cut(tokenizer) }),
      () => ({ 'tokenizer.model': splice(tokenizer, tokenizer.length) }),
      () => ({
        'config.json': config({ [configKeys[below(configKeys.length)] as string]: values[below(values.length)] }),
      }),
      () => ({ 'config.json': splice(Buffer.from(config({})), config({}).length) }),
    ];
    const codes: Record<string, number> = {};
    for (let i = 0; i < 200; i++) {
      const code = await outcome((mutants[i % mutants.length] as () => Record<string, Buffer | string>)());
      expect(code).toMatch(/^(converted|CHECKPOINT_(INCOMPLETE|MALFORMED|UNSUPPORTED))$/);
      codes[code] = (codes[code] ?? 0) + 1;
    }
    expect(codes['CHECKPOINT_MALFORMED']).toBeGreaterThan(100);
    expect(codes['converted'] ?? 0).toBeLessThan(60);
  });

  test('has nothing to do with where the output cannot go', async () => {
    const to = (outPath: string): Promise<unknown> => convertCheckpoint({ checkpointDir: base, outPath, type: 'bf16' });
    await expect(to(join(root, 'none/model.gguf'))).rejects.toMatchObject({ code: 'FILE_WRITE_FAILED' });
    await expect(to(join(root, 'model.bin'))).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    mkdirSync(join(root, 'directory.gguf'));
    await expect(to(join(root, 'directory.gguf'))).rejects.toMatchObject({ code: 'FILE_WRITE_FAILED' });
  });

  test('that is cancelled half-way leaves the old file as it was', async () => {
    const out = mkdtempSync(join(root, 'cancelled-'));
    writeFileSync(join(out, 'model.gguf'), 'the old one');
    const stop = new AbortController();
    const conversion = convertCheckpoint({
      checkpointDir: base,
      outPath: join(out, 'model.gguf'),
      type: 'f16',
      signal: stop.signal,
      onProgress: (done, total) => done > total / 2 && stop.abort(),
    });
    await expect(conversion).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(readdirSync(out)).toEqual(['model.gguf']);
    expect(readFileSync(join(out, 'model.gguf'), 'utf8')).toBe('the old one');
    expect(existsSync(join(out, 'mmproj-model.gguf'))).toBe(false);
  });
});
