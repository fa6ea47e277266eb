/**
 * Recordings of the nano model's evaluation set, heard while they are spoken: in pieces of any size, with pauses, some of
 * which were none. The answers must be those to the whole clip, and most of their prompt must have been done before.
 */
import { join } from 'node:path';
import { generate } from '../../daemon/inference/generate';
import { Listener } from '../../daemon/inference/listener';
import { NativeEngine, type NativeSession } from '../../daemon/inference/native';
import { SessionPool } from '../../daemon/inference/session-pool';
import type { Turns } from '../../daemon/inference/step-scheduler';
import type { AudioClip, GenerateResult } from '../../daemon/inference/types';
import { soundOf } from '../helpers/nano';
import { type EvalItem, evalDir, readEvalItems } from '../helpers/nano-eval';

const items = readEvalItems().filter(({ kind }) => kind === 'audio');
const turns: Turns = { step: async (work) => await work() };

/** Small and fast, the same on every run. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function* pieces(samples: Float32Array, random: () => number, longest: number): Generator<Float32Array> {
  for (let at = 0; at < samples.length; ) {
    const length = 1 + Math.floor(random() * longest);
    yield samples.slice(at, at + length);
    at += length;
  }
}

async function openNano(options: { readonly prefixCacheBytes?: number } = {}): Promise<NativeEngine> {
  return await NativeEngine.open({
    modelPath: 'daemon/demo/model/nano.gguf',
    multimodalPath: 'daemon/demo/model/mmproj-nano.gguf',
    threads: 2,
    ...options,
  });
}

async function audioOf({ file }: EvalItem): Promise<AudioClip> {
  return (await soundOf(join(evalDir, file ?? ''))).audio;
}

describe('a clip that is heard while it is spoken', () => {
  let engine: NativeEngine;
  let plain: NativeEngine;
  let sessions: SessionPool<NativeSession>;

  beforeAll(async () => {
    engine = await openNano({ prefixCacheBytes: 16 << 20 });
    plain = await openNano();
    sessions = new SessionPool(() => engine.newSession(), 1);
  });

  const listenerOf = (): Listener => new Listener({ engine, sessions, join: () => turns, slice: 'full' });

  async function ask(audio: AudioClip, prompt: string): Promise<GenerateResult> {
    const session = sessions.take();
    const parts = [
      { type: 'audio' as const, audio },
      { type: 'text' as const, text: prompt },
    ];
    try {
      return await generate(
        engine,
        session,
        { messages: [{ role: 'user', parts }], maxTokens: 64 },
        { slice: 'full', imageSize: 0 },
        { onText: () => undefined, step: turns.step },
      );
    } finally {
      sessions.give(session);
    }
  }

  test('soft tokens are those of the whole clip, bit by bit, wherever it was cut and however often it seemed to end', async () => {
    for (const [index, item] of items.slice(0, 8).entries()) {
      const { samples } = await audioOf(item);
      const random = randomOf(index + 1);
      const live = engine.listen();
      let soft = await live.feed(new Float32Array(0));
      for (const piece of pieces(samples, random, 9000)) {
        const before = soft;
        soft = await live.feed(piece);
        expect(soft.rows.subarray(0, before.rows.length)).toEqual(before.rows);
        if (random() < 0.3 && soft.count > 0) expect((await live.clip()).count).toBe(engine.info.audioSoftTokens);
      }
      const whole = await plain.encodeAudio(samples);
      expect(await live.clip()).toEqual(whole);
      expect(soft.count).toBeGreaterThanOrEqual(Math.floor(samples.length / 16_000 / 1.28) * 8 - 8);
      live.close();
    }
  });

  test('answers are those to the whole clip, and only the tail of their prompts is left to be computed', async () => {
    const wrong: string[] = [];
    for (const [index, item] of items.entries()) {
      const audio = await audioOf(item);
      const random = randomOf(100 + index);
      const listener = listenerOf();
      for (const piece of pieces(audio.samples, random, 12_000)) {
        listener.heard(piece);
        if (random() < 0.2) listener.paused();
        if (random() < 0.5) await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await listener.end();
      const { text, tokens, cachedMedia } = await ask(audio, item.prompt);
      expect(cachedMedia).toBe(1);
      // What comes after the sound: its end, the question, the turns.
      expect(tokens.prompt - (tokens.cached ?? 0)).toBeLessThan(engine.tokenize(item.prompt).length + 12);
      if (text !== item.reference) wrong.push(`${item.file}: ${text} instead of ${item.reference}`);
    }
    expect(wrong).toEqual([]);
  }, 300_000);

  test('one that is cancelled leaves nothing behind, whatever it was doing', async () => {
    const audio = await audioOf(items[0] as EvalItem);
    for (const delayMs of [undefined, 0, 1, 5, 20]) {
      const listener = listenerOf();
      listener.heard(audio.samples);
      listener.paused();
      if (delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, delayMs));
      listener.cancel();
      listener.heard(audio.samples);
      await listener.end();
      expect(sessions.available).toBe(true);
    }
    const item = items[1] as EvalItem;
    expect((await ask(await audioOf(item), item.prompt)).text).toBe(item.reference);
  });

  test('a job that has the only session is not waited for; the clip is encoded nevertheless', async () => {
    const item = items[3] as EvalItem;
    const { samples } = await audioOf(item);
    const session = sessions.take();
    const { mediaHits } = engine.reuse();
    const listener = listenerOf();
    listener.heard(samples);
    await listener.end();
    await engine.encodeAudio(samples);
    expect(engine.reuse().mediaHits).toBe(mediaHits + 1);
    sessions.give(session);
  });

  test('a clip that is too long ends its listener, and is refused when it comes', async () => {
    const samples = new Float32Array(31 * 16_000);
    const listener = listenerOf();
    listener.heard(samples);
    await listener.end();
    await expect(engine.encodeAudio(samples)).rejects.toMatchObject({ code: 'AUDIO_INVALID' });
    const live = engine.listen();
    await expect(live.feed(samples)).rejects.toMatchObject({ code: 'AUDIO_INVALID' });
    await expect(live.feed(Float32Array.of(Number.NaN))).rejects.toMatchObject({ code: 'AUDIO_INVALID' });
    await expect(live.clip()).rejects.toMatchObject({ code: 'AUDIO_INVALID' });
    live.close();
    await expect(live.clip()).rejects.toMatchObject({ code: 'INTERNAL' });
  });
});
