/** A checkpoint's `config.json`, cut down to what the files need and checked. Defaults are those of transformers 5.18. */
import { HearthError } from '../../errors';
import { isObject, malformed, shown, toJson } from './checkpoint-files';

/** Pieces, and values in a row, beyond which a configuration cannot be meant. */
const maxVocab = 1 << 20;
const maxWidth = 1 << 18;

export interface TextConfig {
  readonly vocabSize: number;
  readonly textVocabSize: number;
  readonly hidden: number;
  readonly pleDim: number;
  readonly ffnWidths: readonly number[];
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly sharedKvLayers: number;
  readonly window: number;
  readonly local: readonly boolean[];
  readonly sparsity: readonly number[];
  readonly ropeGlobal: number;
  readonly ropeLocal: number;
  readonly normEps: number;
  readonly softCap: number;
  readonly laurelRank: number;
  readonly contextLength: number;
  readonly bos: number;
  readonly eos: number;
  readonly pad: number;
}

export interface VisionConfig {
  readonly hidden: number;
  readonly normEps: number;
  readonly vocabOffset: number;
  readonly vocabSize: number;
}

export interface AudioConfig {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly melBins: number;
  /** Of the two strided convolutions. */
  readonly convChannels: readonly [number, number];
  /** Frames the light convolution spans. */
  readonly convKernel: number;
  readonly chunkSize: number;
  readonly contextLeft: number;
  readonly contextRight: number;
  readonly logitCap: number;
  readonly reductionFactor: number;
  readonly residualWeight: number;
  readonly gradientClipping: number;
  readonly normEps: number;
  readonly groupNormEps: number;
  readonly vocabOffset: number;
  readonly vocabSize: number;
}

export interface ModelConfig {
  readonly text: TextConfig;
  readonly vision: VisionConfig | undefined;
  readonly audio: AudioConfig | undefined;
  /** Ids that structure a prompt, by the piece they stand for, whatever the tokenizer calls them. */
  readonly namedIds: ReadonlyMap<number, string>;
  readonly imageSoftTokens: number;
  readonly audioSoftTokens: number;
}

type Json = Record<string, unknown>;

const bad = (key: string, expected: string, found: unknown): HearthError =>
  malformed('config.json', `${key}: expected ${expected}, found ${shown(found)}`);

const unsupported = (key: string, expected: string, found: unknown): HearthError =>
  new HearthError('CHECKPOINT_UNSUPPORTED', `config.json: ${key}: only ${expected} is run, found ${shown(found)}`);

function section(json: Json, key: string): Json {
  const value = json[key];
  if (!isObject(value)) throw bad(key, 'an object', value);
  return value;
}

function optionalSection(json: Json, key: string): Json | undefined {
  return json[key] === undefined || json[key] === null ? undefined : section(json, key);
}

/** A number above zero: the epsilons, bases and caps all are. */
function positive(json: Json, key: string, otherwise: number): number {
  const value = json[key] ?? otherwise;
  if (typeof value !== 'number' || !(Math.fround(value) > 0 && Number.isFinite(Math.fround(value))))
    throw bad(key, 'a number above 0', value);
  return value;
}

function count(json: Json, key: string, min: number, max: number, otherwise?: number): number {
  const value = json[key] ?? otherwise;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
    throw bad(key, `an integer from ${min} to ${max}`, value);
  return value;
}

/** A setting the runtime has no alternative to. */
function only(json: Json, key: string, value: unknown): void {
  const found = json[key];
  if (found !== undefined && found !== null && toJson(found) !== toJson(value))
    throw unsupported(key, shown(value), found);
}

/** One value a layer; a single one stands for all. */
function perLayer<T>(
  json: Json,
  key: string,
  layers: number,
  expected: string,
  is: (value: unknown) => value is T,
  otherwise?: (layer: number) => T,
): T[] {
  const value = json[key];
  if ((value === undefined || value === null) && otherwise !== undefined)
    return Array.from({ length: layers }, (_, layer) => otherwise(layer));
  if (is(value)) return Array<T>(layers).fill(value);
  if (!Array.isArray(value) || value.length !== layers || !value.every(is))
    throw bad(key, `${expected}, or one for each of ${layers} layers`, value);
  return value;
}

type LayerType = 'sliding_attention' | 'full_attention';
const isLayerType = (value: unknown): value is LayerType => value === 'sliding_attention' || value === 'full_attention';
const isWidth = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= maxWidth;
const isShare = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value < 1;

