/** The models that are measured: the released shapes, and one that is small enough to try the bench itself. */
import { type ModelConfig, parseModelConfig } from '../../../daemon/models/convert/model-config';

export const modelNames = ['e2b', 'e4b', 'tiny'] as const;
export type ModelName = (typeof modelNames)[number];

const released = {
  hidden_size: 2048,
  num_attention_heads: 8,
  num_key_value_heads: 2,
};

/** As a checkpoint's `config.json` says it; what is left out has Gemma 3n's own value. */
const configs: Readonly<Record<ModelName, Record<string, unknown>>> = {
  e2b: {
    model_type: 'gemma3n',
    text_config: { ...released, num_hidden_layers: 30, intermediate_size: 8192, num_kv_shared_layers: 10 },
    vision_config: {},
    audio_config: {},
  },
  e4b: {
    model_type: 'gemma3n',
    text_config: { ...released, num_hidden_layers: 35, intermediate_size: 16_384, num_kv_shared_layers: 15 },
    vision_config: {},
    audio_config: {},
  },
  // E4B's layers, so that its slices apply, and the widths llama.cpp has no choice about.
  tiny: {
    model_type: 'gemma3n_text',
    hidden_size: 256,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 64,
    num_hidden_layers: 35,
    intermediate_size: 512,
    num_kv_shared_layers: 15,
    vocab_size: 4352,
    vocab_size_per_layer_input: 4096,
  },
};

export function modelConfig(name: ModelName): ModelConfig {
  return parseModelConfig(configs[name]);
}
