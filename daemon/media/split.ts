/** A recording that is longer than the model hears at once, cut where it is quietest. */

const windowMs = 100;

/** Energy of the window that begins at `from`. */
function energy(samples: Float32Array, from: number, length: number): number {
  let sum = 0;
  for (let i = from; i < from + length; i++) sum += (samples[i] as number) ** 2;
  return sum;
}

/**
 * Views of `samples`, one after the other, none longer than `maxSeconds`. Each but the last is cut in the middle of the
 * quietest tenth of a second of its last third.
 */
export function splitAtQuiet(samples: Float32Array, sampleRate: number, maxSeconds: number): Float32Array[] {
  const most = Math.max(1, Math.floor(maxSeconds * sampleRate));
  const window = Math.max(1, Math.min(most, Math.floor((windowMs / 1000) * sampleRate)));
  const pieces: Float32Array[] = [];
  let from = 0;
  while (samples.length - from > most) {
    let quietest = from + most - window;
    let least = Number.POSITIVE_INFINITY;
    for (let at = from + most - window; at >= from + Math.floor((2 * most) / 3); at -= window) {
      const here = energy(samples, at, window);
      if (here < least) [quietest, least] = [at, here];
    }
    const cut = Math.max(from + 1, quietest + Math.floor(window / 2));
    pieces.push(samples.subarray(from, cut));
    from = cut;
  }
  pieces.push(samples.subarray(from));
  return pieces;
}
