/** What was chosen at run time instead of what the configuration says, kept in the state directory. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Ajv from 'ajv';
import type { Pin } from '../governor/governor';
import { writeJson } from './write-json';

/** By its place in the model directory. */
export type ChosenModel =
  | { readonly kind: 'installed'; readonly name: string; readonly key: string }
  | { readonly kind: 'path'; readonly path: string };

export interface Selection {
  /** Null: that of the configuration. */
  readonly model: ChosenModel | null;
  /** Largest slice to have in memory; for a chosen model alone. */
  readonly loadSlice: string | null;
  /** `auto`: the governor chooses, even where the configuration names a slice. Null: as the configuration says. */
  readonly pin: Pin | 'auto' | null;
}

export const noSelection: Selection = { model: null, loadSlice: null, pin: null };

const text = { type: 'string', minLength: 1, maxLength: 4096 };
const isSelection = new Ajv({ allowUnionTypes: true }).compile<Selection>({
  type: 'object',
  required: ['model', 'loadSlice', 'pin'],
  properties: {
    model: {
      anyOf: [
        { type: 'null' },
        {
          type: 'object',
          required: ['kind', 'name', 'key'],
          properties: { kind: { const: 'installed' }, name: text, key: text },
        },
        { type: 'object', required: ['kind', 'path'], properties: { kind: { const: 'path' }, path: text } },
      ],
    },
    loadSlice: { type: ['string', 'null'] },
    pin: {
      anyOf: [
        { enum: [null, 'auto'] },
        { type: 'object', required: ['slice'], properties: { slice: text, tailSlice: text } },
      ],
    },
  },
});

const pathIn = (stateDirectory: string): string => join(stateDirectory, 'model.json');

/** What is broken counts for nothing: the configuration holds. */
export function readSelection(stateDirectory: string): Selection {
  try {
    const value: unknown = JSON.parse(readFileSync(pathIn(stateDirectory), 'utf8'));
    return isSelection(value) ? value : noSelection;
  } catch {
    return noSelection;
  }
}

/** Throws `FILE_WRITE_FAILED`. */
export function writeSelection(stateDirectory: string, selection: Selection): void {
  const nothing = selection.model === null && selection.pin === null;
  if (nothing) rmSync(pathIn(stateDirectory), { force: true });
  else writeJson(pathIn(stateDirectory), selection);
}
