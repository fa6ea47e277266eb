/**
 * The trained nano model on its evaluation set: pictures, recordings and texts, from their files to the words. The
 * answers must be those of the reference's own greedy decoding, at full and at half width.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generate } from '../../daemon/inference/generate';
import { NativeEngine, type NativeSession } from '../../daemon/inference/native';
import type { Part } from '../../daemon/inference/types';
import { decodeImage } from '../../daemon/media/image';
import { toModelRate } from '../../daemon/media/resample';
import { decodeWav } from '../../daemon/media/wav';

interface EvalItem {
  readonly kind: 'image' | 'audio' | 'text';
  readonly file: string | null;
  readonly prompt: string;
  readonly reference: string;
  readonly half_width: string;
}

const evalDir = 'test/fixtures/nano-eval';
const items = JSON.parse(readFileSync(join(evalDir, 'eval.json'), 'utf8')) as EvalItem[];

async function mediaParts(item: EvalItem): Promise<Part[]> {
  if (item.file === null) return [];
  const bytes = readFileSync(join(evalDir, item.file));
  if (item.kind === 'image') return [{ type: 'image', image: (await decodeImage(bytes)).image }];
  return [{ type: 'audio', audio: await toModelRate(decodeWav(bytes, 30_000)) }];
}

describe('nano model', () => {
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

  const answer = async (parts: readonly Part[], prompt: string, slice: string): Promise<string> => {
    const result = await generate(
      engine,
      session,
      { messages: [{ role: 'user', parts: [...parts, { type: 'text', text: prompt }] }], maxTokens: 64, slice },
      { slice: 'full', imageSize: 0 },
      { signal: new AbortController().signal, onText: () => undefined, onStep: () => undefined },
    );
    expect(result.slice).toBe(slice);
    return result.text;
  };

  for (const kind of ['image', 'audio', 'text'] as const) {
    for (const [slice, key] of [
      ['full', 'reference'],
      ['half', 'half_width'],
    ] as const) {
      test(`${kind}, ${slice} width: the reference's answer to at least 99 % of 50 items`, async () => {
        const wrong: string[] = [];
        const chosen = items.filter((item) => item.kind === kind);
        expect(chosen).toHaveLength(50);
        for (const item of chosen) {
          const text = await answer(await mediaParts(item), item.prompt, slice);
          if (text !== item[key]) wrong.push(`${item.file ?? item.prompt}: ${text} instead of ${item[key]}`);
        }
        expect(wrong).toEqual([]);
      });
    }
  }

  test('several pictures in one prompt, and a picture together with a sound', async () => {
    const [first, second] = items.filter((item) => item.kind === 'image') as [EvalItem, EvalItem];
    const sound = items.find((item) => item.kind === 'audio' && item.prompt === 'Transcribe the audio.') as EvalItem;
    const two = [...(await mediaParts(first)), ...(await mediaParts(second))];
    const ids = 2 * (256 + 2);
    const result = await generate(
      engine,
      session,
      {
        messages: [
          {
            role: 'user',
            parts: [...two, ...(await mediaParts(sound)), { type: 'text', text: 'Describe the image.' }],
          },
        ],
        maxTokens: 24,
      },
      { slice: 'full', imageSize: 0 },
      { signal: new AbortController().signal, onText: () => undefined, onStep: () => undefined },
    );
    expect(result.tokens.prompt).toBeGreaterThan(ids + 188);
    expect(result.text.length).toBeGreaterThan(0);
  });

  test('a video of one scene is described as its frames are', async () => {
    const item = items.find((candidate) => candidate.kind === 'image') as EvalItem;
    const [part] = (await mediaParts(item)) as [Extract<Part, { type: 'image' }>];
    const frames = Array.from({ length: 5 }, (_, i) => ({ image: part.image, timeMs: 1000 * i }));
    const result = await generate(
      engine,
      session,
      {
        messages: [
          {
            role: 'user',
            parts: [
              { type: 'video', frames, maxFrames: 1 },
              { type: 'text', text: item.prompt },
            ],
          },
        ],
      },
      { slice: 'full', imageSize: 0 },
      { signal: new AbortController().signal, onText: () => undefined, onStep: () => undefined },
    );
    expect(result.text).toBe(item.reference);
  });

  test('pictures of every size the encoder takes give 256 soft tokens', async () => {
    const [item] = items as [EvalItem];
    const [part] = (await mediaParts(item)) as [Extract<Part, { type: 'image' }>];
    for (const size of [256, 512, 768]) {
      const soft = await engine.encodeImage(part.image, size);
      expect(soft.count).toBe(256);
      expect(soft.rows).toHaveLength(256 * engine.info.hidden);
    }
    await expect(engine.encodeImage(part.image, 300)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
  });
});
