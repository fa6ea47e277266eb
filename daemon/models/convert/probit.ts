/**
 * The z with P(N(0,1) <= z) = p, to float32 accuracy; -Infinity for 0. Newton's method on the error function's series
 * and continued fraction: no table, no rational approximation to trust.
 */
export function probit(p: number): number {
  if (p <= 0) return Number.NEGATIVE_INFINITY;
  if (p >= 1) return Number.POSITIVE_INFINITY;
  if (p < 0.5) return -probit(1 - p);
  let z = 0;
  for (let i = 0; i < 100; i++) {
    const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
    // Bounded steps keep the first iterations from overshooting into the flat tail.
    const step = Math.max(-1, Math.min(1, (upperTail(z) - (1 - p)) / density));
    z += step;
    if (Math.abs(step) < 1e-12) break;
  }
  return z;
}

/** P(N(0,1) > z) for z >= 0. */
function upperTail(z: number): number {
  if (z < 3) {
    let term = z;
    let sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 200; n++) {
      term *= (-z * z) / (2 * n);
      sum += term / (2 * n + 1);
    }
    return 0.5 - sum / Math.sqrt(2 * Math.PI);
  }
  let fraction = z;
  for (let n = 60; n > 0; n--) fraction = z + n / fraction;
  return Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI) / fraction;
}
