/** A clip that the runner hears while it is spoken, through the process boundary. */
import { filter, firstValueFrom } from 'rxjs';
import { RunnerEngine } from '../../../daemon/inference/runner-engine';
import type { GenerateRequest } from '../../../daemon/inference/types';
import { mediaOf, readEvalItems } from '../../helpers/nano-eval';

const files = { modelPath: 'daemon/demo/model/nano.gguf', multimodalPath: 'daemon/demo/model/mmproj-nano.gguf' };
const [first, second] = readEvalItems().filter(({ kind, prompt }) => kind === 'audio' && /^Trans/.test(prompt));

async function requestOf(
  item: typeof first,
): Promise<{ request: GenerateRequest; samples: Float32Array; text: string }> {
  if (item === undefined) throw new Error('the evaluation set has no recordings');
  const [sound] = await mediaOf(item);
  if (sound?.type !== 'audio') throw new Error(`${item.file} is no recording`);
  const parts = [sound, { type: 'text' as const, text: item.prompt }];
  return { request: { messages: [{ role: 'user', parts }] }, samples: sound.audio.samples, text: item.reference };
}

describe('a runner that listens', () => {
  let engine: RunnerEngine;

  beforeAll(async () => {
    engine = new RunnerEngine({ ...files, threads: 2, concurrency: 2, prefixCacheBytes: 32 << 20 });
    await firstValueFrom(engine.state$.pipe(filter(({ phase }) => phase === 'ready')));
  });
  afterAll(async () => await engine.close());

  test('a job that comes right after the clip waits until it is prepared, and has only its tail to compute', async () => {
    const { request, samples, text } = await requestOf(first);
    const listening = engine.listen({ priority: 5 });
    for (let at = 0; at < samples.length; at += 4800) listening.heard(samples.slice(at, at + 4800));
    listening.end();
    const result = await engine.generate(request);
    expect(result.text).toBe(text);
    expect(result.cachedMedia).toBe(1);
    expect(result.tokens.prompt - (result.tokens.cached ?? 0)).toBeLessThan(30);
  });

  test('two at a time, one of which is cancelled; a third that never begins; what nobody knows is nothing', async () => {
    const { request, samples, text } = await requestOf(second);
    const [kept, dropped, silent] = [engine.listen(), engine.listen(), engine.listen()];
    for (let at = 0; at < samples.length; at += 4800) {
      kept.heard(samples.slice(at, at + 4800));
      dropped.heard(samples.slice(0, 4800));
      if (at === 9600) dropped.cancel();
      if (at === 14_400) kept.paused();
    }
    silent.end();
    kept.end();
    kept.heard(samples);
    kept.cancel();
    const result = await engine.generate(request);
    expect(result.text).toBe(text);
    expect(result.cachedMedia).toBe(1);
  });

  test('more at a time than there are ears for: their clips are encoded when they are whole', async () => {
    const { samples } = await requestOf(first);
    const { request, text } = await requestOf(second);
    const listening = Array.from({ length: 6 }, () => engine.listen());
    for (const one of listening) one.heard(samples);
    for (const one of listening) one.end();
    expect((await engine.generate(request)).text).toBe(text);
  });

  test('a runner without a model, or without ears, is told in vain', async () => {
    const { request } = await requestOf(first);
    const deaf = new RunnerEngine({ modelPath: files.modelPath, threads: 1 });
    const early = deaf.listen();
    early.heard(new Float32Array(1600));
    await firstValueFrom(deaf.state$.pipe(filter(({ phase }) => phase === 'ready')));
    const late = deaf.listen();
    late.heard(new Float32Array(1600));
    early.end();
    late.end();
    await expect(deaf.generate(request)).rejects.toMatchObject({ code: 'MODEL_UNSUPPORTED' });
    await deaf.close();
    late.heard(new Float32Array(1600));
    deaf.listen().cancel();
  });
});
