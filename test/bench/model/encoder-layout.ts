/**
 * The tensors of a Gemma 3n multimodal file: names and shapes of the released encoders (MobileNet-V5-300M and the USM
 * conformer), the types of an 8-bit file, and how wide the noise is that stands for the weights.
 */
import { blockFormats, encodedBytes } from '../../../daemon/models/convert/block-formats';
import type { AudioConfig, ModelConfig } from '../../../daemon/models/convert/model-config';
import type { NoiseType, TensorPlan } from './layout';

/** A block of the vision encoder. `in` widths follow from the block before. */
type VisionBlock =
  | { readonly kind: 'edge'; readonly out: number; readonly expand: number }
  | {
      readonly kind: 'inverted';
      readonly out: number;
      readonly expand: number;
      /** Sides of the depthwise convolutions before and after the expansion; 0: none. */
      readonly start: number;
      readonly mid: number;
    }
  | { readonly kind: 'attention'; readonly heads: number; readonly headDim: number; readonly down: boolean };

export interface VisionShape {
  readonly stem: number;
  readonly stages: readonly (readonly VisionBlock[])[];
}

const inverted = (out: number, expand: number, start: number, mid = 0): VisionBlock => ({
  kind: 'inverted',
  out,
  expand,
  start,
  mid,
});
const edge = (out: number, expand: number): VisionBlock => ({ kind: 'edge', out, expand });
const attention = (heads: number, headDim: number, down: boolean): VisionBlock => ({
  kind: 'attention',
  heads,
  headDim,
  down,
});
const times = <T>(count: number, ...items: readonly T[]): T[] => Array.from({ length: count }, () => items).flat();

/** timm `mobilenetv5_300m_enc`: 84 blocks. */
export const releasedVision: VisionShape = {
  stem: 64,
  stages: [
    times(3, edge(128, 4)),
    [inverted(256, 6, 3, 5), ...times(2, inverted(256, 4, 5), inverted(256, 4, 3))],
    [
      inverted(640, 6, 5, 5),
      ...times(7, inverted(640, 4, 5)),
      inverted(640, 1, 0),
      ...times(14, attention(12, 64, true), inverted(640, 2, 0)),
    ],
    [inverted(1280, 6, 5, 5), ...times(19, attention(16, 96, false), inverted(1280, 2, 0))],
  ],
};

/** Every kind of block once, narrow: for trying the bench. */
export const tinyVision: VisionShape = {
  stem: 32,
  stages: [
    [edge(32, 2)],
    [inverted(64, 2, 3, 5)],
    [inverted(96, 2, 5, 5), attention(2, 32, true), inverted(96, 2, 0)],
    [inverted(128, 2, 5, 5), attention(2, 32, false), inverted(128, 1, 0)],
  ],
};

/** In the order of the file. `vision` undefined: without pictures. */
export function encoderLayout(config: ModelConfig, vision: VisionShape): TensorPlan[] {
  const plans: TensorPlan[] = [];
  const add = (name: string, dims: readonly number[], type: NoiseType, std: number | undefined): void => {
    const values = dims.reduce((product, dim) => product * dim, 1);
    const format = blockFormats[type];
    plans.push({ info: { name, dims, typeId: format.id, bytes: encodedBytes(format, values) }, type, std });
  };
  const out: Writer = {
    matrix: (name, outputs, inputs) => add(`${name}.weight`, [inputs, outputs], 'q8_0', inputs ** -0.5),
    conv: (name, outputs, inputs, side) =>
      add(`${name}.weight`, [side, side, inputs, outputs], 'f32', (inputs * side * side) ** -0.5),
    values: (name, size, std) => add(name, [size], 'f32', std),
    table: (name, rows, columns) => add(`${name}.weight`, [columns, rows], 'q8_0', 1),
    rows: (name, dims, std) => add(`${name}.weight`, dims, 'f32', std),
  };
  if (config.vision !== undefined) {
    visionTensors(out, vision, config.vision.hidden);
    embedder(out, 'mm', config.vision.hidden, config.vision.vocabSize, config.text.hidden);
  }
  if (config.audio !== undefined) {
    audioTensors(out, config.audio);
    embedder(out, 'mm.a', config.audio.hidden, config.audio.vocabSize, config.text.hidden);
  }
  return plans;
}

interface Writer {
  matrix(name: string, outputs: number, inputs: number): void;
  conv(name: string, outputs: number, inputs: number, side: number): void;
  values(name: string, size: number, std?: number): void;
  table(name: string, rows: number, columns: number): void;
  rows(name: string, dims: readonly number[], std: number): void;
}

function embedder(out: Writer, prefix: string, hidden: number, vocab: number, textHidden: number): void {
  out.table(`${prefix}.embedding`, vocab, hidden);
  out.matrix(`${prefix}.input_projection`, textHidden, hidden);
  out.values(`${prefix}.hard_emb_norm.weight`, hidden);
  out.values(`${prefix}.soft_emb_norm.weight`, hidden);
}

