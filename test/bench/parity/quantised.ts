/** Quantised weights: what is computed with them in 8 bits, against float32 from the same file. */
import type { NativeEngine, NativeSession, SoftTokens } from '../../../daemon/inference/native';
import { convertCheckpoint } from '../../../daemon/models/convert/convert';
import { logitsOfEach } from '../../helpers/native';
import type { ParityFigure } from '../report/result';
import { compareLogits } from './compare';

/** The types of the files whose speed is measured. Returns `outPath`. */
export async function quantise(checkpointDir: string, outPath: string): Promise<string> {
  await convertCheckpoint({ checkpointDir, outPath, type: 'q4_0', headType: 'q8_0' });
  return outPath;
}

/** The logits after the last of `ids`, all computed at once. */
export async function logitsOfPrompt(
  session: NativeSession,
  ids: Int32Array,
  soft: readonly SoftTokens[] = [],
): Promise<Float32Array> {
  session.rewind(0);
  session.append(ids, soft);
  while ((await session.advance(ids.length)) > 0);
  return session.logits();
}

export async function quantisedLogits(
  name: string,
  engine: NativeEngine,
  exact: NativeEngine,
  prompts: readonly Int32Array[],
): Promise<ParityFigure[]> {
  const sessions = [engine.newSession(), exact.newSession()];
  const decoded: Float32Array[][] = [[], []];
  const prefilled: Float32Array[][] = [[], []];
  for (const ids of prompts) {
    for (const [i, session] of sessions.entries()) {
      decoded[i]?.push(...(await logitsOfEach(session, ids)));
      prefilled[i]?.push(await logitsOfPrompt(session, ids));
    }
  }
  const compare = (how: string, [ours = [], theirs = []]: Float32Array[][]): ParityFigure =>
    compareLogits(`${name} q4_0, q8_0 head, ${how}`, 'the same weights, float32', ours, theirs);
  return [compare('decoded', decoded), compare('prefilled, last position', prefilled)];
}
