/** The trained nano model's evaluation set, and what its makers' own greedy decoding answers. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Part } from '../../daemon/inference/types';
import { pictureOf, soundOf } from './nano';

export interface EvalItem {
  readonly kind: 'image' | 'audio' | 'text';
  readonly file: string | null;
  readonly prompt: string;
  readonly reference: string;
  readonly half_width: string;
}

export const evalDir = 'test/fixtures/nano-eval';

/** Slices of the model and where an item has the answer at that width. */
export const evalWidths = [
  ['full', 'reference'],
  ['half', 'half_width'],
] as const;

export function readEvalItems(): EvalItem[] {
  return JSON.parse(readFileSync(join(evalDir, 'eval.json'), 'utf8')) as EvalItem[];
}

export async function mediaOf({ kind, file }: EvalItem): Promise<Part[]> {
  if (file === null) return [];
  const path = join(evalDir, file);
  return [kind === 'image' ? await pictureOf(path) : await soundOf(path)];
}
