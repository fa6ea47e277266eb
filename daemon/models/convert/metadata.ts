/** The keys of the GGUF files: llama.cpp's where it has them, `hearth.*` for what only this runtime knows. */
import type { GgufValue } from './gguf-writer';
import type { AudioConfig, ModelConfig, TextConfig } from './model-config';
import { probit } from './probit';
import { type Piece, pieceTypes } from './sentencepiece';

export type Metadata = Map<string, GgufValue>;

const u32 = (value: number): GgufValue => ({ type: 'u32', value });
const f32 = (value: number): GgufValue => ({ type: 'f32', value });
const str = (value: string): GgufValue => ({ type: 'string', value });
const bool = (value: boolean): GgufValue => ({ type: 'bool', value });

/**
 * Pieces that structure a prompt. They become control pieces whatever the checkpoint's tokenizer calls them: text from
 * outside is tokenised without control pieces, so it cannot open a turn.
 */
const structural = new Set([
  '<start_of_turn>',
  '<end_of_turn>',
  '<start_of_image>',
  '<end_of_image>',
  '<image_soft_token>',
  '<start_of_audio>',
  '<end_of_audio>',
  '<audio_soft_token>',
]);

export interface Vocabulary {
  readonly tokens: readonly string[];
  readonly scores: readonly number[];
  readonly types: readonly number[];
}

/** The tokenizer's pieces, then a name for every id past them. */
export function buildVocabulary(pieces: readonly Piece[], config: ModelConfig): Vocabulary {
  const tokens: string[] = [];
  const scores: number[] = [];
  const types: number[] = [];
  for (let id = 0; id < config.text.vocabSize; id++) {
    const named = config.namedIds.get(id);
    const piece = named === undefined ? pieces[id] : undefined;
    const text = named ?? piece?.text ?? `<unused_id_${id}>`;
    tokens.push(text);
    scores.push(piece?.score ?? 0);
    if (structural.has(text)) types.push(pieceTypes.control);
    else types.push(piece?.type ?? pieceTypes.unused);
  }
  return { tokens, scores, types };
}

function tokenizerKeys(metadata: Metadata, vocabulary: Vocabulary, text: TextConfig): void {
  const idOf = (piece: string): number => vocabulary.tokens.indexOf(piece);
  metadata.set('tokenizer.ggml.model', str('llama'));
  metadata.set('tokenizer.ggml.pre', str('default'));
  metadata.set('tokenizer.ggml.tokens', { type: 'array', of: 'string', value: vocabulary.tokens });
  metadata.set('tokenizer.ggml.scores', { type: 'array', of: 'f32', value: vocabulary.scores });
  metadata.set('tokenizer.ggml.token_type', { type: 'array', of: 'i32', value: vocabulary.types });
  metadata.set('tokenizer.ggml.bos_token_id', u32(text.bos));
  metadata.set('tokenizer.ggml.eos_token_id', u32(text.eos));
  metadata.set('tokenizer.ggml.padding_token_id', u32(text.pad));
  const unknown = vocabulary.types.indexOf(pieceTypes.unknown);
  if (unknown >= 0) metadata.set('tokenizer.ggml.unknown_token_id', u32(unknown));
  const endOfTurn = idOf('<end_of_turn>');
  if (endOfTurn >= 0) metadata.set('tokenizer.ggml.eot_token_id', u32(endOfTurn));
  metadata.set('tokenizer.ggml.add_bos_token', bool(true));
  metadata.set('tokenizer.ggml.add_space_prefix', bool(false));
}

