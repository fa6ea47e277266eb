/**
 * The tensors of a Gemma 3n text file: names and shapes of the released checkpoints, the types of a 4-bit file, and how
 * wide the noise is that stands for the weights.
 */

import { blockFormats, encodedBytes, type WeightType } from '../../../daemon/models/convert/block-formats';
import type { GgufTensorInfo } from '../../../daemon/models/convert/gguf-writer';
import type { TextConfig } from '../../../daemon/models/convert/model-config';
import { layerNorms } from '../../../daemon/models/convert/text-structure';

/** Types the noise can be made in. */
export type NoiseType = Extract<WeightType, 'f32' | 'q8_0' | 'q4_0'>;

export interface FileTypes {
  readonly matrices: NoiseType;
  /** Of `token_embd`, which is also the head. */
  readonly head: NoiseType;
  /** Of `per_layer_token_embd`. */
  readonly ple: NoiseType;
}

export const fileTypes: FileTypes = { matrices: 'q4_0', head: 'q8_0', ple: 'q4_0' };

export interface TensorPlan {
  readonly info: GgufTensorInfo;
  readonly type: NoiseType;
  /** Standard deviation of the values; `undefined`: all of them are 1. */
  readonly std: number | undefined;
}

/** In the order of the file. */
export function textLayout(text: TextConfig, types: FileTypes = fileTypes): TensorPlan[] {
  const { hidden, vocabSize, layers, pleDim, headDim } = text;
  const q = text.heads * headDim;
  const kv = text.kvHeads * headDim;
  const plans: TensorPlan[] = [];
  const add = (name: string, dims: readonly number[], type: NoiseType, std: number | undefined): void => {
    const format = blockFormats[type];
    const values = dims.reduce((product, dim) => product * dim, 1);
    if ((dims[0] ?? 0) % format.valuesPerBlock !== 0)
      throw new Error(`${name}: rows of ${dims[0]} values cannot be cut into blocks of ${format.valuesPerBlock}`);
    plans.push({
      info: { name: `${name}.weight`, dims, typeId: format.id, bytes: encodedBytes(format, values) },
      type,
      std,
    });
  };
  // Rows that leave a unit vector's length about as it was.
  const matrix = (name: string, inputs: number, outputs: number, ...stack: number[]): void =>
    add(name, [inputs, outputs, ...stack], types.matrices, inputs ** -0.5);
  const ones = (name: string, size: number): void => add(name, [size], 'f32', undefined);
  const small = (name: string, inputs: number, outputs: number, std: number): void =>
    add(name, [inputs, outputs], 'f32', std);

  add('token_embd', [hidden, vocabSize], types.head, 1 / 45);
  // A row for every id, vision's and audio's too: llama.cpp takes no fewer.
  add('per_layer_token_embd', [layers * pleDim, vocabSize], types.ple, 1 / 16);
  matrix('per_layer_model_proj', hidden, layers * pleDim);
  ones('per_layer_proj_norm', pleDim);
  matrix('altup_proj', hidden, hidden, 3);
  matrix('altup_unembd_proj', hidden, hidden, 3);
  ones('output_norm', hidden);
  for (let layer = 0; layer < layers; layer++) {
    const block = (name: string): string => `blk.${layer}.${name}`;
    const ffn = text.ffnWidths[layer] as number;
    for (const norm of layerNorms) ones(block(norm), hidden);
    matrix(block('attn_q'), hidden, q);
    // The released checkpoints have K and V in every layer, those that share a cache included.
    matrix(block('attn_k'), hidden, kv);
    matrix(block('attn_v'), hidden, kv);
    matrix(block('attn_output'), q, hidden);
    ones(block('attn_q_norm'), headDim);
    ones(block('attn_k_norm'), headDim);
    matrix(block('ffn_gate'), hidden, ffn);
    matrix(block('ffn_up'), hidden, ffn);
    matrix(block('ffn_down'), ffn, hidden);
    matrix(block('inp_gate'), hidden, pleDim);
    matrix(block('proj'), pleDim, hidden);
    small(block('altup_correct_coef'), 4, 4, 0.3);
    ones(block('altup_correct_scale'), hidden);
    small(block('altup_predict_coef'), 4, 16, 0.3);
    small(block('altup_router'), hidden, 4, 0.02);
    matrix(block('laurel_l'), hidden, text.laurelRank);
    matrix(block('laurel_r'), text.laurelRank, hidden);
  }
  return plans;
}
