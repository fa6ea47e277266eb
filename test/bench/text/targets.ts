/** What the text figures are held to: what they must come to, and what they aim at. */
import type { ModelResult, TargetResult, Verdict } from '../report/result';

export interface Target {
  readonly model: 'e2b' | 'e4b';
  /** A figure's id, whose ratio is meant, or another value of `valuesOf`. */
  readonly value: string;
  readonly what: string;
  readonly must: number;
  readonly aim: number;
  readonly unit: 'x' | 'GB' | '';
  readonly better: 'more' | 'less';
  /** What `must` and `aim` stand for, where they are words. */
  readonly words?: { readonly must: string; readonly aim: string };
}

const ratio = (model: Target['model'], value: string, what: string, must: number, aim: number): Target => ({
  model,
  value,
  what,
  must,
  aim,
  unit: 'x',
  better: 'more',
});

export const textTargets: readonly Target[] = [
  ratio('e2b', 'prefill-512', 'prefill 512, E2B Q4_0 / llama.cpp', 3, 5),
  ratio('e2b', 'decode-0', 'decode, E2B Q4_0 / llama.cpp', 1.4, 1.8),
  ratio('e4b', 'prefill-512', 'prefill 512, E4B Q4_0 / llama.cpp', 3.5, 6),
  ratio('e4b', 'decode-0', 'decode, E4B Q4_0 / llama.cpp', 1.4, 1.8),
  {
    model: 'e2b',
    value: 'bandwidth-share',
    what: 'share of the read bandwidth used at decode, E2B',
    must: 0.85,
    aim: 0.95,
    unit: '',
    better: 'more',
  },
  {
    model: 'e4b',
    value: 'bandwidth-share',
    what: 'share of the read bandwidth used at decode, E4B',
    must: 0.85,
    aim: 0.95,
    unit: '',
    better: 'more',
  },
  { model: 'e2b', value: 'peak-rss-gb', what: 'peak RSS, E2B', must: 2.0, aim: 1.7, unit: 'GB', better: 'less' },
  { model: 'e4b', value: 'peak-rss-gb', what: 'peak RSS, E4B', must: 3.0, aim: 2.6, unit: 'GB', better: 'less' },
  ratio('e2b', 'cached-prefix', 'time to first token, cold / with a cached prefix, E2B', 20, 30),
  ratio('e4b', 'cached-prefix', 'time to first token, cold / with a cached prefix, E4B', 20, 30),
  ratio('e4b', 'slice-e2b', 'decode of the e2b slice of an E4B file / full E4B', 1.6, 1.8),
  {
    model: 'e4b',
    value: 'slice-switch-share',
    what: 'switching a tail slice for every token, share of the time',
    must: 0.1,
    aim: 0.01,
    unit: '',
    better: 'less',
    words: { must: 'no re-prefill, no copy', aim: 'per token' },
  },
  ratio('e2b', 'threads-prefill', 'prefill 512 with twice the threads / with one a core, E2B', 0.8, 0.95),
  ratio('e2b', 'threads-decode', 'decode with twice the threads / with one a core, E2B', 0.8, 0.95),
  ratio('e4b', 'threads-prefill', 'prefill 512 with twice the threads / with one a core, E4B', 0.8, 0.95),
  ratio('e4b', 'threads-decode', 'decode with twice the threads / with one a core, E4B', 0.8, 0.95),
];

export function verdictOf(target: Pick<Target, 'better' | 'aim' | 'must'>, measured: number | undefined): Verdict {
  if (measured === undefined || Number.isNaN(measured)) return 'not measured';
  const reaches = (bound: number): boolean => (target.better === 'more' ? measured >= bound : measured <= bound);
  if (reaches(target.aim)) return 'aim met';
  return reaches(target.must) ? 'must met' : 'missed';
}

/** Of one model: the ratio of each figure, and what else targets name. */
export function valuesOf(model: ModelResult): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const { id, ratio: value } of model.figures) if (value !== undefined) values.set(id, value);
  const hearth = (id: string): number | undefined =>
    model.figures.find((figure) => figure.id === id)?.sides[0]?.summary.median;
  const rss = hearth('peak-rss');
  if (rss !== undefined) values.set('peak-rss-gb', rss / 1e9);
  const { share } = model.decodeBytes;
  if (share !== undefined) values.set('bandwidth-share', share);
  const switches = values.get('slice-switch');
  if (switches !== undefined) values.set('slice-switch-share', 1 / switches);
  return values;
}

/** Those of the models that were measured. */
export function compareToTargets(models: readonly ModelResult[]): TargetResult[] {
  return textTargets.flatMap((target) => {
    const model = models.find(({ model: name }) => name === target.model);
    if (model === undefined) return [];
    const measured = valuesOf(model).get(target.value);
    const { what, must, aim, unit, words } = target;
    const verdict = verdictOf(target, measured);
    return [{ what, measured, must: words?.must ?? must, aim: words?.aim ?? aim, unit, verdict }];
  });
}
