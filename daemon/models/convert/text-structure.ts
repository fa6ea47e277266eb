/** The text decoder's tensors (addon/MODEL.md has what they are for). */
import type { TextConfig } from './model-config';
import type { Pattern, Structure } from './structure';

/** Of every layer, [hidden] each. */
export const layerNorms = [
  'attn_norm',
  'post_attention_norm',
  'ffn_norm',
  'post_ffw_norm',
  'post_norm',
  'laurel_post_norm',
  'altup_router_norm',
] as const;

export function claimText(structure: Structure, text: TextConfig): void {
  const { hidden, pleDim, layers, headDim } = text;
  const q = text.heads * headDim;
  const kv = text.kvHeads * headDim;
  // Their rows are checked against the vocabulary where the files are planned: some checkpoints lack the last ones.
  structure.claim('token_embd.weight', ['rows', hidden]);
  structure.claim('per_layer_token_embd.weight', ['rows', layers * pleDim]);
  structure.claim('per_layer_model_proj.weight', [layers * pleDim, hidden]);
  structure.claim('per_layer_proj_norm.weight', [pleDim]);
  structure.claim('output_norm.weight', [hidden]);
  structure.claim('altup_proj.weight', [hidden, hidden]);
  structure.claim('altup_unembd_proj.weight', [hidden, hidden]);
  for (let layer = 0; layer < layers; layer++) {
    const claim = (name: string, ...pattern: Pattern): void => structure.claim(`blk.${layer}.${name}.weight`, pattern);
    const ffn = text.ffnWidths[layer] as number;
    for (const norm of layerNorms) claim(norm, hidden);
    claim('attn_q', q, hidden);
    claim('attn_output', hidden, q);
    claim('attn_q_norm', headDim);
    // Layers that share a cache need no K and V of their own; the released checkpoints have them all the same.
    const own = layer < layers - text.sharedKvLayers;
    if (own || structure.has(`blk.${layer}.attn_k.weight`)) claim('attn_k', kv, hidden);
    if (own || structure.has(`blk.${layer}.attn_v.weight`)) claim('attn_v', kv, hidden);
    if (own || structure.has(`blk.${layer}.attn_k_norm.weight`)) claim('attn_k_norm', headDim);
    claim('ffn_gate', ffn, hidden);
    claim('ffn_up', ffn, hidden);
    claim('ffn_down', hidden, ffn);
    claim('inp_gate', pleDim, hidden);
    claim('proj', hidden, pleDim);
    claim('laurel_l', text.laurelRank, hidden);
    claim('laurel_r', hidden, text.laurelRank);
    claim('altup_router', 4, hidden);
    claim('altup_predict_coef', 16, 4);
    claim('altup_correct_coef', 4, 4);
    claim('altup_correct_scale', hidden);
  }
}
