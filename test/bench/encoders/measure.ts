/** The rows of the table: hearth and PyTorch in turn, and hearth's soft tokens against its own in float32. */
import { performance } from 'node:perf_hooks';
import type { NativeEngine, SoftTokens } from '../../../daemon/inference/native';
import { makeFigure } from '../report/figure';
import type { Cosine, EncoderRow } from '../report/result';
import { interleave } from '../report/statistics';
import { melFrames, picture, sound } from './inputs';
import type { EncoderRequest, PyTorch } from './pytorch';

export interface Task {
  readonly id: string;
  readonly label: string;
  /** Of a sound. */
  readonly seconds: number | undefined;
  readonly request: EncoderRequest;
  encode(engine: NativeEngine): Promise<SoftTokens>;
}

export function imageTask(side: number): Task {
  const image = picture();
  return {
    id: `vision-${side}`,
    label: `vision, ${side} px`,
    seconds: undefined,
    request: { image: side },
    encode: (engine) => engine.encodeImage(image, side),
  };
}

export function audioTask(seconds: number): Task {
  const samples = sound(seconds);
  return {
    id: `audio-${seconds}`,
    label: `audio, ${seconds} s`,
    seconds,
    request: { audio: melFrames(seconds) },
    encode: (engine) => engine.encodeAudio(samples),
  };
}

/** The first run of each side wakes threads and fills caches; it does not count. */
export async function measureTask(
  task: Task,
  engine: NativeEngine,
  peer: PyTorch | { readonly missing: string | undefined },
  runs: number,
): Promise<EncoderRow> {
  const hearth = async (): Promise<number> => {
    const started = performance.now();
    await task.encode(engine);
    return performance.now() - started;
  };
  const sides = [hearth, ...('run' in peer ? [() => peer.run(task.request)] : [])];
  for (const side of sides) await side();
  const [own, other] = await interleave(runs, sides);
  const figure = makeFigure(task.id, task.label, 'ms', { hearth: own, PyTorch: other });
  const median = figure.sides[0]?.summary.median;
  return {
    figure,
    cosine: undefined,
    realTimeFactor: task.seconds === undefined || median === undefined ? undefined : median / 1000 / task.seconds,
    peerMissing: 'missing' in peer ? peer.missing : undefined,
  };
}

/** Row by row. */
export function cosineOf(a: SoftTokens, b: SoftTokens): Cosine {
  if (a.count !== b.count || a.rows.length !== b.rows.length)
    throw new Error(`${a.count} and ${b.count} soft tokens cannot be compared`);
  const width = a.rows.length / a.count;
  const cosines = Array.from({ length: a.count }, (_, t) => {
    let ab = 0;
    let aa = 0;
    let bb = 0;
    for (let i = t * width; i < (t + 1) * width; i++) {
      const x = a.rows[i] as number;
      const y = b.rows[i] as number;
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
    return aa === 0 && bb === 0 ? 1 : ab / Math.sqrt(aa * bb);
  });
  return {
    least: Math.min(...cosines),
    mean: cosines.reduce((sum, cosine) => sum + cosine, 0) / a.count,
    rows: a.count,
  };
}
