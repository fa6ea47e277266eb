/** `hearth model convert`: a Hugging Face checkpoint of Gemma 3n becomes a text file and, with towers, a multimodal file. */
import { existsSync, statfsSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { HearthError } from '../../errors';
import { withoutMissingTowers } from './check-structure';
import { isObject, malformed, readJsonObject, readWhole, shown, toJson } from './checkpoint-files';
import { GgufWriter } from './gguf-writer';
import { type Metadata, multimodalMetadata, textMetadata } from './metadata';
import { parseModelConfig } from './model-config';
import { type Plan, planTensors, sortTensors, type WeightTypes } from './plan';
import { Checkpoint } from './safetensors';
import { parseSentencePiece } from './sentencepiece';
import { Slabs, writePlan } from './slabs';
import { buildVocabulary } from './vocabulary';

export interface ConvertOptions extends WeightTypes {
  readonly checkpointDir: string;
  /** The text file, ending in `.gguf`; the multimodal one becomes `mmproj-<name>.gguf` beside it. */
  readonly outPath: string;
  readonly signal?: AbortSignal;
  /** Values converted so far, and all there are. */
  readonly onProgress?: (done: number, total: number, tensor: string) => void;
}

export interface ConvertResult {
  readonly textPath: string;
  readonly multimodalPath: string | undefined;
}

/** Gemma's has 4.7 MB. */
const maxTokenizerBytes = 32 << 20;
const imageSizes: readonly number[] = [256, 512, 768];
const defaultImageSize = 768;

/** Room for both files must be there before hours are spent on them. */
function checkOutput(outPath: string, neededBytes: number): void {
  const directory = dirname(outPath);
  for (const path of [outPath, multimodalPathFor(outPath)]) {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
      throw new HearthError('FILE_WRITE_FAILED', `${path}: expected a file to write, it is a directory`);
  }
  let freeBytes: number;
  try {
    const { bavail, bsize } = statfsSync(directory);
    freeBytes = bavail * bsize;
  } catch (cause) {
    throw new HearthError(
      'FILE_WRITE_FAILED',
      `${directory}: expected a directory to write to (${(cause as NodeJS.ErrnoException).code})`,
      { cause },
    );
  }
  if (freeBytes < neededBytes)
    throw new HearthError(
      'FILE_WRITE_FAILED',
      `${directory}: expected room for ${neededBytes} bytes, found ${freeBytes}`,
    );
}

function readImageSize(directory: string): number {
  const path = join(directory, 'preprocessor_config.json');
  if (!existsSync(path)) return defaultImageSize;
  const { size } = readJsonObject(path);
  if (size === undefined) return defaultImageSize;
  const { height, width } = isObject(size) ? size : {};
  if (height !== width || typeof height !== 'number' || !imageSizes.includes(height)) {
    throw malformed(path, `size: expected a square of ${imageSizes.join(', ')} pixels, found ${shown(size)}`);
  }
  return height;
}

function readPrompts(directory: string): string | undefined {
  const path = join(directory, 'prompts.json');
  if (!existsSync(path)) return undefined;
  const text = toJson(readJsonObject(path));
  if (text === undefined) throw malformed(path, 'expected prompts, found something deeply nested');
  return text;
}

export function multimodalPathFor(outPath: string): string {
  return join(dirname(outPath), `mmproj-${basename(outPath)}`);
}

/**
 * Rejects with `CHECKPOINT_*`, `FILE_WRITE_FAILED` or `CANCELLED`. Files that had the outputs' names are then as they
 * were, unless it was the very last step, giving the second file its name, that failed.
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<ConvertResult> {
  const { checkpointDir, signal, onProgress } = options;
  const outPath = resolve(options.outPath);
  if (!outPath.endsWith('.gguf'))
    throw new HearthError('OPTION_INVALID', `the output file should end in .gguf, not ${basename(outPath)}`);
  const declared = parseModelConfig(readJsonObject(join(checkpointDir, 'config.json')));
  const vocabulary = buildVocabulary(
    parseSentencePiece(readWhole(join(checkpointDir, 'tokenizer.model'), maxTokenizerBytes)),
    declared,
  );
  const name = basename(outPath, '.gguf');
  const prompts = readPrompts(checkpointDir);
  const imageSize = readImageSize(checkpointDir);
  const checkpoint = Checkpoint.open(checkpointDir);
  const writers: GgufWriter[] = [];
  try {
    const byName = sortTensors(checkpoint);
    const config = withoutMissingTowers(declared, byName.keys());
    const plans = planTensors(byName, config, options);
    const all = [...plans.text, ...plans.multimodal];
    checkOutput(
      outPath,
      all.reduce((bytes, { info }) => bytes + info.bytes, 0),
    );
    const total = all.reduce(
      (sum, { padValues, sources }) => sources.reduce((values, source) => values + source.values, sum + padValues),
      0,
    );
    const slabs = new Slabs(checkpoint);
    let done = 0;
    const writeFile = async (path: string, metadata: Metadata, file: readonly Plan[]): Promise<void> => {
      const writer = new GgufWriter(
        path,
        metadata,
        file.map((plan) => plan.info),
      );
      writers.push(writer);
      for (const plan of file) {
        await writePlan(slabs, plan, writer, async (count) => {
          done += count;
          onProgress?.(done, total, plan.info.name);
          // Lets a signal in; the work between is synchronous.
          await new Promise((resolveTurn) => setImmediate(resolveTurn));
          if (signal?.aborted) throw new HearthError('CANCELLED', 'the conversion was cancelled');
        });
      }
      writer.seal();
    };
    await writeFile(outPath, textMetadata({ name, text: config.text, vocabulary, prompts }), plans.text);
    const multimodalPath = plans.multimodal.length > 0 ? multimodalPathFor(outPath) : undefined;
    if (multimodalPath !== undefined) {
      await writeFile(multimodalPath, multimodalMetadata({ name, config, imageSize }), plans.multimodal);
    }
    for (const writer of writers) writer.publish();
    return { textPath: outPath, multimodalPath };
  } finally {
    for (const writer of writers) writer.abandon();
    checkpoint.close();
  }
}
