/** A small Gemma 3n checkpoint with random weights, made on the spot: what a test of the converter reads. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** In Jest every mention of a global is a look-up that takes a microsecond. */
const { cos, imul, log, PI, sqrt } = Math;

export interface TestTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** What may be wider than a test of the converter needs. */
export interface Widths {
  readonly hidden: number;
  readonly ple: number;
  readonly ffn: number;
}

const narrow: Widths = { hidden: 64, ple: 32, ffn: 128 };
const layers = 7;
const shared = 2;
const vocab = 1280;
const textVocab = 1024;

export const testConfig = {
  model_type: 'gemma3n_text',
  vocab_size: vocab,
  vocab_size_per_layer_input: textVocab,
  hidden_size: narrow.hidden,
  hidden_size_per_layer_input: narrow.ple,
  intermediate_size: narrow.ffn,
  num_hidden_layers: layers,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 32,
  num_kv_shared_layers: shared,
  laurel_rank: 32,
  sliding_window: 16,
  layer_types: Array.from({ length: layers }, (_, i) => (i === 4 || i === 6 ? 'full_attention' : 'sliding_attention')),
  activation_sparsity_pattern: Array.from({ length: layers }, (_, i) => (i < 2 ? 0.95 : 0)),
  max_position_embeddings: 2048,
};

/** mulberry32: small and repeatable. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = imul(state ^ (state >>> 15), 1 | state);
    t = (t + imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function tensorShapes({ hidden, ple, ffn }: Widths): [string, number[]][] {
  const shapes: [string, number[]][] = [
    ['model.embed_tokens.weight', [vocab, hidden]],
    ['model.embed_tokens_per_layer.weight', [textVocab, layers * ple]],
    ['model.per_layer_model_projection.weight', [layers * ple, hidden]],
    ['model.per_layer_projection_norm.weight', [ple]],
    ['model.norm.weight', [hidden]],
  ];
  for (let i = 0; i < 3; i++) {
    shapes.push(
      [`model.altup_projections.${i}.weight`, [hidden, hidden]],
      [`model.altup_unembed_projections.${i}.weight`, [hidden, hidden]],
    );
  }
  for (let layer = 0; layer < layers; layer++) {
    const parts: [string, number[]][] = [
      ['self_attn.q_proj.weight', [64, hidden]],
      ['self_attn.o_proj.weight', [hidden, 64]],
      ['self_attn.q_norm.weight', [32]],
      ['mlp.gate_proj.weight', [ffn, hidden]],
      ['mlp.up_proj.weight', [ffn, hidden]],
      ['mlp.down_proj.weight', [hidden, ffn]],
      ['laurel.linear_left.weight', [32, hidden]],
      ['laurel.linear_right.weight', [hidden, 32]],
      ['per_layer_input_gate.weight', [ple, hidden]],
      ['per_layer_projection.weight', [hidden, ple]],
      ['altup.correction_coefs.weight', [4, 4]],
      ['altup.prediction_coefs.weight', [16, 4]],
      ['altup.modality_router.weight', [4, hidden]],
      ['altup.correct_output_scale', [hidden]],
    ];
    for (const norm of [
      'input_layernorm',
      'post_attention_layernorm',
      'pre_feedforward_layernorm',
      'post_feedforward_layernorm',
      'post_per_layer_input_norm',
      'laurel.post_laurel_norm',
      'altup.router_norm',
    ]) {
      parts.push([`${norm}.weight`, [hidden]]);
    }
    if (layer < layers - shared) {
      parts.push(
        ['self_attn.k_proj.weight', [32, hidden]],
        ['self_attn.v_proj.weight', [32, hidden]],
        ['self_attn.k_norm.weight', [32]],
      );
    }
    for (const [name, shape] of parts) shapes.push([`model.layers.${layer}.${name}`, shape]);
  }
  return shapes;
}

/** Branches small beside the residual stream and soft attention, as in a trained model, so that rounding is not amplified. */
function randomTensor(name: string, shape: readonly number[], random: () => number): TestTensor {
  const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
  const fanIn = shape.length > 1 ? (shape.at(-1) ?? 1) : 1;
  const norm = shape.length === 1;
  const mean = !norm ? 0 : /post_|q_norm|k_norm/.test(name) ? 0.3 : 1;
  const scale = norm ? 0.05 : /coefs/.test(name) ? 0.1 : fanIn ** -0.5;
  for (let i = 0; i < values.length; i++) {
    const normal = sqrt(-2 * log(1 - random())) * cos(2 * PI * random());
    values[i] = mean + scale * normal;
  }
  return { name, shape, values };
}

export function writeSafetensors(path: string, tensors: readonly TestTensor[]): void {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const { name, shape, values } of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(
    path,
    Buffer.concat([
      length,
      json,
      ...tensors.map(({ values }) => Buffer.from(values.buffer, values.byteOffset, values.byteLength)),
    ]),
  );
}

/** A SentencePiece model of 1,024 pieces: the specials, the bytes, and made-up words. */
export function tokenizerModel(): Buffer {
  const piece = (text: string, score: number, type: number): Buffer => {
    const name = Buffer.from(text);
    const body = Buffer.concat([
      Buffer.from([0x0a, name.length]),
      name,
      Buffer.from([0x15]),
      floatBytes(score),
      Buffer.from([0x18, type]),
    ]);
    return Buffer.concat([Buffer.from([0x0a, body.length]), body]);
  };
  const floatBytes = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    return bytes;
  };
  const pieces = [
    piece('<pad>', 0, 3),
    piece('<eos>', 0, 3),
    piece('<bos>', 0, 3),
    piece('<unk>', 0, 2),
    piece('<start_of_turn>', 0, 4),
    piece('<end_of_turn>', 0, 4),
  ];
  for (let byte = 0; byte < 256; byte++)
    pieces.push(piece(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`, 0, 6));
  while (pieces.length < textVocab) pieces.push(piece(`w${pieces.length}`, -pieces.length, 1));
  return Buffer.concat(pieces);
}

/** Writes the checkpoint into a new directory and returns its tensors. */
export function randomCheckpoint(directory: string, seed = 1, widths = narrow): TestTensor[] {
  mkdirSync(directory, { recursive: true });
  const random = randomNumbers(seed);
  const tensors = tensorShapes(widths).map(([name, shape]) => randomTensor(name, shape, random));
  const config = {
    ...testConfig,
    hidden_size: widths.hidden,
    hidden_size_per_layer_input: widths.ple,
    intermediate_size: widths.ffn,
  };
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config));
  writeFileSync(join(directory, 'tokenizer.model'), tokenizerModel());
  writeSafetensors(join(directory, 'model.safetensors'), tensors);
  return tensors;
}
