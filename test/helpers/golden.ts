/** Reads the reference's values: the tensors of a safetensors file that was made by the reference script. */
import { readFileSync } from 'node:fs';

export interface Golden {
  readonly shape: readonly number[];
  readonly values: Float32Array | Int32Array;
}

export function readGolden(path: string): ReadonlyMap<string, Golden> {
  const file = readFileSync(path);
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerBytes)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Golden>();
  for (const [name, { dtype, shape, data_offsets: range }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const bytes = new Uint8Array(file.subarray(8 + headerBytes + range[0], 8 + headerBytes + range[1]));
    const values =
      dtype === 'F32'
        ? new Float32Array(bytes.buffer)
        : dtype === 'I32'
          ? new Int32Array(bytes.buffer)
          : Int32Array.from(bytes);
    tensors.set(name, { shape, values });
  }
  return tensors;
}

export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let max = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs((a[i] as number) - (b[i] as number));
    if (!(difference <= max)) max = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return max;
}

/** KL(p || q) of two rows of logits, in nats. */
export function klDivergence(p: Float32Array, q: Float32Array): number {
  const logSoftmax = (row: Float32Array): Float64Array => {
    const max = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const sum = row.reduce((total, value) => total + Math.exp(value - max), 0);
    return Float64Array.from(row, (value) => value - max - Math.log(sum));
  };
  const lp = logSoftmax(p);
  const lq = logSoftmax(q);
  return lp.reduce((total, value, i) => total + Math.exp(value) * (value - (lq[i] as number)), 0);
}
