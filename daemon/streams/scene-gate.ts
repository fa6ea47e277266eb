/**
 * Has anything happened in front of the camera since the picture that was used last? Compared with that picture rather
 * than with a background that adapts: who has come and stands still has been described already, and who leaves changes
 * the scene once more. What adapts is how much each cell of the grid may change unnoticed, so that rain, swaying leaves
 * and a noisy sensor fall silent after a few frames.
 *
 * Light is no motion: brightness and contrast of the whole picture are fitted (`fitLight`) before cells are compared.
 */
import { difference, type Thumbnail, thumbnailSide } from '../media/thumbnail';

/** A rectangle in fractions of the picture, from its upper left corner. */
export interface Region {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface MotionOptions {
  /** Luma (0..255) by which a cell has to change, after light and noise; 0: only the mean of the whole picture counts. */
  readonly threshold: number;
  /** Fraction of the picture that has to change in one piece, one cell at least. */
  readonly minArea: number;
  /** Where nothing counts. */
  readonly ignore: readonly Region[];
}

/** Why a frame is not used: all but the same picture, or other light and noise only. */
export type NoChange = 'duplicate' | 'no-motion';

/** Luma: a mean that moves further is a change of the scene, such as a lamp that is switched on. */
const maxLightShift = 48;
/** Times the noise around it is what a cell may change unnoticed. */
const noiseFactor = 3;
/** Up to this many times the threshold: no cell goes blind. */
const maxNoiseThresholds = 4;
/** Of a new frame in the mean: half of a change is forgotten after five frames. */
const noiseRate = 1 / 8;
/** Of the cells: where more than these changed, it is another picture and tells nothing about noise. */
const sceneFraction = 0.5;

interface Light {
  readonly gain: number;
  readonly offset: number;
  /** Mean luma of `to` less that of `from`. */
  readonly shift: number;
}

/** Least squares over some cells, drawn towards a gain of 1, which is all that a flat picture tells. */
function fitLight(from: Float32Array, to: Float32Array, cells: readonly number[]): Light {
  const flat = 25;
  const n = cells.length;
  let [sumFrom, sumTo] = [0, 0];
  for (const i of cells) {
    sumFrom += from[i] ?? 0;
    sumTo += to[i] ?? 0;
  }
  const [meanFrom, meanTo] = [sumFrom / n, sumTo / n];
  let [covariance, variance] = [0, 0];
  for (const i of cells) {
    const deviation = (from[i] ?? 0) - meanFrom;
    covariance += deviation * ((to[i] ?? 0) - meanTo);
    variance += deviation * deviation;
  }
  const gain = Math.min(2, Math.max(0.5, (covariance / n + flat) / (variance / n + flat)));
  return { gain, offset: meanTo - gain * meanFrom, shift: meanTo - meanFrom };
}

/**
 * How much each of `cells` changed beyond what the light of the whole picture did; undefined where that changed too much
 * to be light. The fit leaves out what moved: the cells that fit the round before least.
 */
function changes(from: Float32Array, to: Float32Array, cells: readonly number[]): Float32Array | undefined {
  const residual = new Float32Array(cells.length);
  let fitted = cells;
  let light: Light = { gain: 1, offset: 0, shift: 0 };
  for (let round = 0; round < 3; round++) {
    light = fitLight(from, to, fitted);
    for (const [k, i] of cells.entries()) {
      // What is white already gets no whiter.
      const expected = Math.min(255, Math.max(0, light.gain * (from[i] ?? 0) + light.offset));
      residual[k] = Math.abs((to[i] ?? 0) - expected);
    }
    const limit = 2 * (residual.slice().sort()[cells.length >> 1] ?? 0) + 1;
    fitted = cells.filter((_cell, k) => (residual[k] ?? 0) <= limit);
  }
  return Math.abs(light.shift) > maxLightShift ? undefined : residual;
}

/** A cell and its neighbours, those at its corners included. */
const neighbours: readonly (readonly number[])[] = Array.from({ length: thumbnailSide ** 2 }, (_cell, cell) => {
  const near = (at: number): number[] => [at - 1, at, at + 1].filter((n) => n >= 0 && n < thumbnailSide);
  const columns = near(cell % thumbnailSide);
  return near(Math.floor(cell / thumbnailSide)).flatMap((row) => columns.map((column) => row * thumbnailSide + column));
});

/** Cells of the largest piece of `changed`, a set of cells; corners connect. */
function largestPiece(changed: ReadonlySet<number>): number {
  const left = new Set(changed);
  let largest = 0;
  for (const start of changed) {
    if (!left.delete(start)) continue;
    const open = [start];
    let size = 0;
    for (let cell = open.pop(); cell !== undefined; cell = open.pop()) {
      size++;
      for (const at of neighbours[cell] ?? []) if (left.delete(at)) open.push(at);
    }
    largest = Math.max(largest, size);
  }
  return largest;
}

/** The cells whose centre is in none of the regions. */
function cellsOutside(regions: readonly Region[]): number[] {
  const centre = (at: number): number => (at + 0.5) / thumbnailSide;
  return Array.from({ length: thumbnailSide ** 2 }, (_cell, i) => i).filter((i) => {
    const [x, y] = [centre(i % thumbnailSide), centre(Math.floor(i / thumbnailSide))];
    return !regions.some(
      (region) => x >= region.x && x < region.x + region.width && y >= region.y && y < region.y + region.height,
    );
  });
}

export class SceneGate {
  #used: Thumbnail | undefined;
  #previous: Thumbnail | undefined;
  /** Of each cell: the mean square of its changes from one frame to the next, lately; rain is rare in each of them. */
  readonly #noise = new Float32Array(thumbnailSide ** 2);
  #regions: readonly Region[] | undefined;
  #cells: readonly number[] = [];

