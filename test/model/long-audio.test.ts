/**
 * Recordings longer than the model hears in one go. The nano model hears a sentence at a time, so "long" is five seconds
 * here: of sentences one after the other each has to be in the reply, once, and in order.
 */
import { join } from 'node:path';
import type { GenerateHooks } from '../../daemon/inference/generate';
import { generateOfAnyLength, inPieces } from '../../daemon/inference/long-audio';
import { NativeEngine } from '../../daemon/inference/native';
import type { GenerateRequest } from '../../daemon/inference/types';
import { concat } from '../../daemon/media/concat';
import { soundOf } from '../helpers/nano';
import { evalDir, readEvalItems } from '../helpers/nano-eval';

const maxSeconds = 4;
const items = readEvalItems().filter(({ kind, prompt }) => kind === 'audio' && prompt === 'Transcribe the audio.');

async function spoken(file: string | null): Promise<Float32Array> {
  return (await soundOf(join(evalDir, file ?? ''))).audio.samples;
}

function transcribe(samples: Float32Array): GenerateRequest {
  const parts = [
    { type: 'audio' as const, audio: { samples } },
    { type: 'text' as const, text: 'Transcribe the audio.' },
  ];
  return { messages: [{ role: 'user', parts }] };
}

function hooksInto(pieces: string[]): GenerateHooks {
  return { onText: (piece) => pieces.push(piece), step: async (work) => await work() };
}

const defaults = { slice: 'full', imageSize: 0 };

describe('long recordings', () => {
  let engine: NativeEngine;

  beforeAll(async () => {
    engine = await NativeEngine.open({
      modelPath: 'daemon/demo/model/nano.gguf',
      multimodalPath: 'daemon/demo/model/mmproj-nano.gguf',
      threads: 2,
    });
  });

  test('no word lost, none doubled', async () => {
    const all = await Promise.all(
      items.map(async ({ file, reference }) => ({ reference, samples: await spoken(file) })),
    );
    // Too long for two in a piece.
    const chosen = all.filter(({ samples }) => samples.length > 2.4 * 16_000);
    let words = 0;
    let misheard = 0;
    for (let at = 0; at + 6 <= chosen.length; at += 3) {
      const group = chosen.slice(at, at + 6);
      const request = transcribe(concat(group.map(({ samples }) => samples)));
      expect(inPieces(request, maxSeconds)).toHaveLength(6);
      const shown: string[] = [];
      const session = engine.newSession();
      const result = await generateOfAnyLength(engine, session, request, defaults, hooksInto(shown), maxSeconds);
      expect(shown.join('')).toBe(result.text);
      const heard = result.text.split(' ');
      const said = group.flatMap(({ reference }) => reference.split(' '));
      expect(heard).toHaveLength(said.length);
      words += said.length;
      misheard += said.filter((word, i) => word !== heard[i]).length;
    }
    expect(words).toBeGreaterThan(150);
    // One with more or less silence around it than the model was trained with may be taken for another.
    expect(misheard).toBeLessThanOrEqual(words / 100);
  }, 300_000);

  test('tokens and times are those of all pieces; maxTokens is for all of them', async () => {
    const { samples } = { samples: concat(await Promise.all(items.slice(0, 4).map(({ file }) => spoken(file)))) };
    const request = transcribe(samples);
    const session = engine.newSession();
    const result = await generateOfAnyLength(engine, session, request, defaults, hooksInto([]), maxSeconds);
    const pieces = inPieces(request, maxSeconds);
    const { prompt, completion } = result.tokens;
    expect(pieces.length).toBeGreaterThan(1);
    expect(prompt).toBeGreaterThan(pieces.length * 188);
    expect(result.timings.total).toBeGreaterThanOrEqual(result.timings.encode + result.timings.prefill);
    const short = { ...request, maxTokens: completion - 2 };
    const cut = await generateOfAnyLength(engine, session, short, defaults, hooksInto([]), maxSeconds);
    expect(cut.finishReason).toBe('length');
    expect(cut.tokens.completion).toBe(completion - 2);
    expect(result.text.startsWith(cut.text)).toBe(true);
  });

  test('what cannot be answered piece by piece is asked as it is: short clips, several sounds, a schema', () => {
    const long = transcribe(new Float32Array(31 * 16_000).fill(0.1));
    expect(inPieces(long)).toHaveLength(2);
    expect(inPieces(transcribe(new Float32Array(90 * 16_000)))).toHaveLength(1);
    const [message] = long.messages;
    const parts = message?.parts ?? [];
    for (const request of [
      transcribe(new Float32Array(30 * 16_000)),
      { ...long, schema: { type: 'object' } },
      { messages: [{ role: 'user' as const, parts: [...parts, ...parts] }] },
    ]) {
      expect(inPieces(request)).toEqual([request]);
    }
  });
});
