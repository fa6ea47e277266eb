/** What the encoders are held to. */
import type { EncoderRow, TargetResult } from '../report/result';
import { type Target, verdictOf } from '../text/targets';

type EncoderTarget = Omit<Target, 'model'>;

const factor = (value: string, what: string, must: number, aim: number): EncoderTarget => ({
  value,
  what,
  must,
  aim,
  unit: 'x',
  better: 'more',
});

/** `value`: a figure's id, for its ratio, or another value of `valuesOf`. */
const targets: readonly EncoderTarget[] = [
  factor('vision-768', 'vision 768 px / PyTorch', 6, 12),
  factor('audio-30', 'audio 30 s / PyTorch', 4, 8),
  { value: 'real-time', what: 'real-time factor, audio 30 s', must: 0.06, aim: 0.03, unit: '', better: 'less' },
  { value: 'cosine', what: 'least cosine of a token with float32', must: 0.995, aim: 0.999, unit: '', better: 'more' },
  { value: 'scratch', what: '768 px, above the loaded model', must: 0.3, aim: 0.2, unit: 'GB', better: 'less' },
];

function valuesOf(rows: readonly EncoderRow[], scratchBytes: number | undefined): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const { figure, realTimeFactor } of rows) {
    if (figure.ratio !== undefined) values.set(figure.id, figure.ratio);
    if (figure.id === 'audio-30' && realTimeFactor !== undefined) values.set('real-time', realTimeFactor);
  }
  const cosines = rows.flatMap(({ cosine }) => (cosine === undefined ? [] : [cosine.least]));
  if (cosines.length > 0) values.set('cosine', Math.min(...cosines));
  if (scratchBytes !== undefined) values.set('scratch', scratchBytes / 1e9);
  return values;
}

export function compareEncoders(rows: readonly EncoderRow[], scratchBytes: number | undefined): TargetResult[] {
  const values = valuesOf(rows, scratchBytes);
  return targets.map((target) => {
    const measured = values.get(target.value);
    const { what, must, aim, unit } = target;
    return { what, measured, must, aim, unit, verdict: verdictOf(target, measured) };
  });
}
