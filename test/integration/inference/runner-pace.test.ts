/** What paces a job, over the process boundary: haste in the middle of a reply, deadlines, and the limit of memory. */
import { join } from 'node:path';
import { filter, firstValueFrom } from 'rxjs';
import { RunnerEngine } from '../../../daemon/inference/runner-engine';
import type { EngineState, GenerateRequest } from '../../../daemon/inference/types';

const modelPath = join(process.cwd(), 'test/fixtures/models/e4b-narrow.gguf');

async function settled(engine: RunnerEngine): Promise<EngineState> {
  return await firstValueFrom(engine.state$.pipe(filter(({ phase }) => phase === 'ready' || phase === 'failed')));
}

const request: GenerateRequest = {
  messages: [{ role: 'user', parts: [{ type: 'text', text: 'Hello' }] }],
  maxTokens: 600,
  sampling: { temperature: 1, seed: 1 },
};

test('a job told to hurry goes on with its tail; one whose deadline has passed begins with the first token', async () => {
  const engine = new RunnerEngine({ modelPath, threads: 1 });
  try {
    const state = await settled(engine);
    expect(state).toMatchObject({
      info: {
        imageSize: 0,
        sliceInfos: expect.arrayContaining([expect.objectContaining({ name: 'e2b', published: true })]) as unknown,
      },
    });
    const hurry = new AbortController();
    const hurried = await engine.generate(
      { ...request, tailSlice: 'full-tail' },
      { hurry: hurry.signal, onText: () => hurry.abort() },
    );
    expect(hurried).toMatchObject({ slice: 'full', tail: { slice: 'full-tail' } });
    const { completion } = hurried.tokens;
    expect(hurried.tail?.afterTokens).toBeGreaterThan(0);
    expect(hurried.tail?.afterTokens).toBeLessThan(completion);
    const late = await engine.generate({ ...request, maxTokens: 8, tailSlice: 'full-tail' }, { deadlineAt: 1 });
    expect(late.tail).toEqual({ slice: 'full-tail', afterTokens: 1 });
    const early = await engine.generate({ ...request, maxTokens: 8 }, { hurry: AbortSignal.abort() });
    expect(early).not.toHaveProperty('tail');
  } finally {
    await engine.close();
  }
});

test('the limit of memory reaches the runtime’s door', async () => {
  const engine = new RunnerEngine({ modelPath, threads: 1, memoryLimit: -1 });
  try {
    expect(await settled(engine)).toMatchObject({
      phase: 'failed',
      code: 'OPTION_INVALID',
      reason: expect.stringContaining('memoryLimit') as string,
    });
  } finally {
    await engine.close();
  }
  const roomy = new RunnerEngine({ modelPath, threads: 1, memoryLimit: 2 ** 34 });
  try {
    expect(await settled(roomy)).toMatchObject({ phase: 'ready' });
  } finally {
    await roomy.close();
  }
});
