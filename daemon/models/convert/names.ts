/**
 * Which tensor of a Hugging Face checkpoint becomes which tensor of the GGUF files. Names and shapes are llama.cpp's,
 * so that it can read what it supports; where it maps none (the norms of the audio encoder's strided convolutions), ours
 * follow its style. One shape differs from what its own converter writes, because its graph wants it so:
 * `layer_scale.gamma` is [1, C, 1, 1], as the stem's bias is. addon/MODEL.md says what each tensor is.
 */

export type Target = 'text' | 'multimodal';

export interface Mapping {
  readonly target: Target;
  readonly name: string;
  /** Norms, scales and AltUp's small matrices stay float32. */
  readonly exact?: boolean;
  /** Part `index` of `count` matrices that become one tensor, stacked along a new outermost dimension. */
  readonly stack?: { readonly index: number; readonly count: number };
  /** The shape to store instead of the checkpoint's; the values are the same in the same order. */
  readonly reshape?: (shape: readonly number[]) => readonly number[];
}

const layerMatrices: Readonly<Record<string, string>> = {
  'self_attn.q_proj.weight': 'attn_q',
  'self_attn.k_proj.weight': 'attn_k',
  'self_attn.v_proj.weight': 'attn_v',
  'self_attn.o_proj.weight': 'attn_output',
  'mlp.gate_proj.weight': 'ffn_gate',
  'mlp.up_proj.weight': 'ffn_up',
  'mlp.down_proj.weight': 'ffn_down',
  'per_layer_input_gate.weight': 'inp_gate',
  'per_layer_projection.weight': 'proj',
  'laurel.linear_left.weight': 'laurel_l',
  'laurel.linear_right.weight': 'laurel_r',
};

const layerExact: Readonly<Record<string, string>> = {
  'self_attn.q_norm.weight': 'attn_q_norm',
  'self_attn.k_norm.weight': 'attn_k_norm',
  'input_layernorm.weight': 'attn_norm',
  'post_attention_layernorm.weight': 'post_attention_norm',
  'pre_feedforward_layernorm.weight': 'ffn_norm',
  'post_feedforward_layernorm.weight': 'post_ffw_norm',
  'post_per_layer_input_norm.weight': 'post_norm',
  'laurel.post_laurel_norm.weight': 'laurel_post_norm',
  'altup.correction_coefs.weight': 'altup_correct_coef',
  'altup.prediction_coefs.weight': 'altup_predict_coef',
  'altup.modality_router.weight': 'altup_router',
  'altup.router_norm.weight': 'altup_router_norm',
  'altup.correct_output_scale': 'altup_correct_scale',
};

const conformerMatrices: Readonly<Record<string, string>> = {
  'attention.attn.q_proj.weight': 'attn_q',
  'attention.attn.k_proj.weight': 'attn_k',
  'attention.attn.v_proj.weight': 'attn_v',
  'attention.attn.relative_position_embedding.pos_proj.weight': 'linear_pos',
  'attention.post.weight': 'attn_out',
  'ffw_layer_start.ffw_layer_1.weight': 'ffn_up',
  'ffw_layer_start.ffw_layer_2.weight': 'ffn_down',
  'ffw_layer_end.ffw_layer_1.weight': 'ffn_up_1',
  'ffw_layer_end.ffw_layer_2.weight': 'ffn_down_1',
  'lconv1d.linear_start.weight': 'conv_pw1',
  'lconv1d.linear_end.weight': 'conv_pw2',
};

const conformerExact: Readonly<Record<string, string>> = {
  'attention.attn.per_dim_scale': 'per_dim_scale',
  'attention.pre_attn_norm.weight': 'ln1',
  'attention.post_norm.weight': 'ln2',
  'ffw_layer_start.pre_layer_norm.weight': 'ffn_norm',
  'ffw_layer_start.post_layer_norm.weight': 'ffn_post_norm',
  'ffw_layer_end.pre_layer_norm.weight': 'ffn_norm_1',
  'ffw_layer_end.post_layer_norm.weight': 'ffn_post_norm_1',
  'lconv1d.pre_layer_norm.weight': 'conv_norm',
  'lconv1d.conv_norm.weight': 'norm_conv',
  'lconv1d.depthwise_conv1d.weight': 'conv_dw',
  'norm.weight': 'layer_pre_norm',
};

const embedderParts: Readonly<Record<string, { readonly name: string; readonly exact?: boolean }>> = {
  'embedding.weight': { name: 'embedding' },
  'embedding_projection.weight': { name: 'input_projection' },
  'hard_embedding_norm.weight': { name: 'hard_emb_norm', exact: true },
  'soft_embedding_norm.weight': { name: 'soft_emb_norm', exact: true },
};

