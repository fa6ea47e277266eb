/** The audio encoder's tensors: two strided convolutions and the conformer blocks. */
import type { AudioConfig } from './model-config';
import type { Pattern, Structure } from './structure';

export function claimAudio(structure: Structure, audio: AudioConfig): void {
  const {
    hidden,
    convChannels: [first, second],
  } = audio;
  structure.claim('a.conv1d.0.weight', [first, 1, 3, 3]);
  structure.claim('a.conv1d.0.norm.weight', [first]);
  structure.claim('a.conv1d.1.weight', [second, first, 3, 3]);
  structure.claim('a.conv1d.1.norm.weight', [second]);
  // Each convolution halves the bands, rounding up.
  const bands = Math.ceil(Math.ceil(audio.melBins / 2) / 2);
  structure.claim('a.input_projection.weight', [hidden, second * bands]);
  for (let block = 0; block < audio.layers; block++) {
    const claim = (name: string, ...pattern: Pattern): void =>
      structure.claim(`a.blk.${block}.${name}.weight`, pattern);
    for (const norm of [
      'ln1',
      'ln2',
      'ffn_norm',
      'ffn_post_norm',
      'ffn_norm_1',
      'ffn_post_norm_1',
      'conv_norm',
      'norm_conv',
      'layer_pre_norm',
    ])
      claim(norm, hidden);
    for (const square of ['attn_q', 'attn_k', 'attn_v', 'attn_out', 'linear_pos', 'conv_pw2'])
      claim(square, hidden, hidden);
    claim('per_dim_scale', hidden / audio.heads);
    claim('ffn_up', 4 * hidden, hidden);
    claim('ffn_down', hidden, 4 * hidden);
    claim('ffn_up_1', 4 * hidden, hidden);
    claim('ffn_down_1', hidden, 4 * hidden);
    claim('conv_pw1', 2 * hidden, hidden);
    claim('conv_dw', hidden, 1, audio.convKernel);
  }
}
