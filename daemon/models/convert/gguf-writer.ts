/**
 * Writes a GGUF file: header first, then tensors one after the other, in pieces of any size. The format is described in
 * addon/gguf/gguf.h. The file appears under its name only when it is complete and on the disk.
 */
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { renameDurably } from '../../atomic-file';
import { HearthError } from '../../errors';

const alignment = 32;
/** Tells the temporary files of writers for the same path apart. */
let writers = 0;

const valueTypes = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;

export type GgufValue =
  | { readonly type: 'u32' | 'i32' | 'f32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'array'; readonly of: 'u32' | 'i32' | 'f32'; readonly value: readonly number[] }
  | { readonly type: 'array'; readonly of: 'bool'; readonly value: readonly boolean[] }
  | { readonly type: 'array'; readonly of: 'string'; readonly value: readonly string[] };

export interface GgufTensorInfo {
  readonly name: string;
  /** Fastest-varying dimension first. */
  readonly dims: readonly number[];
  readonly typeId: number;
  readonly bytes: number;
}

class ByteSink {
  private readonly parts: Buffer[] = [];

  u32(value: number): void {
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value);
    this.parts.push(part);
  }

  u64(value: number): void {
    const part = Buffer.alloc(8);
    part.writeBigUInt64LE(BigInt(value));
    this.parts.push(part);
  }

  string(value: string): void {
    const part = Buffer.from(value, 'utf8');
    this.u64(part.length);
    this.parts.push(part);
  }

  scalar(type: 'u32' | 'i32' | 'f32' | 'bool' | 'string', value: number | boolean | string): void {
    if (type === 'string') {
      this.string(value as string);
    } else if (type === 'bool') {
      this.parts.push(Buffer.from([value ? 1 : 0]));
    } else {
      const part = Buffer.alloc(4);
      if (type === 'f32') part.writeFloatLE(value as number);
      else if (type === 'i32') part.writeInt32LE(value as number);
      else part.writeUInt32LE(value as number);
      this.parts.push(part);
    }
  }

  value(value: GgufValue): void {
    this.u32(valueTypes[value.type]);
    if (value.type !== 'array') {
      this.scalar(value.type, value.value);
      return;
    }
    this.u32(valueTypes[value.of]);
    this.u64(value.value.length);
    for (const element of value.value) this.scalar(value.of, element);
  }

  padded(): Buffer {
    const all = Buffer.concat(this.parts);
    return Buffer.concat([all, Buffer.alloc(padding(all.length))]);
  }
}

function padding(position: number): number {
  return (alignment - (position % alignment)) % alignment;
}

function failed(path: string, cause: unknown): HearthError {
  return new HearthError(
    'FILE_WRITE_FAILED',
    `${path} cannot be written (${(cause as NodeJS.ErrnoException).code ?? String(cause)})`,
    { cause },
  );
}

export class GgufWriter {
  private readonly fd: number;
  private readonly temporary: string;
  private next = 0;
  private written = 0;
  private state: 'open' | 'sealed' | 'gone' = 'open';

  constructor(
    private readonly path: string,
    metadata: ReadonlyMap<string, GgufValue>,
    private readonly tensors: readonly GgufTensorInfo[],
  ) {
    this.temporary = `${path}.${process.pid}-${writers++}.part`;
    const head = new ByteSink();
    head.u32(0x46554747);
    head.u32(3);
    head.u64(tensors.length);
    head.u64(metadata.size);
    for (const [key, value] of metadata) {
      head.string(key);
      head.value(value);
    }
    let offset = 0;
    for (const { name, dims, typeId, bytes } of tensors) {
      head.string(name);
      head.u32(dims.length);
      for (const dim of dims) head.u64(dim);
      head.u32(typeId);
      head.u64(offset);
      offset += bytes + padding(bytes);
    }
    try {
      this.fd = openSync(this.temporary, 'w');
    } catch (cause) {
      throw failed(this.temporary, cause);
    }
    try {
      this.put(head.padded());
    } catch (error) {
      this.abandon();
      throw error;
    }
  }

  /** The next bytes of the tensor in turn; tensors come in the order they were announced. */
  write(bytes: Uint8Array): void {
    const tensor = this.tensors[this.next];
    if (tensor === undefined || this.written + bytes.length > tensor.bytes) {
      throw new HearthError('INTERNAL', `${bytes.length} bytes past the end of tensor ${tensor?.name ?? '(none)'}`);
    }
    this.put(bytes);
    this.written += bytes.length;
    if (this.written === tensor.bytes) {
      this.put(Buffer.alloc(padding(tensor.bytes)));
      this.next++;
      this.written = 0;
    }
  }

  /** Flushes to the disk; nothing can be written after it. */
  seal(): void {
    if (this.next !== this.tensors.length)
      throw new HearthError('INTERNAL', `${this.tensors.length - this.next} tensors were not written`);
    try {
      fsyncSync(this.fd);
      closeSync(this.fd);
    } catch (cause) {
      throw failed(this.temporary, cause);
    }
    this.state = 'sealed';
  }

  /** Gives the sealed file its name, in place of one that had it. */
  publish(): void {
    try {
      renameDurably(this.temporary, this.path);
    } catch (cause) {
      throw failed(this.path, cause);
    }
    this.state = 'gone';
  }

  finish(): void {
    this.seal();
    this.publish();
  }

  /** Leaves nothing behind; after `publish` it does nothing. */
  abandon(): void {
    if (this.state === 'gone') return;
    if (this.state === 'open') closeSync(this.fd);
    this.state = 'gone';
    rmSync(this.temporary, { force: true });
  }

  private put(bytes: Uint8Array): void {
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.fd, bytes, done);
    } catch (cause) {
      throw failed(this.temporary, cause);
    }
  }
}
