/** Reads and rewrites GGUF files for the tests. It shares nothing with the writer, so that the two can disagree. */
import { readFileSync, writeFileSync } from 'node:fs';

export type GgufScalar = number | bigint | boolean | string;

export interface ReadTensor {
  /** Fastest-varying dimension first. */
  readonly dims: readonly number[];
  readonly typeId: number;
  readonly bytes: Buffer;
}

export interface ReadGguf {
  readonly keys: ReadonlyMap<string, GgufScalar | readonly GgufScalar[]>;
  readonly tensors: ReadonlyMap<string, ReadTensor>;
  /** The keys as they are in the file, for a copy of it. */
  readonly keyBytes: Buffer;
}

/** Values and bytes of a block, by type id. */
const blocks: Readonly<Record<number, readonly [number, number]>> = {
  0: [1, 4],
  1: [1, 2],
  2: [32, 18],
  3: [32, 20],
  6: [32, 22],
  7: [32, 24],
  8: [32, 34],
  12: [256, 144],
  13: [256, 176],
  14: [256, 210],
  26: [1, 4],
  30: [1, 2],
};

class Cursor {
  at = 0;

  constructor(private readonly file: Buffer) {}

  u32(): number {
    this.at += 4;
    return this.file.readUInt32LE(this.at - 4);
  }

  count(): number {
    this.at += 8;
    return Number(this.file.readBigUInt64LE(this.at - 8));
  }

  string(): string {
    const length = this.count();
    this.at += length;
    return this.file.toString('utf8', this.at - length, this.at);
  }

  value(type: number): GgufScalar | GgufScalar[] {
    switch (type) {
      case 4:
        return this.u32();
      case 5:
        return this.u32() | 0;
      case 6:
        this.at += 4;
        return this.file.readFloatLE(this.at - 4);
      case 7:
        return this.file[this.at++] === 1;
      case 8:
        return this.string();
      case 9: {
        const element = this.u32();
        return Array.from({ length: this.count() }, () => this.value(element) as GgufScalar);
      }
      default:
        throw new Error(`value type ${type}`);
    }
  }
}

export function readGguf(path: string): ReadGguf {
  const file = readFileSync(path);
  const cursor = new Cursor(file);
  if (cursor.u32() !== 0x46554747 || cursor.u32() !== 3) throw new Error(`${path} is no GGUF file of version 3`);
  const tensorCount = cursor.count();
  const keyCount = cursor.count();
  const keys = new Map<string, GgufScalar | GgufScalar[]>();
  const keysAt = cursor.at;
  for (let i = 0; i < keyCount; i++) keys.set(cursor.string(), cursor.value(cursor.u32()));
  const keyBytes = file.subarray(keysAt, cursor.at);
  const infos = Array.from({ length: tensorCount }, () => ({
    name: cursor.string(),
    dims: Array.from({ length: cursor.u32() }, () => cursor.count()),
    typeId: cursor.u32(),
    offset: cursor.count(),
  }));
  const data = Math.ceil(cursor.at / 32) * 32;
  const tensors = new Map<string, ReadTensor>();
  for (const { name, dims, typeId, offset } of infos) {
    const [values, bytes] = blocks[typeId] ?? [0, 0];
    const length = (dims.reduce((product, dim) => product * dim, 1) / values) * bytes;
    if (offset % 32 !== 0 || !(data + offset + length <= file.length))
      throw new Error(`tensor ${name} of type ${typeId}`);
    tensors.set(name, { dims, typeId, bytes: file.subarray(data + offset, data + offset + length) });
  }
  return { keys, tensors, keyBytes };
}

/** A copy of a file with its own keys and, where `change` makes one of it, another tensor of the same shape. */
export function rewriteGguf(
  from: string,
  to: string,
  change: (name: string, tensor: ReadTensor) => { typeId: number; bytes: Uint8Array } | undefined,
): void {
  const { keys, keyBytes, tensors } = readGguf(from);
  const number = (value: number, bytes: 4 | 8): Buffer => {
    const buffer = Buffer.alloc(bytes);
    buffer.writeUIntLE(value, 0, bytes === 4 ? 4 : 6);
    return buffer;
  };
  const head = [number(0x46554747, 4), number(3, 4), number(tensors.size, 8), number(keys.size, 8), keyBytes];
  const data: Uint8Array[] = [];
  let offset = 0;
  for (const [name, tensor] of tensors) {
    const { typeId, bytes } = change(name, tensor) ?? tensor;
    const text = Buffer.from(name);
    head.push(number(text.length, 8), text, number(tensor.dims.length, 4));
    head.push(...tensor.dims.map((dim) => number(dim, 8)), number(typeId, 4), number(offset, 8));
    const padding = (32 - (bytes.length % 32)) % 32;
    data.push(bytes, new Uint8Array(padding));
    offset += bytes.length + padding;
  }
  const headBytes = head.reduce((sum, { length }) => sum + length, 0);
  writeFileSync(to, Buffer.concat([...head, new Uint8Array((32 - (headBytes % 32)) % 32), ...data]));
}

/** A copy, at an address that a typed array can have. */
export function floats({ bytes }: ReadTensor): Float32Array {
  return new Float32Array(new Uint8Array(bytes).buffer);
}
