import { NativeEngine, type NativeSession } from '../../daemon/inference/native';

/** The logits after each of the tokens, one row each, computed a token at a time. */
export async function logitsOfEach(session: NativeSession, ids: Int32Array): Promise<Float32Array[]> {
  session.rewind(0);
  const rows: Float32Array[] = [];
  for (const id of ids) {
    session.append(Int32Array.of(id));
    await session.advance(1);
    rows.push(session.logits());
  }
  return rows;
}

/** Kernel tables this machine runs, found by asking for each. */
export async function availableIsas(modelPath: string): Promise<string[]> {
  const found: string[] = [];
  for (const isa of ['scalar', 'x86_avx2', 'x86_avx512vnni', 'arm_neon_dotprod', 'arm_neon_i8mm']) {
    try {
      await NativeEngine.open({ modelPath, isa, threads: 1 });
      found.push(isa);
    } catch (error) {
      if ((error as { code?: string }).code !== 'OPTION_INVALID') throw error;
    }
  }
  return found;
}