export function textMetadata(name: string, config: ModelConfig, vocabulary: Vocabulary, prompts: string | undefined): Metadata {
  const { text } = config;
  const metadata: Metadata = new Map();
  metadata.set('general.architecture', str('gemma3n'));
  metadata.set('general.type', str('model'));
  metadata.set('general.name', str(name));
  const set = (key: string, value: GgufValue): unknown => metadata.set(`gemma3n.${key}`, value);
  set('context_length', u32(text.contextLength));
  set('embedding_length', u32(text.hidden));
  set('block_count', u32(text.layers));
  set('feed_forward_length', { type: 'array', of: 'i32', value: text.ffnWidths });
  set('attention.head_count', u32(text.heads));
  set('attention.head_count_kv', u32(text.kvHeads));
  set('attention.key_length', u32(text.headDim));
  set('attention.value_length', u32(text.headDim));
  set('attention.layer_norm_rms_epsilon', f32(text.normEps));
  set('attention.sliding_window', u32(text.window));
  set('attention.sliding_window_pattern', { type: 'array', of: 'bool', value: text.local });
  set('attention.shared_kv_layers', u32(text.sharedKvLayers));
  set('rope.freq_base', f32(text.ropeGlobal));
  set('rope.freq_base_swa', f32(text.ropeLocal));
  set('final_logit_softcapping', f32(text.softCap));
  set('altup.active_idx', u32(0));
  set('altup.num_inputs', u32(4));
  set('embedding_length_per_layer_input', u32(text.pleDim));
  set('activation_sparsity_scale', { type: 'array', of: 'f32', value: text.sparsity.map(probit) });
  tokenizerKeys(metadata, vocabulary, text);
  metadata.set('hearth.text_vocab', u32(text.textVocabSize));
  if (prompts !== undefined) metadata.set('hearth.prompts', str(prompts));
  return metadata;
}

function audioKeys(metadata: Metadata, audio: AudioConfig): void {
  const clip = (key: string, value: GgufValue): unknown => metadata.set(`clip.audio.${key}`, value);
  clip('projector_type', str('gemma3na'));
  clip('embedding_length', u32(audio.hidden));
  clip('block_count', u32(audio.layers));
  clip('attention.head_count', u32(audio.heads));
  clip('attention.layer_norm_epsilon', f32(1e-6));
  clip('num_mel_bins', u32(audio.melBins));
  const own = (key: string, value: GgufValue): unknown => metadata.set(`hearth.audio.${key}`, value);
  own('chunk_size', u32(audio.chunkSize));
  own('context_left', u32(audio.contextLeft));
  own('context_right', u32(audio.contextRight));
  own('logit_cap', f32(audio.logitCap));
  own('reduction_factor', u32(audio.reductionFactor));
  own('residual_weight', f32(audio.residualWeight));
  own('gradient_clipping', f32(audio.gradientClipping));
  own('group_norm_eps', f32(audio.groupNormEps));
  own('vocab_offset', u32(audio.vocabOffset));
}

export function multimodalMetadata(name: string, config: ModelConfig, imageSize: number): Metadata {
  const metadata: Metadata = new Map();
  metadata.set('general.architecture', str('clip'));
  metadata.set('general.type', str('mmproj'));
  metadata.set('general.name', str(name));
  metadata.set('clip.has_vision_encoder', bool(config.vision !== undefined));
  metadata.set('clip.has_audio_encoder', bool(config.audio !== undefined));
  metadata.set('hearth.image_size', u32(imageSize));
  metadata.set('hearth.image_soft_tokens', u32(config.imageSoftTokens));
  metadata.set('hearth.audio_soft_tokens', u32(config.audioSoftTokens));
  if (config.vision !== undefined) {
    const clip = (key: string, value: GgufValue): unknown => metadata.set(`clip.vision.${key}`, value);
    clip('projector_type', str('gemma3nv'));
    clip('image_size', u32(imageSize));
    clip('patch_size', u32(Math.max(1, Math.floor(imageSize / Math.max(1, config.imageSoftTokens)))));
    clip('embedding_length', u32(config.vision.hidden));
    clip('projection_dim', u32(config.text.hidden));
    clip('feed_forward_length', u32(config.vision.hidden * 4));
    clip('block_count', u32(128));
    clip('attention.head_count', u32(8));
    clip('attention.layer_norm_epsilon', f32(1e-6));
    clip('image_mean', { type: 'array', of: 'f32', value: [0, 0, 0] });
    clip('image_std', { type: 'array', of: 'f32', value: [1, 1, 1] });
    metadata.set('hearth.vision.vocab_offset', u32(config.vision.vocabOffset));
  }
  if (config.audio !== undefined) audioKeys(metadata, config.audio);
  return metadata;
}