  /** Undefined for a frame that shows something else than the one used last. `duplicateThreshold` 0 lets all through. */
  judge(frame: Thumbnail, duplicateThreshold: number, motion?: MotionOptions): NoChange | undefined {
    const used = this.#used;
    const previous = this.#previous;
    this.#previous = frame;
    if (used === undefined || previous === undefined || duplicateThreshold === 0) return undefined;
    const cells = this.#cellsFor(motion?.ignore ?? []);
    const mean = difference(frame, used, cells);
    if (!Number.isFinite(mean)) return undefined;
    const still = mean < duplicateThreshold;
    if (motion === undefined || motion.threshold === 0) return still ? 'duplicate' : undefined;
    if (cells.length > 0 && this.#moved(frame, used, previous, motion)) return undefined;
    return still ? 'duplicate' : 'no-motion';
  }

  /** The frame to compare with from now on. */
  use(frame: Thumbnail): void {
    this.#used = frame;
  }

  #moved(frame: Thumbnail, used: Thumbnail, previous: Thumbnail, { threshold, minArea }: MotionOptions): boolean {
    const cells = this.#cells;
    const change = changes(used.luma, frame.luma, cells);
    const most = maxNoiseThresholds * threshold;
    const changed = new Set(
      cells.filter((cell, k) => {
        const unnoticed = Math.min(most, noiseFactor * Math.sqrt(this.#noiseAround(cell)));
        return (change?.[k] ?? 255) > threshold + unnoticed;
      }),
    );
    if (changed.size <= sceneFraction * cells.length) this.#learn(frame, previous, threshold);
    return largestPiece(changed) >= Math.max(1, Math.round(minArea * thumbnailSide ** 2));
  }

  #learn(frame: Thumbnail, previous: Thumbnail, threshold: number): void {
    if (frame.width !== previous.width || frame.height !== previous.height) return;
    const cells = this.#cells;
    const change = changes(previous.luma, frame.luma, cells);
    if (change === undefined) return;
    const most = maxNoiseThresholds * threshold;
    for (const [k, cell] of cells.entries()) {
      const noise = this.#noise[cell] ?? 0;
      this.#noise[cell] = noise + noiseRate * (Math.min(most, change[k] ?? 0) ** 2 - noise);
    }
  }

  /** The mean of a cell and its neighbours, which share their weather. */
  #noiseAround(cell: number): number {
    const near = neighbours[cell] ?? [];
    let sum = 0;
    for (const at of near) sum += this.#noise[at] ?? 0;
    return sum / near.length;
  }

  #cellsFor(regions: readonly Region[]): readonly number[] {
    if (this.#regions === regions) return this.#cells;
    this.#regions = regions;
    this.#cells = cellsOutside(regions);
    return this.#cells;
  }
}
