/** Full-size model files with random weights: the shapes are real, the words are not. Made once and kept. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { GgufWriter } from '../../../daemon/models/convert/gguf-writer';
import { type Metadata, textMetadata } from '../../../daemon/models/convert/metadata';
import type { ModelConfig } from '../../../daemon/models/convert/model-config';
import { pieceTypes } from '../../../daemon/models/convert/sentencepiece';
import { buildVocabulary } from '../../../daemon/models/convert/vocabulary';
import { gemmaPieces } from '../../helpers/gemma-pieces';
import { type TensorPlan, textLayout } from './layout';
import { Noise, slabValues } from './noise';

/** Counts up when the same layout gets other bytes. */
const recipeVersion = 1;
const seed = 'hearth';

export interface RandomModel {
  readonly path: string;
  readonly bytes: number;
  readonly config: ModelConfig;
  readonly layout: readonly TensorPlan[];
  /** Ids that are ordinary text, to make prompts of. */
  readonly textIds: readonly number[];
}

/** Changes with everything that decides what is in the file. */
export function recipeOf(config: ModelConfig, layout: readonly TensorPlan[]): string {
  const recipe = [recipeVersion, seed, config.text, [...config.namedIds], layout];
  return createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 12);
}

function vocabularyOf(config: ModelConfig): ReturnType<typeof buildVocabulary> {
  const pieces = gemmaPieces(config.text.textVocabSize).map((piece, id) =>
    piece.text === '<unk>' ? { ...piece, type: pieceTypes.unknown } : { ...piece, score: -id },
  );
  return buildVocabulary(pieces, config);
}

export function writeRandomModel(path: string, name: string, config: ModelConfig, layout: readonly TensorPlan[]): void {
  writeNoise(
    path,
    textMetadata({ name, text: config.text, vocabulary: vocabularyOf(config), prompts: undefined }),
    layout,
  );
}

/** A GGUF file of these tensors, all noise. */
export function writeNoise(path: string, metadata: Metadata, layout: readonly TensorPlan[]): void {
  const writer = new GgufWriter(
    path,
    metadata,
    layout.map(({ info }) => info),
  );
  try {
    for (const { info, type, std } of layout) {
      const noise = new Noise(seed, info.name, type, std);
      const values = info.dims.reduce((product, dim) => product * dim, 1);
      for (let first = 0; first < values; first += slabValues)
        writer.write(noise.next(Math.min(slabValues, values - first)));
    }
    writer.finish();
  } finally {
    writer.abandon();
  }
}

/** The file in `directory`, made if it is not there; files of older recipes go. */
export function randomModel(
  directory: string,
  name: string,
  config: ModelConfig,
  onProgress: (line: string) => void,
): RandomModel {
  const layout = textLayout(config.text);
  const bytes = layout.reduce((sum, { info }) => sum + info.bytes, 0);
  const path = join(directory, `random-${name}-${recipeOf(config, layout)}.gguf`);
  const { types } = vocabularyOf(config);
  const textIds = types.flatMap((type, id) =>
    type === pieceTypes.normal && id < config.text.textVocabSize ? [id] : [],
  );
  keepFile(path, `random-${name}-`, bytes, onProgress, () => writeRandomModel(path, name, config, layout));
  return { path, bytes, config, layout, textIds };
}

/** Writes a file of about `bytes` if it is not there, in the place of others whose names begin with `stem`. */
export function keepFile(
  path: string,
  stem: string,
  bytes: number,
  onProgress: (line: string) => void,
  write: () => void,
): void {
  if (existsSync(path)) return;
  const directory = dirname(path);
  mkdirSync(directory, { recursive: true });
  for (const old of readdirSync(directory)) if (old.startsWith(stem)) rmSync(join(directory, old));
  const { bavail, bsize } = statfsSync(directory);
  if (bavail * bsize < bytes * 1.02)
    throw new Error(
      `${directory} has ${((bavail * bsize) / 1e9).toFixed(1)} GB left; ${path} needs ${(bytes / 1e9).toFixed(1)} GB`,
    );
  onProgress(`writing ${path} (${(bytes / 1e9).toFixed(2)} GB)`);
  write();
}
