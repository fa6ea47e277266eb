/** float32 to and from the 16-bit formats, over whole arrays. Rounding is to nearest, ties to even. */

const bits = new Uint32Array(1);
const value = new Float32Array(bits.buffer);

export function bf16ToFloat32(from: Uint16Array, to: Float32Array): void {
  const out = new Uint32Array(to.buffer, to.byteOffset, from.length);
  for (let i = 0; i < from.length; i++) out[i] = (from[i] as number) << 16;
}

export function float32ToBf16(from: Float32Array, to: Uint16Array): void {
  const words = new Uint32Array(from.buffer, from.byteOffset, from.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as number;
    // A NaN keeps its top bits and stays one; rounding could carry it into infinity.
    to[i] = (word & 0x7fffffff) > 0x7f800000 ? (word >>> 16) | 64 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}

/** IEEE 754 binary16 of one number. */
export function toFloat16(number: number): number {
  value[0] = number;
  const word = bits[0] as number;
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above round to infinity
  if (magnitude < 0x38800000) {
    // Below 2^-14: subnormal. One ulp of 0.5 is 2^-24, the step of the subnormals, so the addition does the rounding.
    value[0] = Math.abs(number) + 0.5;
    return sign | ((bits[0] as number) - 0x3f000000);
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

export function fromFloat16(half: number): number {
  const exponent = (half >>> 10) & 31;
  const mantissa = half & 0x3ff;
  const magnitude =
    exponent === 0
      ? mantissa * 2 ** -24
      : exponent === 31
        ? mantissa === 0
          ? Infinity
          : NaN
        : (1 + mantissa / 1024) * 2 ** (exponent - 15);
  return half & 0x8000 ? -magnitude : magnitude;
}

export function f16ToFloat32(from: Uint16Array, to: Float32Array): void {
  for (let i = 0; i < from.length; i++) to[i] = fromFloat16(from[i] as number);
}

export function float32ToF16(from: Float32Array, to: Uint16Array): void {
  for (let i = 0; i < from.length; i++) to[i] = toFloat16(from[i] as number);
}

/** The largest magnitude in `values`; NaN where one of them is no number. */
export function largestMagnitude(values: Float32Array): number {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length);
  let largest = 0;
  for (let i = 0; i < words.length; i++) {
    const magnitude = (words[i] as number) & 0x7fffffff;
    if (magnitude > largest) largest = magnitude;
  }
  bits[0] = largest;
  return value[0] as number;
}
