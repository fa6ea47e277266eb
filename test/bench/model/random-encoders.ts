/**
 * Full-size vision and audio encoders with random weights, 8 bits a weight, and a text model of two narrow layers to
 * open them with: an engine needs one, as wide as the encoders' soft tokens.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { multimodalMetadata } from '../../../daemon/models/convert/metadata';
import { type ModelConfig, parseModelConfig } from '../../../daemon/models/convert/model-config';
import { encoderLayout, releasedVision, tinyVision, type VisionShape } from './encoder-layout';
import type { TensorPlan } from './layout';
import { keepFile, randomModel, writeNoise } from './random-model';

export const encoderSizes = ['full', 'tiny'] as const;
export type EncoderSize = (typeof encoderSizes)[number];

export interface RandomEncoders {
  readonly modelPath: string;
  readonly multimodalPath: string;
  /** Of the multimodal file. */
  readonly bytes: number;
  readonly layout: readonly TensorPlan[];
  readonly config: ModelConfig;
}

/** Counts up when the same layout gets other bytes. */
const recipeVersion = 1;

const shapes: Readonly<
  Record<
    EncoderSize,
    {
      readonly vision: VisionShape;
      readonly hidden: number;
      readonly audio: Record<string, unknown>;
      readonly visionHidden: number;
    }
  >
> = {
  full: { vision: releasedVision, hidden: 2048, audio: {}, visionHidden: 2048 },
  tiny: {
    vision: tinyVision,
    hidden: 256,
    audio: {
      hidden_size: 128,
      conf_num_attention_heads: 4,
      conf_num_hidden_layers: 2,
      sscp_conv_channel_size: [32, 16],
    },
    visionHidden: 256,
  },
};

/** Ids that no text is made of: control pieces of Gemma's vocabulary, and those after the text. */
const textVocab = 4096;
const ids = {
  boi_token_id: 6,
  boa_token_id: 7,
  eoi_token_id: textVocab,
  image_token_id: textVocab + 1,
  eoa_token_id: textVocab + 128,
  audio_token_id: textVocab + 129,
};

export function encoderConfig(size: EncoderSize): ModelConfig {
  const { hidden, audio, visionHidden } = shapes[size];
  return parseModelConfig({
    model_type: 'gemma3n',
    ...ids,
    text_config: {
      hidden_size: hidden,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 64,
      num_hidden_layers: 2,
      num_kv_shared_layers: 0,
      intermediate_size: 256,
      vocab_size: textVocab + 256,
      vocab_size_per_layer_input: textVocab,
    },
    vision_config: { hidden_size: visionHidden, vocab_offset: textVocab },
    audio_config: { ...audio, vocab_offset: textVocab + 128 },
  });
}

/** The files in `directory`, made if they are not there. */
export function randomEncoders(
  directory: string,
  size: EncoderSize,
  onProgress: (line: string) => void,
): RandomEncoders {
  const config = encoderConfig(size);
  const model = randomModel(directory, `encoders-${size}`, config, onProgress);
  const layout = encoderLayout(config, shapes[size].vision);
  const bytes = layout.reduce((sum, { info }) => sum + info.bytes, 0);
  const recipe = createHash('sha256')
    .update(JSON.stringify([recipeVersion, layout]))
    .digest('hex')
    .slice(0, 12);
  const stem = `random-mmproj-${size}-`;
  const multimodalPath = join(directory, `${stem}${recipe}.gguf`);
  keepFile(multimodalPath, stem, bytes, onProgress, () =>
    writeNoise(multimodalPath, multimodalMetadata({ name: `random-${size}`, config, imageSize: 768 }), layout),
  );
  return { modelPath: model.path, multimodalPath, bytes, layout, config };
}
