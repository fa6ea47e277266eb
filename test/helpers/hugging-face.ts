/**
 * Hugging Face checkpoints out of GGUF files: what the converter did, undone. The names are spelt out here a second
 * time on purpose.
 */
import { closeSync, ftruncateSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type ReadTensor, readGguf } from './gguf-reader';

export interface Bf16Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Zeroes when absent: the file then has a hole there. */
  readonly bytes?: Uint8Array;
}

const layer: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm.weight',
  attn_q: 'self_attn.q_proj.weight',
  attn_k: 'self_attn.k_proj.weight',
  attn_v: 'self_attn.v_proj.weight',
  attn_output: 'self_attn.o_proj.weight',
  attn_q_norm: 'self_attn.q_norm.weight',
  attn_k_norm: 'self_attn.k_norm.weight',
  post_attention_norm: 'post_attention_layernorm.weight',
  ffn_norm: 'pre_feedforward_layernorm.weight',
  ffn_gate: 'mlp.gate_proj.weight',
  ffn_up: 'mlp.up_proj.weight',
  ffn_down: 'mlp.down_proj.weight',
  post_ffw_norm: 'post_feedforward_layernorm.weight',
  inp_gate: 'per_layer_input_gate.weight',
  proj: 'per_layer_projection.weight',
  post_norm: 'post_per_layer_input_norm.weight',
  laurel_l: 'laurel.linear_left.weight',
  laurel_r: 'laurel.linear_right.weight',
  laurel_post_norm: 'laurel.post_laurel_norm.weight',
  altup_correct_coef: 'altup.correction_coefs.weight',
  altup_predict_coef: 'altup.prediction_coefs.weight',
  altup_router: 'altup.modality_router.weight',
  altup_router_norm: 'altup.router_norm.weight',
  altup_correct_scale: 'altup.correct_output_scale',
};

const conformer: Readonly<Record<string, string>> = {
  attn_q: 'attention.attn.q_proj.weight',
  attn_k: 'attention.attn.k_proj.weight',
  attn_v: 'attention.attn.v_proj.weight',
  linear_pos: 'attention.attn.relative_position_embedding.pos_proj.weight',
  per_dim_scale: 'attention.attn.per_dim_scale',
  attn_out: 'attention.post.weight',
  ln1: 'attention.pre_attn_norm.weight',
  ln2: 'attention.post_norm.weight',
  ffn_up: 'ffw_layer_start.ffw_layer_1.weight',
  ffn_down: 'ffw_layer_start.ffw_layer_2.weight',
  ffn_norm: 'ffw_layer_start.pre_layer_norm.weight',
  ffn_post_norm: 'ffw_layer_start.post_layer_norm.weight',
  ffn_up_1: 'ffw_layer_end.ffw_layer_1.weight',
  ffn_down_1: 'ffw_layer_end.ffw_layer_2.weight',
  ffn_norm_1: 'ffw_layer_end.pre_layer_norm.weight',
  ffn_post_norm_1: 'ffw_layer_end.post_layer_norm.weight',
  conv_norm: 'lconv1d.pre_layer_norm.weight',
  conv_pw1: 'lconv1d.linear_start.weight',
  conv_dw: 'lconv1d.depthwise_conv1d.weight',
  norm_conv: 'lconv1d.conv_norm.weight',
  conv_pw2: 'lconv1d.linear_end.weight',
  layer_pre_norm: 'norm.weight',
};

const whole: Readonly<Record<string, string>> = {
  'token_embd.weight': 'embed_tokens.weight',
  'per_layer_token_embd.weight': 'embed_tokens_per_layer.weight',
  'per_layer_model_proj.weight': 'per_layer_model_projection.weight',
  'per_layer_proj_norm.weight': 'per_layer_projection_norm.weight',
  'output_norm.weight': 'norm.weight',
};

const embedder: Readonly<Record<string, string>> = {
  embedding: 'embedding.weight',
  input_projection: 'embedding_projection.weight',
  hard_emb_norm: 'hard_embedding_norm.weight',
  soft_emb_norm: 'soft_embedding_norm.weight',
};