function ropeBase(text: Json, kind: LayerType, flatKey: string, otherwise: number): number {
  const parameters = optionalSection(text, 'rope_parameters');
  const own = parameters && optionalSection(parameters, kind);
  if (own === undefined) return positive(text, flatKey, otherwise);
  only(own, 'rope_type', 'default');
  return positive(own, 'rope_theta', otherwise);
}

/** Each layer above the last one with a KV cache of its own reads the cache of a layer of its own kind. */
function checkSharing(local: readonly boolean[], sharedKvLayers: number): void {
  const first = local.length - sharedKvLayers;
  for (const kind of new Set(local.slice(first))) {
    if (!local.slice(0, first).includes(kind)) {
      throw bad(
        'num_kv_shared_layers',
        `a ${kind ? 'sliding' : 'full'} attention layer below ${first} whose cache can be shared`,
        sharedKvLayers,
      );
    }
  }
}

function parseText(text: Json): TextConfig {
  only(text, 'hidden_activation', 'gelu_pytorch_tanh');
  only(text, 'altup_num_inputs', 4);
  only(text, 'altup_active_idx', 0);
  only(text, 'altup_correct_scale', true);
  only(text, 'attention_bias', false);
  only(text, 'rope_scaling', null);
  const layers = count(text, 'num_hidden_layers', 1, 256);
  const local = perLayer(text, 'layer_types', layers, 'sliding_attention or full_attention', isLayerType, (layer) =>
    (layer + 1) % 5 === 0 ? 'full_attention' : 'sliding_attention',
  ).map((kind) => kind === 'sliding_attention');
  const sharedKvLayers = count(text, 'num_kv_shared_layers', 0, layers - 1, 15);
  checkSharing(local, sharedKvLayers);
  const sparseLayers = layers > 10 ? 10 : 0;
  const vocabSize = count(text, 'vocab_size', 1, maxVocab, 262_400);
  const heads = count(text, 'num_attention_heads', 1, 1024);
  const kvHeads = count(text, 'num_key_value_heads', 1, 1024);
  if (heads % kvHeads !== 0) throw bad('num_key_value_heads', `a divisor of ${heads} query heads`, kvHeads);
  return {
    vocabSize,
    textVocabSize: count(text, 'vocab_size_per_layer_input', 1, vocabSize, 262_144),
    hidden: count(text, 'hidden_size', 1, maxWidth),
    pleDim: count(text, 'hidden_size_per_layer_input', 1, maxWidth, 256),
    ffnWidths: perLayer(text, 'intermediate_size', layers, `an integer from 1 to ${maxWidth}`, isWidth),
    layers,
    heads,
    kvHeads,
    headDim: count(text, 'head_dim', 2, 8192, 256),
    sharedKvLayers,
    window: count(text, 'sliding_window', 1, 1 << 24, 512),
    local,
    sparsity: perLayer(text, 'activation_sparsity_pattern', layers, 'a number from 0 to below 1', isShare, (layer) =>
      layer < sparseLayers ? 0.95 : 0,
    ),
    ropeGlobal: ropeBase(text, 'full_attention', 'rope_theta', 1_000_000),
    ropeLocal: ropeBase(text, 'sliding_attention', 'rope_local_base_freq', 10_000),
    normEps: positive(text, 'rms_norm_eps', 1e-6),
    softCap: positive(text, 'final_logit_softcapping', 30),
    laurelRank: count(text, 'laurel_rank', 1, maxWidth, 64),
    contextLength: count(text, 'max_position_embeddings', 1, 1 << 24, 32_768),
    bos: count(text, 'bos_token_id', 0, vocabSize - 1, 2),
    // Some list <end_of_turn> as well, which has a key of its own in the file.
    eos: count({ eos: firstOf(text['eos_token_id']) }, 'eos', 0, vocabSize - 1, 1),
    pad: count(text, 'pad_token_id', 0, vocabSize - 1, 0),
  };
}

function firstOf(value: unknown): unknown {
  return Array.isArray(value) && value.length > 0 ? value[0] : value;
}

function parseVision(vision: Json): VisionConfig {
  // The encoder's own norms have timm's epsilon; the embedder's are the model's.
  only(vision, 'rms_norm_eps', 1e-6);
  return {
    hidden: count(vision, 'hidden_size', 1, maxWidth, 2048),
    normEps: positive(vision, 'rms_norm_eps', 1e-6),
    vocabOffset: count(vision, 'vocab_offset', 0, maxVocab, 262_144),
    vocabSize: count(vision, 'vocab_size', 1, maxVocab, 128),
  };
}

