/** A checkpoint's `config.json`, cut down to what the files need and checked. Defaults are those of transformers 5.18. */
import { HearthError } from '../../errors';

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
  readonly contextLength: number;
  readonly bos: number;
  readonly eos: number;
  readonly pad: number;
}

export interface VisionConfig {
  readonly hidden: number;
  readonly vocabOffset: number;
  readonly vocabSize: number;
}

export interface AudioConfig {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly melBins: number;
  readonly chunkSize: number;
  readonly contextLeft: number;
  readonly contextRight: number;
  readonly logitCap: number;
  readonly reductionFactor: number;
  readonly residualWeight: number;
  readonly gradientClipping: number;
  readonly groupNormEps: number;
  readonly vocabOffset: number;
  readonly vocabSize: number;
}

export interface ModelConfig {
  readonly text: TextConfig;
  readonly vision: VisionConfig | undefined;
  readonly audio: AudioConfig | undefined;
  /** Ids past the tokenizer's pieces that structure a prompt, by the piece they get. */
  readonly namedIds: ReadonlyMap<number, string>;
  readonly imageSoftTokens: number;
  readonly audioSoftTokens: number;
}

type Json = Record<string, unknown>;

const bad = (key: string, expected: string, found: unknown): HearthError =>
  new HearthError('CHECKPOINT_MALFORMED', `config.json: ${key} should be ${expected}, found ${JSON.stringify(found)?.slice(0, 80) ?? 'nothing'}`);

function section(json: Json, key: string): Json {
  const value = json[key];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(key, 'an object', value);
  return value as Json;
}

function number(json: Json, key: string, otherwise?: number): number {
  const value = json[key] ?? otherwise;
  if (typeof value !== 'number' || !Number.isFinite(value)) throw bad(key, 'a number', value);
  return value;
}

function count(json: Json, key: string, otherwise?: number): number {
  const value = number(json, key, otherwise);
  if (!Number.isInteger(value) || value < 0 || value > 2 ** 31 - 1) throw bad(key, 'a count', value);
  return value;
}

/** One value a layer; a single one stands for all. */
function perLayer<T>(json: Json, key: string, layers: number, is: (value: unknown) => value is T, otherwise: (layer: number) => T): T[] {
  const value = json[key];
  if (value === undefined || value === null) return Array.from({ length: layers }, (_, layer) => otherwise(layer));
  if (is(value)) return Array<T>(layers).fill(value);
  if (!Array.isArray(value) || value.length !== layers || !value.every(is)) throw bad(key, `one value for each of ${layers} layers`, value);
  return value;
}

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
const isString = (value: unknown): value is string => typeof value === 'string';

function ropeBase(text: Json, kind: string, flatKey: string, otherwise: number): number {
  const parameters = text['rope_parameters'];
  if (typeof parameters === 'object' && parameters !== null) {
    const own = (parameters as Json)[kind];
    if (typeof own === 'object' && own !== null) {
      const type = (own as Json)['rope_type'] ?? 'default';
      if (type !== 'default') throw new HearthError('CHECKPOINT_UNSUPPORTED', `config.json: RoPE type ${JSON.stringify(type)}; only "default" is run`);
      return number(own as Json, 'rope_theta', otherwise);
    }
  }
  return number(text, flatKey, otherwise);
}

