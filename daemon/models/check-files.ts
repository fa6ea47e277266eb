/**
 * The runtime's opinion of a file, before it is called installed. It looks in a process of its own, so that a file made
 * to break it breaks nothing else, and in no memory to speak of: what is structurally sound gets as far as the question
 * whether its weights fit, and is told that they do not.
 */
import { filter, firstValueFrom } from 'rxjs';
import { type ErrorCode, HearthError } from '../errors';
import type { Engine } from '../inference/engine';

/** A limit nothing fits in, and one session so that the question is asked at all. */
export const structureOnly = { memoryLimit: 1, concurrency: 1, prefixCacheBytes: 0 } as const;

/** Ends `engine`, which was made with `structureOnly`. Rejects with the code of what is wrong with its files. */
export async function checkFiles(engine: Pick<Engine, 'state$' | 'close'>): Promise<void> {
  const state = await firstValueFrom(
    engine.state$.pipe(filter(({ phase }) => phase === 'ready' || phase === 'failed' || phase === 'restarting')),
  );
  await engine.close();
  if (state.phase === 'failed' && state.code !== 'MODEL_TOO_LARGE')
    throw new HearthError(state.code as ErrorCode, state.reason);
  if (state.phase === 'restarting') throw new HearthError('GGUF_MALFORMED', `the runtime ended at it: ${state.reason}`);
}
