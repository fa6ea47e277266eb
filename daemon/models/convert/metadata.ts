/** The keys of the GGUF files: llama.cpp's where it has them, `hearth.*` for what only this runtime knows. */
import type { GgufValue } from './gguf-writer';
import type { AudioConfig, ModelConfig, TextConfig, VisionConfig } from './model-config';
import { probit } from './probit';
import { pieceTypes } from './sentencepiece';
import type { Vocabulary } from './vocabulary';

export type Metadata = Map<string, GgufValue>;

const u32 = (value: number): GgufValue => ({ type: 'u32', value });
const f32 = (value: number): GgufValue => ({ type: 'f32', value });
const str = (value: string): GgufValue => ({ type: 'string', value });
const bool = (value: boolean): GgufValue => ({ type: 'bool', value });

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

export interface TextFileFacts {
  readonly name: string;
  readonly text: TextConfig;
  readonly vocabulary: Vocabulary;
  /** JSON of the checkpoint's own prompts. */
  readonly prompts: string | undefined;
}

export function textMetadata({ name, text, vocabulary, prompts }: TextFileFacts): Metadata {
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
  clip('attention.layer_norm_epsilon', f32(audio.normEps));
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

/** llama.cpp wants the counts of a transformer; its MobileNet-V5 graph reads none of them, and neither does this runtime. */
function visionKeys(
  metadata: Metadata,
  vision: VisionConfig,
  projectionDim: number,
  imageSize: number,
  softTokens: number,
): void {
  const clip = (key: string, value: GgufValue): unknown => metadata.set(`clip.vision.${key}`, value);
  clip('projector_type', str('gemma3nv'));
  clip('image_size', u32(imageSize));
  clip('patch_size', u32(Math.max(1, Math.floor(imageSize / softTokens))));
  clip('embedding_length', u32(vision.hidden));
  clip('projection_dim', u32(projectionDim));
  clip('feed_forward_length', u32(vision.hidden * 4));
  clip('block_count', u32(128));
  clip('attention.head_count', u32(8));
  clip('attention.layer_norm_epsilon', f32(vision.normEps));
  clip('image_mean', { type: 'array', of: 'f32', value: [0, 0, 0] });
  clip('image_std', { type: 'array', of: 'f32', value: [1, 1, 1] });
  metadata.set('hearth.vision.vocab_offset', u32(vision.vocabOffset));
}

export interface MultimodalFileFacts {
  readonly name: string;
  /** Without a tower's section the file says that it has no such encoder. */
  readonly config: ModelConfig;
  /** Side of the square a picture is resized to, in pixels. */
  readonly imageSize: number;
}

export function multimodalMetadata({ name, config, imageSize }: MultimodalFileFacts): Metadata {
  const metadata: Metadata = new Map();
  metadata.set('general.architecture', str('clip'));
  metadata.set('general.type', str('mmproj'));
  metadata.set('general.name', str(name));
  metadata.set('clip.has_vision_encoder', bool(config.vision !== undefined));
  metadata.set('clip.has_audio_encoder', bool(config.audio !== undefined));
  if (config.vision !== undefined) {
    metadata.set('hearth.image_size', u32(imageSize));
    metadata.set('hearth.image_soft_tokens', u32(config.imageSoftTokens));
  }
  if (config.audio !== undefined) metadata.set('hearth.audio_soft_tokens', u32(config.audioSoftTokens));
  if (config.vision !== undefined)
    visionKeys(metadata, config.vision, config.text.hidden, imageSize, config.imageSoftTokens);
  if (config.audio !== undefined) audioKeys(metadata, config.audio);
  return metadata;
}