function parseText(text: Json): TextConfig {
  const layers = count(text, 'num_hidden_layers');
  if (layers < 1 || layers > 256) throw bad('num_hidden_layers', '1 to 256', layers);
  const widths = text['intermediate_size'];
  const local = perLayer(text, 'layer_types', layers, isString, (layer) => ((layer + 1) % 5 === 0 ? 'full_attention' : 'sliding_attention'));
  for (const kind of local) {
    if (kind !== 'full_attention' && kind !== 'sliding_attention') throw bad('layer_types', 'sliding_attention or full_attention', kind);
  }
  const activation = text['hidden_activation'] ?? 'gelu_pytorch_tanh';
  if (activation !== 'gelu_pytorch_tanh') throw new HearthError('CHECKPOINT_UNSUPPORTED', `config.json: activation ${JSON.stringify(activation)}`);
  const sparseLayers = layers > 10 ? 10 : 0;
  const vocabSize = count(text, 'vocab_size', 262_400);
  return {
    vocabSize,
    textVocabSize: count(text, 'vocab_size_per_layer_input', 262_144),
    hidden: count(text, 'hidden_size'),
    pleDim: count(text, 'hidden_size_per_layer_input', 256),
    ffnWidths: perLayer(text, 'intermediate_size', layers, isNumber, () => {
      throw bad('intermediate_size', 'one or more widths', widths);
    }),
    layers,
    heads: count(text, 'num_attention_heads'),
    kvHeads: count(text, 'num_key_value_heads'),
    headDim: count(text, 'head_dim', 256),
    sharedKvLayers: count(text, 'num_kv_shared_layers', 15),
    window: count(text, 'sliding_window', 512),
    local: local.map((kind) => kind === 'sliding_attention'),
    sparsity: perLayer(text, 'activation_sparsity_pattern', layers, isNumber, (layer) => (layer < sparseLayers ? 0.95 : 0)),
    ropeGlobal: ropeBase(text, 'full_attention', 'rope_theta', 1_000_000),
    ropeLocal: ropeBase(text, 'sliding_attention', 'rope_local_base_freq', 10_000),
    normEps: number(text, 'rms_norm_eps', 1e-6),
    softCap: number(text, 'final_logit_softcapping', 30),
    contextLength: count(text, 'max_position_embeddings', 32_768),
    bos: count(text, 'bos_token_id', 2),
    eos: count(text, 'eos_token_id', 1),
    pad: count(text, 'pad_token_id', 0),
  };
}

function parseAudio(audio: Json): AudioConfig {
  return {
    hidden: count(audio, 'hidden_size', 1536),
    layers: count(audio, 'conf_num_hidden_layers', 12),
    heads: count(audio, 'conf_num_attention_heads', 8),
    melBins: count(audio, 'input_feat_size', 128),
    chunkSize: count(audio, 'conf_attention_chunk_size', 12),
    contextLeft: count(audio, 'conf_attention_context_left', 13),
    contextRight: count(audio, 'conf_attention_context_right', 0),
    logitCap: number(audio, 'conf_attention_logit_cap', 50),
    reductionFactor: count(audio, 'conf_reduction_factor', 4),
    residualWeight: number(audio, 'conf_residual_weight', 0.5),
    gradientClipping: number(audio, 'gradient_clipping', 1e10),
    groupNormEps: number(audio, 'sscp_conv_group_norm_eps', 1e-3),
    vocabOffset: count(audio, 'vocab_offset', 262_272),
    vocabSize: count(audio, 'vocab_size', 128),
  };
}

/** Throws `CHECKPOINT_MALFORMED` or `CHECKPOINT_UNSUPPORTED`. */
export function parseModelConfig(json: Json): ModelConfig {
  const type = json['model_type'];
  if (type !== 'gemma3n' && type !== 'gemma3n_text') {
    throw new HearthError('CHECKPOINT_UNSUPPORTED', `config.json: model_type ${JSON.stringify(type)}; gemma3n and gemma3n_text are converted`);
  }
  const whole = type === 'gemma3n';
  const vision = whole ? section(json, 'vision_config') : undefined;
  const audio = whole ? section(json, 'audio_config') : undefined;
  const namedIds = new Map<number, string>();
  for (const [key, piece, otherwise] of [
    ['eoi_token_id', '<end_of_image>', 262_144],
    ['image_token_id', '<image_soft_token>', 262_145],
    ['eoa_token_id', '<end_of_audio>', 262_272],
    ['audio_token_id', '<audio_soft_token>', 262_273],
  ] as const) {
    if (whole) namedIds.set(count(json, key, otherwise), piece);
  }
  return {
    text: parseText(whole ? section(json, 'text_config') : json),
    vision: vision && {
      hidden: count(vision, 'hidden_size', 2048),
      vocabOffset: count(vision, 'vocab_offset', 262_144),
      vocabSize: count(vision, 'vocab_size', 128),
    },
    audio: audio && parseAudio(audio),
    namedIds,
    imageSoftTokens: whole ? count(json, 'vision_soft_tokens_per_image', 256) : 0,
    audioSoftTokens: whole ? count(json, 'audio_soft_tokens_per_image', 188) : 0,
  };
}