function parseAudio(audio: Json): AudioConfig {
  const square = [3, 3];
  only(audio, 'sscp_conv_kernel_size', [square, square]);
  only(audio, 'sscp_conv_stride_size', [
    [2, 2],
    [2, 2],
  ]);
  const hidden = count(audio, 'hidden_size', 1, maxWidth, 1536);
  const heads = count(audio, 'conf_num_attention_heads', 1, 1024, 8);
  if (hidden % heads !== 0) throw bad('conf_num_attention_heads', `a divisor of ${hidden} values a frame`, heads);
  return {
    hidden,
    layers: count(audio, 'conf_num_hidden_layers', 1, 256, 12),
    heads,
    melBins: count(audio, 'input_feat_size', 1, 1024, 128),
    convChannels: convChannels(audio),
    convKernel: count(audio, 'conf_conv_kernel_size', 1, 64, 5),
    chunkSize: count(audio, 'conf_attention_chunk_size', 1, 4096, 12),
    contextLeft: count(audio, 'conf_attention_context_left', 1, 4096, 13),
    contextRight: count(audio, 'conf_attention_context_right', 0, 4096, 0),
    logitCap: positive(audio, 'conf_attention_logit_cap', 50),
    reductionFactor: count(audio, 'conf_reduction_factor', 1, 64, 4),
    residualWeight: positive(audio, 'conf_residual_weight', 0.5),
    gradientClipping: positive(audio, 'gradient_clipping', 1e10),
    normEps: positive(audio, 'rms_norm_eps', 1e-6),
    groupNormEps: positive(audio, 'sscp_conv_group_norm_eps', 1e-3),
    vocabOffset: count(audio, 'vocab_offset', 0, maxVocab, 262_272),
    vocabSize: count(audio, 'vocab_size', 1, maxVocab, 128),
  };
}

function convChannels(audio: Json): readonly [number, number] {
  const key = 'sscp_conv_channel_size';
  const value = audio[key] ?? [128, 32];
  if (!Array.isArray(value) || value.length !== 2 || !value.every(isWidth)) throw bad(key, 'two channel counts', value);
  return [value[0] as number, value[1] as number];
}

/** Ids are those of text, then of the vision embedder, then of the audio embedder. */
function checkIdRanges(text: TextConfig, vision: VisionConfig | undefined, audio: AudioConfig | undefined): void {
  const visionStart = text.textVocabSize;
  if (vision !== undefined && vision.vocabOffset !== visionStart)
    throw unsupported('vision_config.vocab_offset', `${visionStart}`, vision.vocabOffset);
  const audioStart = visionStart + (vision?.vocabSize ?? 0);
  if (vision !== undefined && audio !== undefined && audio.vocabOffset !== audioStart) {
    throw unsupported('audio_config.vocab_offset', `${audioStart}`, audio.vocabOffset);
  }
}

/** Throws `CHECKPOINT_MALFORMED` or `CHECKPOINT_UNSUPPORTED`. */
export function parseModelConfig(json: Json): ModelConfig {
  const type = json['model_type'];
  if (type === 'gemma3n_text') {
    return {
      text: parseText(json),
      vision: undefined,
      audio: undefined,
      namedIds: new Map(),
      imageSoftTokens: 0,
      audioSoftTokens: 0,
    };
  }
  if (type !== 'gemma3n') throw unsupported('model_type', 'gemma3n or gemma3n_text', type);
  const text = parseText(section(json, 'text_config'));
  const vision = optionalSection(json, 'vision_config');
  const audio = optionalSection(json, 'audio_config');
  const namedIds = new Map<number, string>();
  const name = (key: string, piece: string, otherwise: number): void => {
    const id = count(json, key, 0, text.vocabSize - 1, otherwise);
    if (namedIds.has(id)) throw bad(key, `an id of its own, not that of ${namedIds.get(id)}`, id);
    namedIds.set(id, piece);
  };
  if (vision !== undefined) {
    name('boi_token_id', '<start_of_image>', 255_999);
    name('eoi_token_id', '<end_of_image>', 262_144);
    name('image_token_id', '<image_soft_token>', 262_145);
  }
  if (audio !== undefined) {
    name('boa_token_id', '<start_of_audio>', 256_000);
    name('eoa_token_id', '<end_of_audio>', 262_272);
    name('audio_token_id', '<audio_soft_token>', 262_273);
  }
  const towers = { vision: vision && parseVision(vision), audio: audio && parseAudio(audio) };
  checkIdRanges(text, towers.vision, towers.audio);
  return {
    text,
    ...towers,
    namedIds,
    imageSoftTokens: count(json, 'vision_soft_tokens_per_image', 1, 1 << 16, 256),
    audioSoftTokens: count(json, 'audio_soft_tokens_per_image', 1, 1 << 16, 188),
  };
}
