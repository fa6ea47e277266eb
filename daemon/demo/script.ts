/** What the demonstration plays, and what should come back: the pictures, recordings and texts of `media/`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface FunctionCall {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

export interface Script {
  readonly pictures: readonly { readonly file: string; readonly caption: string }[];
  readonly questions: readonly { readonly file: string; readonly question: string; readonly answer: string }[];
  readonly recordings: readonly {
    readonly file: string;
    readonly language: Language;
    readonly transcript: string;
    /** Into English; null for what is English already. */
    readonly translation: string | null;
    readonly call: FunctionCall | null;
  }[];
  readonly texts: readonly { readonly text: string; readonly target: string; readonly translation: string }[];
}

export type Language = 'en' | 'es' | 'de' | 'fr';

export const node = 'demo';
export const base = 'hearth';
export const camera = 'front_door';
/** One microphone for each language, as in a house whose people speak four. */
export const microphones: Readonly<Record<Language, string>> = { en: 'kitchen', es: 'sala', de: 'buero', fr: 'salon' };

const here = join(__dirname, '../../../daemon/demo');

export const modelPath = join(here, 'model/nano.gguf');

export function mediaPath(file: string): string {
  return join(here, 'media', file);
}

export function readScript(): Script {
  return JSON.parse(readFileSync(mediaPath('index.json'), 'utf8')) as Script;
}
