import type { Figure, Unit } from './result';
import { summarise } from './statistics';

/** More of these is better; less of the others. */
const moreIsBetter: ReadonlySet<Unit> = new Set(['tokens/s', 'GB/s']);

/** The samples of the sides, in their order. */
export function makeFigure(
  id: string,
  label: string,
  unit: Unit,
  sides: Readonly<Record<string, readonly number[] | undefined>>,
): Figure {
  const made = Object.entries(sides).flatMap(([name, samples]) =>
    samples === undefined ? [] : [{ name, samples, summary: summarise(samples) }],
  );
  const [first, second] = made.map(({ summary }) => summary.median);
  const ratio =
    first === undefined || second === undefined ? undefined : moreIsBetter.has(unit) ? first / second : second / first;
  return { id, label, unit, sides: made, ratio };
}
