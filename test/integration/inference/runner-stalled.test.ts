/** A runner that hangs: its job fails with a code of its own, and another runner takes over. */
import { join } from 'node:path';
import { filter, firstValueFrom } from 'rxjs';
import { RunnerEngine } from '../../../daemon/inference/runner-engine';
import type { EngineState } from '../../../daemon/inference/types';

const modelPath = join(process.cwd(), 'test/fixtures/models/e2b-narrow.gguf');

test('a stopped runner is ended and replaced', async () => {
  const engine = new RunnerEngine({ modelPath, threads: 1, stallTimeoutMs: 5000, restartDelayMs: 10 });
  const ready = async (): Promise<unknown> =>
    await firstValueFrom(engine.state$.pipe(filter(({ phase }) => phase === 'ready')));
  try {
    await ready();
    const { pid } = engine.health();
    process.kill(pid as number, 'SIGSTOP');
    const job = engine.generate({ messages: [{ role: 'user', parts: [{ type: 'text', text: 'a' }] }], maxTokens: 4 });
    await expect(job).rejects.toMatchObject({
      code: 'ENGINE_STALLED',
      retryable: true,
      message: expect.stringContaining('no progress for 5000 ms'),
    });
    await ready();
    expect(engine.health().restarts).toBe(1);
    expect(engine.health().pid).not.toBe(pid);
  } finally {
    await engine.close();
  }
});

test('a load tells how far it is; one that goes no further is ended and begun again', async () => {
  const engine = new RunnerEngine({
    modelPath,
    threads: 1,
    stallTimeoutMs: 5000,
    restartDelayMs: 10,
    loadSlice: 'half',
  });
  const states: EngineState[] = [];
  engine.state$.subscribe((state) => states.push(state));
  try {
    process.kill(engine.health().pid as number, 'SIGSTOP');
    const state = await firstValueFrom(engine.state$.pipe(filter(({ phase }) => phase === 'ready')));
    expect(state).toMatchObject({
      info: { loadedSlice: 'half', slices: ['half'], memory: { kvType: 'f16', sessions: 1 } },
    });
    expect(states.find(({ phase }) => phase === 'restarting')).toMatchObject({ reason: 'no progress for 5000 ms' });
    const fractions = states.flatMap((seen) => (seen.phase === 'loading' ? [seen.fraction] : []));
    expect(fractions.slice(0, 2)).toEqual([0, 0]);
    expect(fractions.at(-1)).toBe(1);
    const job = { messages: [{ role: 'user' as const, parts: [{ type: 'text' as const, text: 'a' }] }], maxTokens: 2 };
    expect(await engine.generate(job)).toMatchObject({ slice: 'half' });
    await expect(engine.generate({ ...job, slice: 'full' })).rejects.toMatchObject({ code: 'SLICE_INVALID' });
  } finally {
    await engine.close();
  }
}, 60_000);
