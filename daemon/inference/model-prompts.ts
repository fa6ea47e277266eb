import { HearthError } from '../errors';
import type { ModelPrompts } from './types';

/** For models that bring no prompts of their own: the released, instruction-tuned Gemma 3n follows these. */
export const defaultPrompts: ModelPrompts = {
  caption: 'Describe this image in one short sentence.',
  video: 'These pictures were taken one after the other. Say in one short sentence what happens.',
  transcribe: 'Transcribe the following speech segment. Reply with the words alone.',
  translateAudio: 'Translate the following speech segment into {lang}. Reply with the translation alone.',
  translate: 'Translate into {lang}. Reply with the translation alone.\n{text}',
  call:
    'You can call these functions, given as JSON Schema:\n{functions}\n' +
    'Answer with one JSON function call {"name": ..., "arguments": {...}}, or null when none fits.\n{text}',
  calls:
    'You can call these functions, given as JSON Schema:\n{functions}\n' +
    'Answer with one JSON function call {"name": ..., "arguments": {...}}, a JSON array of up to {max} of them ' +
    'when several are asked for, or null when none fits.\n{text}',
  languages: {
    ar: 'Arabic',
    de: 'German',
    en: 'English',
    es: 'Spanish',
    fr: 'French',
    hi: 'Hindi',
    it: 'Italian',
    ja: 'Japanese',
    ko: 'Korean',
    nl: 'Dutch',
    pl: 'Polish',
    pt: 'Portuguese',
    ru: 'Russian',
    tr: 'Turkish',
    uk: 'Ukrainian',
    zh: 'Chinese',
  },
};

/** The keys as `prompts.json` of a checkpoint spells them. */
const keys = {
  caption: 'caption',
  video: 'video',
  transcribe: 'transcribe',
  translateAudio: 'translate_audio',
  translate: 'translate',
  call: 'call',
  calls: 'calls',
} as const;

const maxPromptsChars = 65_536;

/**
 * The prompts of a model: those its file brings (`hearth.prompts`, the JSON of the checkpoint's `prompts.json`), the
 * defaults for the rest. Throws `MODEL_MISMATCH` when the file's are not what they should be.
 */
export function parsePrompts(json: string): ModelPrompts {
  if (json === '') return defaultPrompts;
  if (json.length > maxPromptsChars)
    throw new HearthError('MODEL_MISMATCH', `the model's prompts take ${json.length} characters`);
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new HearthError('MODEL_MISMATCH', "the model's prompts (hearth.prompts) are not JSON", { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new HearthError('MODEL_MISMATCH', "the model's prompts (hearth.prompts) should be a JSON object");
  }
  const given = value as Record<string, unknown>;
  // A model with a prompt of its own for captions or calls was not trained on ours.
  const prompts: Record<string, unknown> = {
    ...defaultPrompts,
    ...(given['caption'] !== undefined && { video: given['caption'] }),
    ...(given['call'] !== undefined && { calls: given['call'] }),
  };
  for (const [name, key] of Object.entries(keys)) {
    const text = given[key];
    if (text === undefined) continue;
    if (typeof text !== 'string')
      throw new HearthError('MODEL_MISMATCH', `the model's prompt "${key}" should be a string`);
    prompts[name] = text;
  }
  const languages = given['languages'];
  if (languages !== undefined) {
    const entries = typeof languages === 'object' && languages !== null ? Object.entries(languages) : [];
    if (entries.length === 0 || entries.some(([, name]) => typeof name !== 'string')) {
      throw new HearthError('MODEL_MISMATCH', 'the model\'s prompts: "languages" should map codes to names');
    }
    prompts['languages'] = Object.fromEntries(entries);
  }
  return prompts as unknown as ModelPrompts;
}