const topLevel: Readonly<Record<string, Omit<Mapping, 'target'>>> = {
  'embed_tokens.weight': { name: 'token_embd.weight' },
  'embed_tokens_per_layer.weight': { name: 'per_layer_token_embd.weight' },
  'per_layer_model_projection.weight': { name: 'per_layer_model_proj.weight' },
  'per_layer_projection_norm.weight': { name: 'per_layer_proj_norm.weight', exact: true },
  'norm.weight': { name: 'output_norm.weight', exact: true },
};

const asColumn = (shape: readonly number[]): readonly number[] => [1, shape[0] ?? 0, 1, 1];

function mapText(rest: string): Mapping | undefined {
  const layer = /^layers\.(\d+)\.(.+)$/.exec(rest);
  if (layer !== null) {
    const [, index, part = ''] = layer;
    const matrix = layerMatrices[part];
    if (matrix !== undefined) return { target: 'text', name: `blk.${index}.${matrix}.weight` };
    const exact = layerExact[part];
    return exact === undefined ? undefined : { target: 'text', name: `blk.${index}.${exact}.weight`, exact: true };
  }
  const altup = /^altup_(projections|unembed_projections)\.([012])\.weight$/.exec(rest);
  if (altup !== null) {
    const name = altup[1] === 'projections' ? 'altup_proj.weight' : 'altup_unembd_proj.weight';
    return { target: 'text', name, stack: { index: Number(altup[2]), count: 3 } };
  }
  const top = topLevel[rest];
  return top === undefined ? undefined : { target: 'text', ...top };
}

function mapVision(rest: string): Mapping | undefined {
  const block = /^blocks\.(\d+)\.(\d+)\.(.+)$/.exec(rest);
  const name = block === null ? `v.${rest}` : `v.blk.${block[1]}.${block[2]}.${block[3]}`;
  if (!/^v\.(blk\.\d+\.\d+\.|conv_stem\.|msfa\.)[a-z0-9_.]+\.(weight|bias|gamma)$/.test(name)) return undefined;
  if (/\.(bias|gamma)$/.test(name)) return { target: 'multimodal', name, exact: true, reshape: asColumn };
  const exact = /\.(bn|bn1|bn2|norm)\.weight$/.test(name);
  return { target: 'multimodal', name, exact };
}

function mapAudio(rest: string): Mapping | undefined {
  const block = /^conformer\.(\d+)\.(.+)$/.exec(rest);
  if (block !== null) {
    const [, index, part = ''] = block;
    const matrix = conformerMatrices[part];
    if (matrix !== undefined) return { target: 'multimodal', name: `a.blk.${index}.${matrix}.weight` };
    const exact = conformerExact[part];
    if (exact === undefined) return undefined;
    const reshape = exact === 'conv_dw' ? (shape: readonly number[]) => [shape[0] ?? 0, shape.at(-1) ?? 0] : undefined;
    return { target: 'multimodal', name: `a.blk.${index}.${exact}.weight`, exact: true, ...(reshape && { reshape }) };
  }
  const conv = /^subsample_conv_projection\.conv_([01])\.(conv|norm)\.weight$/.exec(rest);
  if (conv !== null) {
    const [, index, part] = conv;
    const name = part === 'conv' ? `a.conv1d.${index}.weight` : `a.conv1d.${index}.norm.weight`;
    return { target: 'multimodal', name, exact: part === 'norm' };
  }
  if (rest === 'subsample_conv_projection.input_proj_linear.weight') {
    return { target: 'multimodal', name: 'a.input_projection.weight' };
  }
  return undefined;
}

function mapEmbedder(prefix: string, rest: string): Mapping | undefined {
  const part = embedderParts[rest];
  return part === undefined ? undefined : { target: 'multimodal', ...part, name: `${prefix}${part.name}.weight` };
}

/** Undefined for a tensor no part of the model is made of. */
export function mapTensor(name: string): Mapping | undefined {
  const path = name.replace(/^model\./, '');
  const after = (prefix: string): string | undefined =>
    path.startsWith(prefix) ? path.slice(prefix.length) : undefined;
  const vision = after('vision_tower.timm_model.');
  if (vision !== undefined) return mapVision(vision);
  const audio = after('audio_tower.');
  if (audio !== undefined) return mapAudio(audio);
  const embedVision = after('embed_vision.');
  if (embedVision !== undefined) return mapEmbedder('mm.', embedVision);
  const embedAudio = after('embed_audio.');
  if (embedAudio !== undefined) return mapEmbedder('mm.a.', embedAudio);
  return mapText(after('language_model.') ?? path);
}

/** The head is tied to the embedding; a checkpoint may spell it out all the same. */
export function isTiedHead(name: string): boolean {
  return name === 'lm_head.weight' || name === 'model.lm_head.weight';
}
