/**
 * A safetensors checkpoint, in one file or in shards. Nothing of it is believed before it is checked: the header's
 * length against the file, every tensor's range against the data and its neighbours, its bytes against its shape.
 *
 *   u64 header length | header: JSON {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__"?: {...}} | data
 */
import { closeSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { HearthError } from '../../errors';
import {
  isObject,
  malformed,
  openRegularFile,
  parseJsonObject,
  readExactly,
  readJsonObject,
  shown,
} from './checkpoint-files';
import { bf16ToFloat32, f16ToFloat32 } from './float-formats';

/** Room for some 60,000 tensors; E4B has 2,000 in all its shards. */
const maxHeaderBytes = 8 << 20;
const maxIndexBytes = 8 << 20;
const maxShards = 256;
const maxRank = 8;

const dtypes = { F32: 4, F16: 2, BF16: 2 } as const;
type Dtype = keyof typeof dtypes;

export interface CheckpointTensor {
  readonly name: string;
  readonly dtype: Dtype;
  /** Slowest-varying dimension first, as PyTorch has it. */
  readonly shape: readonly number[];
  readonly values: number;
  readonly file: number;
  /** Bytes from the start of its file. */
  readonly offset: number;
  readonly bytes: number;
}

const isCount = (n: unknown): n is number => typeof n === 'number' && Number.isSafeInteger(n) && n >= 0;

function parseEntry(
  path: string,
  name: string,
  entry: unknown,
  file: number,
  dataStart: number,
  fileBytes: number,
): CheckpointTensor {
  const { dtype, shape, data_offsets: range } = isObject(entry) ? entry : {};
  const who = `tensor ${shown(name)}`;
  if (typeof dtype !== 'string' || !Object.hasOwn(dtypes, dtype)) {
    throw new HearthError(
      'CHECKPOINT_UNSUPPORTED',
      `${path}: ${who}: expected dtype F32, F16 or BF16, found ${shown(dtype)}`,
    );
  }
  if (!Array.isArray(shape) || shape.length > maxRank || !shape.every(isCount)) {
    throw malformed(path, `${who}: expected a shape of at most ${maxRank} dimensions, found ${shown(shape)}`);
  }
  if (!Array.isArray(range) || range.length !== 2 || !range.every(isCount)) {
    throw malformed(path, `${who}: expected data_offsets [begin, end], found ${shown(range)}`);
  }
  const [begin, end] = range as [number, number];
  const values = (shape as number[]).reduce((product, n) => product * n, 1);
  const bytes = values * dtypes[dtype as Dtype];
  if (!Number.isSafeInteger(bytes) || end - begin !== bytes) {
    throw malformed(path, `${who}: ${bytes} bytes by its shape ${shown(shape)}, ${end - begin} by its data_offsets`);
  }
  if (dataStart + end > fileBytes) throw malformed(path, `${who} ends at byte ${dataStart + end} of ${fileBytes}`);
  return { name, dtype: dtype as Dtype, shape: shape as number[], values, file, offset: dataStart + begin, bytes };
}

/** The format has every byte of the data belong to one tensor. */
function checkCoverage(path: string, tensors: readonly CheckpointTensor[], dataStart: number, fileBytes: number): void {
  let at = dataStart;
  for (const { name, offset, bytes } of tensors.toSorted((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (offset !== at) {
      throw malformed(
        path,
        `tensor ${shown(name)} starts at byte ${offset}, ${offset < at ? 'inside another' : 'after a gap'}: expected byte ${at}`,
      );
    }
    at += bytes;
  }
  if (at !== fileBytes) throw malformed(path, `the tensors end at byte ${at}, the file at ${fileBytes}`);
}

function parseHeader(path: string, fd: number, fileBytes: number, file: number): CheckpointTensor[] {
  const prefix = Buffer.alloc(8);
  readExactly(fd, path, 0, prefix);
  const headerBytes = prefix.readBigUInt64LE();
  if (headerBytes > BigInt(maxHeaderBytes) || headerBytes > BigInt(fileBytes - 8)) {
    throw malformed(
      path,
      `a header of ${headerBytes} bytes; at most ${maxHeaderBytes} are read, and ${fileBytes - 8} are there`,
    );
  }
  const header = Buffer.alloc(Number(headerBytes));
  readExactly(fd, path, 8, header);
  const dataStart = 8 + header.length;
  const tensors = Object.entries(parseJsonObject(path, header))
    .filter(([name]) => name !== '__metadata__')
    .map(([name, entry]) => parseEntry(path, name, entry, file, dataStart, fileBytes));
  checkCoverage(path, tensors, dataStart, fileBytes);
  return tensors;
}

/** Each tensor's shard, as `model.safetensors.index.json` has it. */
function readIndex(path: string): Map<string, string> {
  const { weight_map: map } = readJsonObject(path, maxIndexBytes);
  if (!isObject(map)) throw malformed(path, `expected an object "weight_map", found ${shown(map)}`);
  const shardOf = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(map)) {
    // A shard lies beside its index; anything else would read where it has no business.
    if (typeof shard !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.safetensors$/.test(shard)) {
      throw malformed(path, `"weight_map" names ${shown(shard)}; expected the file name of a shard`);
    }
    shardOf.set(tensor, shard);
  }
  return shardOf;
}

function checkIndex(
  path: string,
  shardOf: ReadonlyMap<string, string>,
  names: readonly string[],
  tensors: ReadonlyMap<string, CheckpointTensor>,
): void {
  for (const [tensor, shard] of shardOf) {
    const file = tensors.get(tensor)?.file;
    if (file === undefined || names[file] !== shard) {
      throw new HearthError(
        'CHECKPOINT_INCOMPLETE',
        `${path}: expected tensor ${shown(tensor)} in ${shard}, it is not there`,
      );
    }
  }
  for (const tensor of tensors.keys()) {
    if (!shardOf.has(tensor))
      throw malformed(path, `"weight_map" does not name tensor ${shown(tensor)}, which a shard has`);
  }
}

export class Checkpoint {
  /** Raw bytes of the slab in hand; grows to the largest one asked for. */
  private scratch = new Uint8Array(0);

  private constructor(
    private readonly files: readonly { readonly path: string; readonly fd: number }[],
    readonly tensors: ReadonlyMap<string, CheckpointTensor>,
  ) {}

  /** `model.safetensors`, or the shards `model.safetensors.index.json` names. Throws `CHECKPOINT_*`. */
  static open(directory: string): Checkpoint {
    const indexPath = join(directory, 'model.safetensors.index.json');
    const shardOf = existsSync(indexPath) ? readIndex(indexPath) : undefined;
    const names = shardOf === undefined ? ['model.safetensors'] : [...new Set(shardOf.values())];
    if (names.length > maxShards)
      throw malformed(indexPath, `expected at most ${maxShards} shards, found ${names.length}`);
    const files: { path: string; fd: number }[] = [];
    const tensors = new Map<string, CheckpointTensor>();
    try {
      for (const name of names) {
        const path = join(directory, name);
        const { fd, sizeBytes } = openRegularFile(path);
        files.push({ path, fd });
        for (const tensor of parseHeader(path, fd, sizeBytes, files.length - 1)) {
          if (tensors.has(tensor.name)) throw malformed(path, `tensor ${shown(tensor.name)} is in another shard too`);
          tensors.set(tensor.name, tensor);
        }
      }
      if (shardOf !== undefined) checkIndex(indexPath, shardOf, names, tensors);
      return new Checkpoint(files, tensors);
    } catch (error) {
      for (const { fd } of files) closeSync(fd);
      throw error;
    }
  }

  /** Fills `to` with the tensor's values from `first` on, as float32. */
  read(tensor: CheckpointTensor, first: number, to: Float32Array): void {
    const { path, fd } = this.files[tensor.file] as { path: string; fd: number };
    const size = dtypes[tensor.dtype];
    if (this.scratch.length < to.length * size) this.scratch = new Uint8Array(to.length * size);
    const bytes = this.scratch.subarray(0, to.length * size);
    readExactly(fd, path, tensor.offset + first * size, bytes);
    if (tensor.dtype === 'F32') to.set(new Float32Array(bytes.buffer, 0, to.length));
    else if (tensor.dtype === 'BF16') bf16ToFloat32(new Uint16Array(bytes.buffer, 0, to.length), to);
    else f16ToFloat32(new Uint16Array(bytes.buffer, 0, to.length), to);
  }

  close(): void {
    for (const { fd } of this.files) closeSync(fd);
  }
}
