import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ErrorCode } from '../../../daemon/errors';
import { HearthError } from '../../../daemon/errors';

/** Jest runs in the repository's root. */
export const fixture = (name: string): Buffer => readFileSync(join(process.cwd(), 'test', 'fixtures', 'media', name));

/** The code of the `HearthError` that `run` ends in; fails the test on success and on any other error. */
export async function codeOf(run: () => unknown): Promise<ErrorCode> {
  try {
    await run();
  } catch (error) {
    if (error instanceof HearthError) return error.code;
    throw error;
  }
  throw new Error('expected a HearthError, but nothing was thrown');
}

/** mulberry32: a seeded generator of numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One hostile variant: bits flipped (mostly in the header), bytes cut, bytes inserted, or a 32-bit field made to lie. */
export function mutate(original: Buffer, random: () => number): Buffer {
  let bytes = Buffer.from(original);
  const lies = [0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0x00ffffff];
  const rounds = 1 + Math.floor(random() * 4);
  for (let round = 0; round < rounds; round++) {
    const reach = random() < 0.7 ? Math.min(64, bytes.length) : bytes.length;
    const at = Math.floor(random() * reach);
    const kind = Math.floor(random() * 4);
    if (kind === 0 && bytes.length > 0) bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(random() * 8));
    if (kind === 1) bytes = bytes.subarray(0, Math.floor(random() * bytes.length));
    if (kind === 2)
      bytes = Buffer.concat([
        bytes.subarray(0, at),
        Buffer.alloc(Math.floor(random() * 9), Math.floor(random() * 256)),
        bytes.subarray(at),
      ]);
    if (kind === 3 && at + 4 <= bytes.length)
      bytes.writeUInt32LE(lies[Math.floor(random() * lies.length)] as number, at);
  }
  return bytes;
}

export interface WavOptions {
  readonly tag?: number;
  readonly channels?: number;
  readonly sampleRate?: number;
  readonly bits?: number;
  readonly blockAlign?: number;
  readonly extensible?: boolean;
  /** Chunks between `fmt ` and `data`, padded to even sizes here. */
  readonly extra?: readonly { readonly id: string; readonly body: Buffer }[];
  readonly dataSize?: number;
}

export function makeWav(data: Buffer, options: WavOptions = {}): Buffer {
  const { tag = 1, channels = 1, sampleRate = 16_000, bits = 16, extensible = false } = options;
  const blockAlign = options.blockAlign ?? (channels * bits) / 8;
  const fmt = Buffer.alloc(extensible ? 40 : 16);
  fmt.writeUInt16LE(extensible ? 0xfffe : tag, 0);
  fmt.writeUInt16LE(channels, 2);
  fmt.writeUInt32LE(sampleRate, 4);
  fmt.writeUInt32LE((sampleRate * blockAlign) >>> 0, 8);
  fmt.writeUInt16LE(blockAlign, 12);
  fmt.writeUInt16LE(bits, 14);
  if (extensible) {
    fmt.writeUInt16LE(22, 16);
    fmt.writeUInt16LE(bits, 18);
    fmt.writeUInt16LE(tag, 24);
    Buffer.from('000000001000800000aa00389b71', 'hex').copy(fmt, 26);
  }
  const chunk = (id: string, body: Buffer, size = body.length): Buffer => {
    const head = Buffer.alloc(8);
    head.write(id, 'latin1');
    head.writeUInt32LE(size, 4);
    return Buffer.concat([head, body, Buffer.alloc(body.length & 1)]);
  };
  const chunks = [
    chunk('fmt ', fmt),
    ...(options.extra ?? []).map(({ id, body }) => chunk(id, body)),
    chunk('data', data, options.dataSize ?? data.length),
  ];
  const body = Buffer.concat(chunks);
  const riff = Buffer.alloc(12);
  riff.write('RIFF', 0, 'latin1');
  riff.writeUInt32LE(4 + body.length, 4);
  riff.write('WAVE', 8, 'latin1');
  return Buffer.concat([riff, body]);
}
