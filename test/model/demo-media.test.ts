/** What the demo expects to see: the model's own answers to the demo's pictures and recordings, with its own prompts. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mediaPath, readScript } from '../../daemon/demo/script';
import type { Part } from '../../daemon/inference/types';
import { Nano, pictureOf, soundOf } from '../helpers/nano';

const index = readScript();
const prompts = JSON.parse(readFileSync('test/fixtures/checkpoints/nano/prompts.json', 'utf8')) as {
  caption: string;
  transcribe: string;
  translate_audio: string;
  translate: string;
  call: string;
  languages: Record<string, string>;
};

describe('the demo’s pictures and recordings', () => {
  let nano: Nano;

  beforeAll(async () => {
    nano = await Nano.open();
  });

  async function answer(prompt: string, ...media: Part[]): Promise<string> {
    return (await nano.ask(media, prompt)).text;
  }

  test('are all listed, in four languages', () => {
    const listed = [...index.pictures, ...index.recordings].map(({ file }) => file);
    expect([...listed, 'index.json'].sort()).toEqual(readdirSync(join(mediaPath('index.json'), '..')).sort());
    expect(new Set(index.recordings.map(({ language }) => language))).toEqual(new Set(['en', 'es', 'de', 'fr']));
  });

  test.each(index.pictures)('$file: $caption', async ({ file, caption }) => {
    expect(await answer(prompts.caption, await pictureOf(mediaPath(file)))).toBe(caption);
  });

  test.each(index.questions)('$file: $question $answer', async ({ file, question, answer: expected }) => {
    expect(await answer(question, await pictureOf(mediaPath(file)))).toBe(expected);
  });

  test.each(index.recordings)('$file: $transcript', async ({ file, transcript, translation, call }) => {
    const sound = await soundOf(mediaPath(file));
    expect(await answer(prompts.transcribe, sound)).toBe(transcript);
    expect(JSON.parse(await answer(prompts.call.replace('\n{text}', ''), sound))).toEqual(call);
    if (translation !== null)
      expect(await answer(prompts.translate_audio.replace('{lang}', 'English'), sound)).toBe(translation);
  });

  test.each(index.texts)('$text: $translation', async ({ text, target, translation }) => {
    const prompt = prompts.translate.replace('{lang}', prompts.languages[target] as string).replace('{text}', text);
    expect(await answer(prompt)).toBe(translation);
  });
});
