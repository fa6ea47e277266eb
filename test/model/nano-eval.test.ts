/**
 * The trained nano model on its evaluation set: pictures, recordings and texts, from their files to the words. The
 * answers must be those of the reference's own greedy decoding, at full and at half width.
 */
import { join } from 'node:path';
import { Nano, pictureOf } from '../helpers/nano';
import { type EvalItem, evalDir, evalWidths, mediaOf, readEvalItems } from '../helpers/nano-eval';

const items = readEvalItems();

function itemOf(kind: EvalItem['kind'], prompt: string): EvalItem {
  const item = items.find((candidate) => candidate.kind === kind && candidate.prompt === prompt);
  if (item === undefined) throw new Error(`no ${kind} is asked ${prompt}`);
  return item;
}

describe('nano model', () => {
  let nano: Nano;

  beforeAll(async () => {
    nano = await Nano.open();
  });

  for (const kind of ['image', 'audio', 'text'] as const) {
    for (const [slice, key] of evalWidths) {
      test(`${kind}, ${slice} width: the reference's answer to each of 50 items`, async () => {
        const wrong: string[] = [];
        const chosen = items.filter((item) => item.kind === kind);
        expect(chosen).toHaveLength(50);
        for (const item of chosen) {
          const result = await nano.ask(await mediaOf(item), item.prompt, { slice });
          expect(result.slice).toBe(slice);
          if (result.text !== item[key])
            wrong.push(`${item.file ?? item.prompt}: ${result.text} instead of ${item[key]}`);
        }
        expect(wrong).toEqual([]);
      }, 120_000);
    }
  }

  test('several pictures in one prompt, and a picture together with a sound', async () => {
    const picture = await mediaOf(itemOf('image', 'Describe the image.'));
    const sound = await mediaOf(itemOf('audio', 'Transcribe the audio.'));
    const result = await nano.ask([...picture, ...picture, ...sound], 'Describe the image.', { maxTokens: 24 });
    expect(result.tokens.prompt).toBeGreaterThan(2 * (256 + 2) + 188 + 2);
    expect(result.text).not.toBe('');
  });

  test('a video of one frame is described as the picture is', async () => {
    const item = itemOf('image', 'Describe the image.');
    const { image } = await pictureOf(join(evalDir, item.file ?? ''));
    const frames = Array.from({ length: 5 }, (_, i) => ({ image, timeMs: 1000 * i }));
    const result = await nano.ask([{ type: 'video', frames, maxTokens: 256 }], item.prompt);
    expect(result.text).toBe(item.reference);
  });

  test('pictures of every size the encoder takes give 256 soft tokens', async () => {
    const { engine } = nano;
    const { image } = await pictureOf(join(evalDir, itemOf('image', 'Describe the image.').file ?? ''));
    for (const size of [256, 512, 768]) {
      const soft = await engine.encodeImage(image, size);
      expect(soft.count).toBe(256);
      expect(soft.rows).toHaveLength(256 * engine.info.hidden);
      expect(soft.rows.every(Number.isFinite)).toBe(true);
    }
    await expect(engine.encodeImage(image, 300)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
  });
});
