/** A runner that hangs: its job fails with a code of its own, and another runner takes over. */
import { join } from 'node:path';
import { filter, firstValueFrom } from 'rxjs';
import { RunnerEngine } from '../../../daemon/inference/runner-engine';

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
