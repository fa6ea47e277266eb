/**
 * A safetensors checkpoint, in one file or in shards. Nothing of it is believed before it is checked: the header's
 * length against the file, every tensor's range against the data, its bytes against its shape.
 *
 *   u64 header length | header: JSON {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__"?: {...}} | data
 */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { HearthError } from '../../errors';
import { bf16ToFloat32, f16ToFloat32 } from './float-formats';

const maxHeaderBytes = 32 << 20;
const maxIndexBytes = 32 << 20;

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
}

const broken = (path: string, message: string, cause?: unknown): HearthError =>
  new HearthError('CHECKPOINT_MALFORMED', `${path}: ${message}`, cause === undefined ? undefined : { cause });

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function readJsonObject(path: string, maxBytes = maxIndexBytes): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new HearthError('CHECKPOINT_INCOMPLETE', `${path} cannot be read`, { cause });
  }
  if (text.length > maxBytes) throw broken(path, `expected at most ${maxBytes} characters, found ${text.length}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw broken(path, 'expected JSON, found text that does not parse', cause);
  }
  if (!isObject(value)) throw broken(path, 'expected a JSON object');
  return value;
}

function readExactly(fd: number, path: string, offset: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const got = readSync(fd, bytes, done, bytes.length - done, offset + done);
    if (got === 0) throw broken(path, `the file ends at byte ${offset + done}, ${bytes.length - done} before what it announces`);
    done += got;
  }
}

function parseEntry(path: string, name: string, entry: unknown, file: number, dataStart: number, fileBytes: number): CheckpointTensor {
  const { dtype, shape, data_offsets: range } = isObject(entry) ? entry : {};
  if (typeof dtype !== 'string' || !Object.hasOwn(dtypes, dtype)) {
    throw new HearthError('CHECKPOINT_UNSUPPORTED', `${path}: tensor ${name} has dtype ${JSON.stringify(dtype)}; F32, F16 and BF16 are read`);
  }
  const isCount = (n: unknown): n is number => typeof n === 'number' && Number.isSafeInteger(n) && n >= 0;
  if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isCount)) throw broken(path, `tensor ${name} has no usable shape`);
  if (!Array.isArray(range) || range.length !== 2 || !range.every(isCount)) throw broken(path, `tensor ${name} has no usable data_offsets`);
  const [begin, end] = range as [number, number];
  const values = (shape as number[]).reduce((product, n) => product * n, 1);
  const bytes = values * dtypes[dtype as Dtype];
  if (!Number.isSafeInteger(bytes) || end - begin !== bytes) {
    throw broken(path, `tensor ${name} is ${bytes} bytes by its shape, ${end - begin} by its offsets`);
  }
  if (dataStart + end > fileBytes) throw broken(path, `tensor ${name} ends at byte ${dataStart + end} of ${fileBytes}`);
  return { name, dtype: dtype as Dtype, shape: shape as number[], values, file, offset: dataStart + begin };
}

export class Checkpoint {
  private constructor(
    private readonly files: readonly { readonly path: string; readonly fd: number }[],
    readonly tensors: ReadonlyMap<string, CheckpointTensor>,
  ) {}

  /** `model.safetensors`, or the shards `model.safetensors.index.json` names. */
  static open(directory: string): Checkpoint {
    const files: { path: string; fd: number }[] = [];
    const tensors = new Map<string, CheckpointTensor>();
    try {
      for (const name of Checkpoint.fileNames(directory)) {
        const path = join(directory, name);
        let fd: number;
        try {
          fd = openSync(path, 'r');
        } catch (cause) {
          throw new HearthError('CHECKPOINT_INCOMPLETE', `${path} cannot be opened`, { cause });
        }
        files.push({ path, fd });
        for (const tensor of Checkpoint.parseHeader(path, fd, files.length - 1)) {
          if (tensors.has(tensor.name)) throw broken(path, `tensor ${tensor.name} is there twice`);
          tensors.set(tensor.name, tensor);
        }
      }
      return new Checkpoint(files, tensors);
    } catch (error) {
      for (const { fd } of files) closeSync(fd);
      throw error;
    }
  }

  private static fileNames(directory: string): string[] {
    const indexPath = join(directory, 'model.safetensors.index.json');
    if (!existsSync(indexPath)) return ['model.safetensors'];
    const { weight_map: map } = readJsonObject(indexPath);
    if (!isObject(map)) throw broken(indexPath, 'expected an object "weight_map"');
    const names = [...new Set(Object.values(map))];
    for (const name of names) {
      // A shard lies beside its index; anything else would read where it has no business.
      if (typeof name !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors$/.test(name)) {
        throw broken(indexPath, `"weight_map" names ${JSON.stringify(name)}, which is no file name of a shard`);
      }
    }
    return names as string[];
  }

  private static parseHeader(path: string, fd: number, file: number): CheckpointTensor[] {
    const fileBytes = fstatSync(fd).size;
    const prefix = Buffer.alloc(8);
    readExactly(fd, path, 0, prefix);
    const headerBytes = prefix.readBigUInt64LE();
    if (headerBytes > BigInt(Math.min(maxHeaderBytes, fileBytes - 8))) {
      throw broken(path, `a header of ${headerBytes} bytes; at most ${maxHeaderBytes} are read, and ${fileBytes - 8} are there`);
    }
    const header = Buffer.alloc(Number(headerBytes));
    readExactly(fd, path, 8, header);
    let entries: unknown;
    try {
      entries = JSON.parse(header.toString('utf8'));
    } catch (cause) {
      throw broken(path, 'the header is not JSON', cause);
    }
    if (!isObject(entries)) throw broken(path, 'the header is not a JSON object');
    const dataStart = 8 + header.length;
    return Object.entries(entries)
      .filter(([name]) => name !== '__metadata__')
      .map(([name, entry]) => parseEntry(path, name, entry, file, dataStart, fileBytes));
  }

  /** Fills `to` with the tensor's values from `first` on, as float32. */
  read(tensor: CheckpointTensor, first: number, to: Float32Array): void {
    const { path, fd } = this.files[tensor.file] as { path: string; fd: number };
    const size = dtypes[tensor.dtype];
    const bytes = new Uint8Array(to.length * size);
    readExactly(fd, path, tensor.offset + first * size, bytes);
    if (tensor.dtype === 'F32') to.set(new Float32Array(bytes.buffer));
    else if (tensor.dtype === 'BF16') bf16ToFloat32(new Uint16Array(bytes.buffer), to);
    else f16ToFloat32(new Uint16Array(bytes.buffer), to);
  }

  close(): void {
    for (const { fd } of this.files) closeSync(fd);
  }
}
