/** `hearth model convert`: a Hugging Face checkpoint of Gemma 3n becomes a text file and, with towers, a multimodal file. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { HearthError } from '../../errors';
import { blockFormats, encodedBytes, type WeightType } from './block-formats';
import { type GgufTensorInfo, GgufWriter } from './gguf-writer';
import { buildVocabulary, type Metadata, multimodalMetadata, textMetadata } from './metadata';
import { type ModelConfig, parseModelConfig } from './model-config';
import { isTiedHead, type Mapping, mapTensor, type Target } from './names';
import { Checkpoint, type CheckpointTensor, readJsonObject } from './safetensors';
import { parseSentencePiece } from './sentencepiece';

export interface ConvertOptions {
  readonly checkpointDir: string;
  /** The text file, ending in `.gguf`; the multimodal one becomes `mmproj-<name>.gguf` beside it. */
  readonly outPath: string;
  readonly type: WeightType;
  /** Type of the token embedding, which is also the head; `type` when absent. */
  readonly headType?: WeightType;
  /** Type of the per-layer embedding table; `type` when absent. */
  readonly pleType?: WeightType;
  readonly signal?: AbortSignal;
  /** Values converted so far, and all there are. */
  readonly onProgress?: (done: number, total: number, tensor: string) => void;
}

export interface ConvertResult {
  readonly textPath: string;
  readonly multimodalPath: string | undefined;
}

/** Values handled at a time: 16 MB as float32. */
const slabValues = 4 << 20;
const maxTokenizerBytes = 64 << 20;

/** One tensor of an output file and where its values come from. */
interface Plan {
  readonly info: GgufTensorInfo;
  readonly type: WeightType;
  /** In order; more than one where matrices are stacked. */
  readonly sources: readonly CheckpointTensor[];
  /** Zeroes after the values, for rows the file has and the checkpoint has not. */
  readonly padValues: number;
}

function fits(type: WeightType, rowValues: number): boolean {
  return rowValues % blockFormats[type].valuesPerBlock === 0;
}

/** A type whose blocks do not divide the rows gives way to F16, or to BF16 where nothing may be lost. */
function typeFor(wanted: WeightType, mapping: Mapping, dims: readonly number[]): WeightType {
  if (mapping.exact) return 'f32';
  return fits(wanted, dims[0] ?? 1) ? wanted : 'f16';
}

/** 1x1 convolutions are matrices; as such their rows can be cut into blocks. Other types keep PyTorch's four dimensions, which llama.cpp wants. */
function storedShape(mapping: Mapping, shape: readonly number[], wanted: WeightType): readonly number[] {
  if (mapping.reshape !== undefined) return mapping.reshape(shape);
  const pointwise = shape.length === 4 && shape[2] === 1 && shape[3] === 1;
  return pointwise && blockFormats[wanted].valuesPerBlock > 1 ? shape.slice(0, 2) : shape;
}

function wantedType(name: string, options: ConvertOptions): WeightType {
  if (name === 'token_embd.weight') return options.headType ?? options.type;
  if (name === 'per_layer_token_embd.weight') return options.pleType ?? options.type;
  return options.type;
}

function makePlan(name: string, parts: readonly { mapping: Mapping; tensor: CheckpointTensor }[], config: ModelConfig, options: ConvertOptions): Plan {
  const [first] = parts as [(typeof parts)[number]];
  const wanted = wantedType(name, options);
  let shape = [...storedShape(first.mapping, first.tensor.shape, wanted)];
  if (shape.length === 0) shape = [1];
  const stack = first.mapping.stack;
  if (stack !== undefined) {
    if (parts.length !== stack.count) {
      throw new HearthError('CHECKPOINT_INCOMPLETE', `${name} is made of ${stack.count} tensors, ${parts.length} are there`);
    }
    for (const { tensor } of parts) {
      if (tensor.shape.join() !== first.tensor.shape.join()) {
        throw new HearthError('CHECKPOINT_MALFORMED', `${tensor.name} is [${tensor.shape.join()}], ${first.tensor.name} [${first.tensor.shape.join()}]`);
      }
    }
    shape.unshift(stack.count);
  }
  // llama.cpp wants a row for every id, the vision and audio ones too; nothing ever reads those.
  let padValues = 0;
  const rows = shape[0] ?? 0;
  if ((name === 'per_layer_token_embd.weight' || name === 'token_embd.weight') && rows < config.text.vocabSize) {
    padValues = (config.text.vocabSize - rows) * (shape[1] ?? 0);
    shape[0] = config.text.vocabSize;
  }
  const dims = shape.toReversed();
  if (dims.length > 4 || dims.some((dim) => dim < 1)) {
    throw new HearthError('CHECKPOINT_MALFORMED', `${first.tensor.name} has shape [${first.tensor.shape.join()}]; 1 to 4 dimensions without zeroes are stored`);
  }
  const type = typeFor(wanted, first.mapping, dims);
  const values = dims.reduce((product, dim) => product * dim, 1);
  const format = blockFormats[type];
  return {
    info: { name, dims, typeId: format.id, bytes: encodedBytes(format, values) },
    type,
    sources: parts.map(({ tensor }) => tensor),
    padValues,
  };
}

