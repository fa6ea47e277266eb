/** What the demo expects to see: the model's own answers to the demo's pictures and recordings, with its own prompts. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generate } from '../../daemon/inference/generate';
import { NativeEngine, type NativeSession } from '../../daemon/inference/native';
import type { Part } from '../../daemon/inference/types';
import { decodeImage } from '../../daemon/media/image';
import { toModelRate } from '../../daemon/media/resample';
import { decodeWav } from '../../daemon/media/wav';

/** The parts of the index that the model has to answer for. */
interface Index {
  readonly pictures: readonly { readonly file: string; readonly caption: string }[];
  readonly questions: readonly { readonly file: string; readonly question: string; readonly answer: string }[];
  readonly recordings: readonly {
    readonly file: string;
    readonly language: string;
    readonly transcript: string;
    /** Into English; null for what is English already. */
    readonly translation: string | null;
    readonly call: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> } | null;
  }[];
  readonly texts: readonly { readonly text: string; readonly target: string; readonly translation: string }[];
}

const media = 'daemon/demo/media';
const index = JSON.parse(readFileSync(join(media, 'index.json'), 'utf8')) as Index;
const prompts = JSON.parse(readFileSync('test/fixtures/checkpoints/nano/prompts.json', 'utf8')) as {
  caption: string;
  transcribe: string;
  translate_audio: string;
  translate: string;
  call: string;
  languages: Record<string, string>;
};

describe('the demo’s pictures and recordings', () => {
  let engine: NativeEngine;
  let session: NativeSession;

  beforeAll(async () => {
    engine = await NativeEngine.open({
      modelPath: 'daemon/demo/model/nano.gguf',
      multimodalPath: 'daemon/demo/model/mmproj-nano.gguf',
      threads: 2,
    });
    session = engine.newSession();
  });

  async function answer(prompt: string, ...media: Part[]): Promise<string> {
    const { text } = await generate(
      engine,
      session,
      { messages: [{ role: 'user', parts: [...media, { type: 'text', text: prompt }] }], maxTokens: 64 },
      { slice: 'full', imageSize: 0 },
      { signal: new AbortController().signal, onText: () => undefined, onStep: () => undefined },
    );
    return text;
  }

  async function picture(file: string): Promise<Part> {
    return { type: 'image', image: (await decodeImage(readFileSync(join(media, file)))).image };
  }

  test('are all listed, in four languages', () => {
    const listed = [...index.pictures, ...index.recordings].map(({ file }) => file);
    expect([...listed, 'index.json'].sort()).toEqual(readdirSync(media).sort());
    expect(new Set(index.recordings.map(({ language }) => language))).toEqual(new Set(['en', 'es', 'de', 'fr']));
  });

  test.each(index.pictures)('$file: $caption', async ({ file, caption }) => {
    expect(await answer(prompts.caption, await picture(file))).toBe(caption);
  });

  test.each(index.questions)('$file: $question $answer', async ({ file, question, answer: expected }) => {
    expect(await answer(question, await picture(file))).toBe(expected);
  });

  test.each(index.recordings)('$file: $transcript', async ({ file, transcript, translation, call }) => {
    const sound: Part = { type: 'audio', audio: await toModelRate(decodeWav(readFileSync(join(media, file)), 30_000)) };
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
