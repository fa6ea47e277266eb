/** What goes into which file: every tensor's name, shape and type, and where its values come from. */
import { HearthError } from '../../errors';
import { blockFormats, encodedBytes, type WeightType } from './block-formats';
import { checkStructure } from './check-structure';
import { shown } from './checkpoint-files';
import type { GgufTensorInfo } from './gguf-writer';
import type { ModelConfig } from './model-config';
import { isTiedHead, type Mapping, mapTensor, type Target } from './names';
import type { Checkpoint, CheckpointTensor } from './safetensors';

export interface WeightTypes {
  readonly type: WeightType;
  /** Of the token embedding, which is also the head; `type` when absent. */
  readonly headType?: WeightType;
  /** Of the per-layer embedding table; `type` when absent. */
  readonly pleType?: WeightType;
}

/** One tensor of an output file and where its values come from. */
export interface Plan {
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

/** A type whose blocks do not divide the rows gives way to F16. */
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

function wantedType(name: string, types: WeightTypes): WeightType {
  if (name === 'token_embd.weight') return types.headType ?? types.type;
  if (name === 'per_layer_token_embd.weight') return types.pleType ?? types.type;
  return types.type;
}

/** One part of an output tensor: the checkpoint's tensor and how its name maps. */
export interface Source {
  readonly mapping: Mapping;
  readonly tensor: CheckpointTensor;
}

/** The matrices of a stacked tensor, all there and all alike; one source for every other tensor. */
function checkStack(name: string, sources: readonly Source[]): void {
  const [first] = sources as [Source];
  const count = first.mapping.stack?.count ?? 1;
  if (sources.length !== count)
    throw new HearthError(
      'CHECKPOINT_INCOMPLETE',
      `${name}: expected ${count} tensors to make it of, found ${sources.length}`,
    );
  for (const { tensor } of sources) {
    if (tensor.shape.join() !== first.tensor.shape.join()) {
      throw new HearthError(
        'CHECKPOINT_MALFORMED',
        `tensor ${tensor.name}: expected shape ${shown(first.tensor.shape)} as ${first.tensor.name} has, found ${shown(tensor.shape)}`,
      );
    }
  }
}

/** llama.cpp wants a row for every id, the vision and audio ones too, whose rows nothing ever reads. */
function checkRows(name: string, rows: number, { vocabSize, textVocabSize }: ModelConfig['text']): void {
  if (rows !== vocabSize && rows !== textVocabSize) {
    throw new HearthError(
      'CHECKPOINT_MALFORMED',
      `${name}: expected ${vocabSize} or ${textVocabSize} rows, found ${rows}`,
    );
  }
}

function makePlan(name: string, sources: readonly Source[], config: ModelConfig, types: WeightTypes): Plan {
  const [first] = sources as [Source];
  const wanted = wantedType(name, types);
  const shape = [...storedShape(first.mapping, first.tensor.shape, wanted)];
  if (first.mapping.stack !== undefined) shape.unshift(first.mapping.stack.count);
  let padValues = 0;
  if (name === 'per_layer_token_embd.weight' || name === 'token_embd.weight') {
    const [rows = 0, columns = 0] = shape;
    checkRows(name, rows, config.text);
    padValues = (config.text.vocabSize - rows) * columns;
    shape[0] = config.text.vocabSize;
  }
  const dims = shape.toReversed();
  const type = typeFor(wanted, first.mapping, dims);
  const format = blockFormats[type];
  const bytes = encodedBytes(
    format,
    dims.reduce((product, dim) => product * dim, 1),
  );
  return {
    info: { name, dims, typeId: format.id, bytes },
    type,
    sources: sources.map(({ tensor }) => tensor),
    padValues,
  };
}

/** The checkpoint's tensors by the name they get. Throws for one that no part of the model is made of. */
export function sortTensors(checkpoint: Checkpoint): Map<string, Source[]> {
  const byName = new Map<string, Source[]>();
  for (const tensor of checkpoint.tensors.values()) {
    if (isTiedHead(tensor.name)) continue;
    const mapping = mapTensor(tensor.name);
    if (mapping === undefined)
      throw new HearthError('CHECKPOINT_UNSUPPORTED', `tensor ${shown(tensor.name)} is no part of Gemma 3n`);
    const sources = byName.get(mapping.name) ?? [];
    if (sources.some((source) => source.mapping.stack?.index === mapping.stack?.index)) {
      throw new HearthError(
        'CHECKPOINT_MALFORMED',
        `tensors ${shown(sources[0]?.tensor.name)} and ${shown(tensor.name)} are the same part of the model`,
      );
    }
    sources.push({ mapping, tensor });
    byName.set(mapping.name, sources);
  }
  for (const [name, sources] of byName) {
    sources.sort((a, b) => (a.mapping.stack?.index ?? 0) - (b.mapping.stack?.index ?? 0));
    checkStack(name, sources);
  }
  return byName;
}

/** What goes into which file. Nothing has been written when this throws. */
export function planTensors(
  byName: ReadonlyMap<string, readonly Source[]>,
  config: ModelConfig,
  types: WeightTypes,
): Record<Target, Plan[]> {
  const parts = new Map(
    [...byName].map(([name, [source]]) => [
      name,
      { source: (source as Source).tensor.name, shape: (source as Source).tensor.shape },
    ]),
  );
  checkStructure(parts, config);
  const plans: Record<Target, Plan[]> = { text: [], multimodal: [] };
  for (const [name, sources] of byName)
    plans[(sources[0] as Source).mapping.target].push(makePlan(name, sources, config, types));
  return plans;
}