/** Every tensor of the checkpoint, sorted into the two files. Throws for one that belongs to neither. */
function planTensors(checkpoint: Checkpoint, config: ModelConfig, options: ConvertOptions): Record<Target, Plan[]> {
  const byName = new Map<string, { mapping: Mapping; tensor: CheckpointTensor }[]>();
  for (const tensor of checkpoint.tensors.values()) {
    if (isTiedHead(tensor.name)) continue;
    const mapping = mapTensor(tensor.name);
    if (mapping === undefined) throw new HearthError('CHECKPOINT_UNSUPPORTED', `tensor ${tensor.name} is no part of Gemma 3n`);
    const parts = byName.get(mapping.name) ?? [];
    if (parts.some((part) => part.mapping.stack?.index === mapping.stack?.index)) {
      throw new HearthError('CHECKPOINT_MALFORMED', `tensors ${parts[0]?.tensor.name} and ${tensor.name} are the same part of the model`);
    }
    parts.push({ mapping, tensor });
    byName.set(mapping.name, parts);
  }
  const plans: Record<Target, Plan[]> = { text: [], multimodal: [] };
  for (const [name, parts] of byName) {
    parts.sort((a, b) => (a.mapping.stack?.index ?? 0) - (b.mapping.stack?.index ?? 0));
    plans[parts[0]?.mapping.target ?? 'text'].push(makePlan(name, parts, config, options));
  }
  for (const name of ['token_embd.weight', 'per_layer_token_embd.weight', 'output_norm.weight']) {
    if (!byName.has(name)) throw new HearthError('CHECKPOINT_INCOMPLETE', `the checkpoint has no tensor for ${name}`);
  }
  return plans;
}

/** float32 slabs in, encoded bytes out. Rows never straddle a block, so slabs may be cut anywhere on one. */
async function writePlan(checkpoint: Checkpoint, plan: Plan, writer: GgufWriter, onValues: (count: number) => Promise<void>): Promise<void> {
  const format = blockFormats[plan.type];
  const emit = async (slab: Float32Array): Promise<void> => {
    const bytes = new Uint8Array(encodedBytes(format, slab.length));
    format.encode(slab, bytes);
    writer.write(bytes);
    await onValues(slab.length);
  };
  for (const source of plan.sources) {
    for (let first = 0; first < source.values; first += slabValues) {
      const slab = new Float32Array(Math.min(slabValues, source.values - first));
      checkpoint.read(source, first, slab);
      await emit(slab);
    }
  }
  for (let left = plan.padValues; left > 0; left -= slabValues) await emit(new Float32Array(Math.min(slabValues, left)));
}

function readTokenizer(directory: string): Buffer {
  const path = join(directory, 'tokenizer.model');
  if (!existsSync(path)) throw new HearthError('CHECKPOINT_INCOMPLETE', `${path} is missing`);
  if (statSync(path).size > maxTokenizerBytes) throw new HearthError('CHECKPOINT_MALFORMED', `${path} has more than ${maxTokenizerBytes} bytes`);
  return readFileSync(path);
}

function readImageSize(directory: string): number {
  const path = join(directory, 'preprocessor_config.json');
  const size = existsSync(path) ? readJsonObject(path)['size'] : undefined;
  const height = typeof size === 'object' && size !== null ? (size as Record<string, unknown>)['height'] : undefined;
  return typeof height === 'number' && Number.isInteger(height) && height >= 32 && height <= 4096 ? height : 768;
}

function readPrompts(directory: string): string | undefined {
  const path = join(directory, 'prompts.json');
  return existsSync(path) ? JSON.stringify(readJsonObject(path)) : undefined;
}

export function multimodalPathFor(outPath: string): string {
  return join(dirname(outPath), `mmproj-${basename(outPath)}`);
}

/** Rejects with `CHECKPOINT_*`, `FILE_WRITE_FAILED` or `CANCELLED`; then no output file is left behind, complete or not. */
export async function convertCheckpoint(options: ConvertOptions): Promise<ConvertResult> {
  const { checkpointDir, signal, onProgress } = options;
  const outPath = resolve(options.outPath);
  if (!outPath.endsWith('.gguf')) throw new HearthError('OPTION_INVALID', `the output file should end in .gguf, not ${basename(outPath)}`);
  const config = parseModelConfig(readJsonObject(join(checkpointDir, 'config.json')));
  const vocabulary = buildVocabulary(parseSentencePiece(readTokenizer(checkpointDir)), config);
  const name = basename(outPath, '.gguf');
  const checkpoint = Checkpoint.open(checkpointDir);
  const writers: GgufWriter[] = [];
  try {
    const plans = planTensors(checkpoint, config, options);
    const total = [...plans.text, ...plans.multimodal].reduce(
      (sum, plan) => sum + plan.padValues + plan.sources.reduce((values, source) => values + source.values, 0),
      0,
    );
    let done = 0;
    const writeFile = async (path: string, metadata: Metadata, file: readonly Plan[]): Promise<void> => {
      const writer = new GgufWriter(path, metadata, file.map((plan) => plan.info));
      writers.push(writer);
      for (const plan of file) {
        await writePlan(checkpoint, plan, writer, async (count) => {
          done += count;
          onProgress?.(done, total, plan.info.name);
          // Lets a signal in; the work between is synchronous.
          await new Promise((resolveTurn) => setImmediate(resolveTurn));
          if (signal?.aborted) throw new HearthError('CANCELLED', 'the conversion was cancelled');
        });
      }
    };
    await writeFile(outPath, textMetadata(name, config, vocabulary, readPrompts(checkpointDir)), plans.text);
    let multimodalPath: string | undefined;
    if (plans.multimodal.length > 0) {
      multimodalPath = multimodalPathFor(outPath);
      await writeFile(multimodalPath, multimodalMetadata(name, config, readImageSize(checkpointDir)), plans.multimodal);
    }
    for (const writer of writers) writer.finish();
    return { textPath: outPath, multimodalPath };
  } finally {
    for (const writer of writers) writer.abandon();
    checkpoint.close();
  }
}