/** The checkpoint's name; `textPrefix` is where the language model's names start. */
function checkpointName(name: string, textPrefix: string): string {
  const match = (pattern: RegExp): string[] | undefined => pattern.exec(name)?.slice(1);
  const text = match(/^blk\.(\d+)\.(\w+)\.weight$/);
  if (text !== undefined) return `${textPrefix}layers.${text[0]}.${layer[text[1] as string]}`;
  const audio = match(/^a\.blk\.(\d+)\.(\w+)\.weight$/);
  if (audio !== undefined) return `model.audio_tower.conformer.${audio[0]}.${conformer[audio[1] as string]}`;
  const conv = match(/^a\.conv1d\.(\d)\.(norm\.)?weight$/);
  if (conv !== undefined) {
    return `model.audio_tower.subsample_conv_projection.conv_${conv[0]}.${conv[1] === undefined ? 'conv' : 'norm'}.weight`;
  }
  if (name === 'a.input_projection.weight')
    return 'model.audio_tower.subsample_conv_projection.input_proj_linear.weight';
  const soundEmbedder = match(/^mm\.a\.(\w+)\.weight$/);
  if (soundEmbedder !== undefined) return `model.embed_audio.${embedder[soundEmbedder[0] as string]}`;
  const pictureEmbedder = match(/^mm\.(\w+)\.weight$/);
  if (pictureEmbedder !== undefined) return `model.embed_vision.${embedder[pictureEmbedder[0] as string]}`;
  const block = match(/^v\.blk\.(.*)$/);
  if (block !== undefined) return `model.vision_tower.timm_model.blocks.${block[0]}`;
  if (name.startsWith('v.')) return `model.vision_tower.timm_model.${name.slice(2)}`;
  const top = whole[name];
  if (top === undefined) throw new Error(`no checkpoint has a tensor for ${name}`);
  return textPrefix + top;
}

/** One tensor of a file, as the one or three it was made of. `rows` cuts off those that were added. */
export function toCheckpoint(name: string, dims: readonly number[], textPrefix: string, rows?: number): Bf16Tensor[] {
  const shape = dims.toReversed();
  const stack = /^altup_(unembd_)?proj\.weight$/.exec(name);
  if (stack !== null) {
    const kind = stack[1] === undefined ? 'altup_projections' : 'altup_unembed_projections';
    return [0, 1, 2].map((i) => ({ name: `${textPrefix}${kind}.${i}.weight`, shape: shape.slice(1) }));
  }
  if (rows !== undefined) shape[0] = rows;
  if (/\.(bias|gamma)$/.test(name)) shape.splice(0, 4, shape[1] as number);
  if (name.endsWith('conv_dw.weight')) shape.splice(1, 0, 1);
  return [{ name: checkpointName(name, textPrefix), shape }];
}

/** The tensor's values as bfloat16: float32 that came from bfloat16 loses nothing. */
export function bf16Bytes({ typeId, bytes }: ReadTensor): Uint8Array {
  if (typeId === 30) return bytes;
  const words = new Uint16Array(new Uint8Array(bytes).buffer);
  return new Uint8Array(Uint16Array.from({ length: words.length / 2 }, (_, i) => words[2 * i + 1] as number).buffer);
}

/** A file's tensors under their checkpoint names, without the rows that were added to the tables. */
export function checkpointTensors(path: string, textPrefix: string, textVocab: number): Bf16Tensor[] {
  return [...readGguf(path).tensors].flatMap(([name, tensor]) => {
    const bytes = bf16Bytes(tensor);
    const rows = name === 'per_layer_token_embd.weight' ? textVocab : undefined;
    let at = 0;
    return toCheckpoint(name, tensor.dims, textPrefix, rows).map(({ name: part, shape }) => {
      const length = 2 * shape.reduce((product, size) => product * size, 1);
      at += length;
      return { name: part, shape, bytes: bytes.subarray(at - length, at) };
    });
  });
}

export function writeBf16Safetensors(path: string, tensors: readonly Bf16Tensor[]): void {
  let offset = 0;
  const entries = tensors.map(({ name, shape }) => {
    const begin = offset;
    offset += 2 * shape.reduce((product, size) => product * size, 1);
    return [name, { dtype: 'BF16', shape, data_offsets: [begin, offset] }] as const;
  });
  const header = Buffer.from(JSON.stringify({ __metadata__: { format: 'pt' }, ...Object.fromEntries(entries) }));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  const fd = openSync(path, 'w');
  writeSync(fd, Buffer.concat([prefix, header]));
  const dataStart = 8 + header.length;
  ftruncateSync(fd, dataStart + offset);
  tensors.forEach(({ bytes }, i) => {
    const begin = entries[i]?.[1].data_offsets[0] ?? 0;
    if (bytes !== undefined) writeSync(fd, bytes, 0, bytes.length, dataStart + begin);
  });
  closeSync(fd);
}

/** Deals the tensors out to shards and writes their index. */
export function writeShards(directory: string, tensors: readonly Bf16Tensor[], count: number): void {
  const map: Record<string, string> = {};
  for (let shard = 0; shard < count; shard++) {
    const file = `model-${String(shard + 1).padStart(5, '0')}-of-${String(count).padStart(5, '0')}.safetensors`;
    const dealt = tensors.filter((_, i) => i % count === shard);
    writeBf16Safetensors(join(directory, file), dealt);
    for (const { name } of dealt) map[name] = file;
  }
  writeFileSync(join(directory, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));
}
