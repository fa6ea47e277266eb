/** Computes the beginning of a prompt that is still to come, a step at a time, in sessions no job needs just now. */
import type { NativeSession, SoftTokens } from './native';
import type { SessionPool } from './session-pool';
import type { Turns } from './step-scheduler';
import type { SliceRequest } from './types';

export type SparePool<S extends NativeSession> = Pick<SessionPool<S>, 'available' | 'take' | 'give'>;

export interface Beginning {
  readonly turns: Turns;
  readonly sessions: SparePool<NativeSession>;
  readonly ids: Int32Array;
  readonly soft: readonly SoftTokens[];
  readonly slice: SliceRequest;
}

/** Tokens computed in one step. */
const prefillChunk = 128;

/**
 * All but the last id, which comes with the next ones, while `goOn` holds. Between two steps the session is anyone's; what
 * is done is kept where the engine keeps such things. A job that has the last session is not waited for.
 */
export async function prefillAhead(
  { turns, sessions, ids, soft, slice }: Beginning,
  goOn: () => boolean,
): Promise<void> {
  let left: number;
  do {
    left = await turns.step(async () => {
      if (!sessions.available) return 0;
      const session = sessions.take();
      try {
        const wanted = ids.length - 1 - (await session.resume(ids, soft, { slice, checkpoints: [ids.length - 1] }));
        return wanted > 0 ? (await session.advance(Math.min(wanted, prefillChunk))) - 1 : 0;
      } finally {
        sessions.give(session);
      }
    });
  } while (left > 0 && goOn());
}