function visionTensors(out: Writer, { stem, stages }: VisionShape, hidden: number): void {
  out.conv('v.conv_stem.conv', stem, 3, 3);
  out.values('v.conv_stem.conv.bias', stem, 0.1);
  out.values('v.conv_stem.bn.weight', stem);
  let channels = stem;
  const widths: number[] = [];
  stages.forEach((blocks, stage) => {
    blocks.forEach((block, index) => {
      channels = visionBlock(out, `v.blk.${stage}.${index}.`, block, channels);
    });
    widths.push(channels);
  });
  const fused = (widths.at(-1) ?? 0) + (widths.at(-2) ?? 0);
  invertedResidual(out, 'v.msfa.ffn.', { out: hidden, expand: 2, start: 0, mid: 0 }, fused, false);
  out.values('v.msfa.norm.weight', hidden);
}

function visionBlock(out: Writer, prefix: string, block: VisionBlock, channels: number): number {
  if (block.kind === 'attention') {
    mobileAttention(out, prefix, block, channels);
    return channels;
  }
  if (block.kind === 'inverted') {
    invertedResidual(out, prefix, block, channels, true);
    return block.out;
  }
  const mid = channels * block.expand;
  out.conv(`${prefix}conv_exp`, mid, channels, 3);
  out.values(`${prefix}bn1.weight`, mid);
  out.matrix(`${prefix}conv_pwl`, block.out, mid);
  out.values(`${prefix}bn2.weight`, block.out);
  return block.out;
}

function invertedResidual(
  out: Writer,
  prefix: string,
  block: Omit<Extract<VisionBlock, { kind: 'inverted' }>, 'kind'>,
  channels: number,
  scaled: boolean,
): void {
  const mid = channels * block.expand;
  if (block.start > 0) {
    out.conv(`${prefix}dw_start.conv`, channels, 1, block.start);
    out.values(`${prefix}dw_start.bn.weight`, channels);
  }
  out.matrix(`${prefix}pw_exp.conv`, mid, channels);
  out.values(`${prefix}pw_exp.bn.weight`, mid);
  if (block.mid > 0) {
    out.conv(`${prefix}dw_mid.conv`, mid, 1, block.mid);
    out.values(`${prefix}dw_mid.bn.weight`, mid);
  }
  out.matrix(`${prefix}pw_proj.conv`, block.out, mid);
  out.values(`${prefix}pw_proj.bn.weight`, block.out);
  if (scaled) out.values(`${prefix}layer_scale.gamma`, block.out);
}

function mobileAttention(
  out: Writer,
  prefix: string,
  { heads, headDim, down }: Extract<VisionBlock, { kind: 'attention' }>,
  channels: number,
): void {
  out.values(`${prefix}norm.weight`, channels);
  out.matrix(`${prefix}attn.query.proj`, heads * headDim, channels);
  for (const part of ['key', 'value']) {
    if (down) {
      out.conv(`${prefix}attn.${part}.down_conv`, channels, 1, 3);
      out.values(`${prefix}attn.${part}.norm.weight`, channels);
    }
    out.matrix(`${prefix}attn.${part}.proj`, headDim, channels);
  }
  out.matrix(`${prefix}attn.output.proj`, channels, heads * headDim);
  out.values(`${prefix}layer_scale.gamma`, channels);
}

function audioTensors(out: Writer, audio: AudioConfig): void {
  const {
    hidden,
    convChannels: [first, second],
  } = audio;
  out.conv('a.conv1d.0', first, 1, 3);
  out.values('a.conv1d.0.norm.weight', first);
  out.conv('a.conv1d.1', second, first, 3);
  out.values('a.conv1d.1.norm.weight', second);
  out.matrix('a.input_projection', hidden, second * Math.ceil(Math.ceil(audio.melBins / 2) / 2));
  for (let index = 0; index < audio.layers; index++) {
    const block = (name: string): string => `a.blk.${index}.${name}`;
    for (const norm of conformerNorms) out.values(block(`${norm}.weight`), hidden);
    for (const square of ['attn_q', 'attn_k', 'attn_v', 'attn_out', 'linear_pos', 'conv_pw2'])
      out.matrix(block(square), hidden, hidden);
    out.values(block('per_dim_scale.weight'), hidden / audio.heads, 0.1);
    for (const half of ['', '_1']) {
      out.matrix(block(`ffn_up${half}`), 4 * hidden, hidden);
      out.matrix(block(`ffn_down${half}`), hidden, 4 * hidden);
    }
    out.matrix(block('conv_pw1'), 2 * hidden, hidden);
    out.rows(block('conv_dw'), [audio.convKernel, hidden], audio.convKernel ** -0.5);
  }
}

const conformerNorms = [
  'ln1',
  'ln2',
  'ffn_norm',
  'ffn_post_norm',
  'ffn_norm_1',
  'ffn_post_norm_1',
  'conv_norm',
  'norm_conv',
  'layer_pre_norm',
] as const;
