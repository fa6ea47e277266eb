/**
 * What the speed costs: the engine's logits and answers against the reference's float32, and what it computes of
 * quantised weights against float32 of the very same weights, on models that mean something.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NativeEngine } from '../../../daemon/inference/native';
import { convertCheckpoint } from '../../../daemon/models/convert/convert';
import { readGolden } from '../../helpers/golden';
import { Nano } from '../../helpers/nano';
import { logitsOfEach } from '../../helpers/native';
import type { Parity, ParityFigure } from '../report/result';
import { compareLogits, rowsOf } from './compare';
import { answersOf, compareAnswers, nanoAgainstReference, nanoCheckpoint, nanoPrompts, referenceAnswers } from './nano';
import { quantise, quantisedLogits } from './quantised';

export interface ParityOptions {
  readonly threads: number;
  readonly isa: string;
  /** Reference data, with `cases/kquant`. */
  readonly reference: string | undefined;
  readonly onProgress: (line: string) => void;
}

/** Runs in the project's root. */
export async function measureParity({ threads, isa, reference, onProgress }: ParityOptions): Promise<Parity> {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-parity-'));
  const kernels = { threads, isa };
  try {
    onProgress('parity: nano');
    const nano = await Nano.open(kernels);
    const logits = await nanoAgainstReference(nano.engine);

    const checkpointDir = nanoCheckpoint(join(directory, 'nano'));
    const modelPath = await quantise(checkpointDir, join(directory, 'nano-q4_0.gguf'));
    const quantised = await Nano.open({ ...kernels, modelPath });
    const exact = await Nano.open({ threads, modelPath, exact: true });
    logits.push(...(await quantisedLogits('nano', quantised.engine, exact.engine, nanoPrompts(quantised.engine))));

    if (reference !== undefined) {
      onProgress('parity: kquant');
      logits.push(...(await kquant(directory, join(reference, 'cases/kquant'), kernels)));
    }

    onProgress("parity: nano's evaluation set");
    const answers = [];
    for (const slice of ['full', 'half'] as const) {
      answers.push(
        ...compareAnswers(
          `nano bf16, ${slice} width`,
          'the reference, float32',
          await answersOf(nano, slice),
          referenceAnswers(slice),
        ),
      );
    }
    answers.push(
      ...compareAnswers(
        'nano q4_0, full width',
        'the same weights, float32',
        await answersOf(quantised, 'full'),
        await answersOf(exact, 'full'),
      ),
    );
    return { isa: nano.engine.info.isa, logits, answers };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function kquant(
  directory: string,
  checkpointDir: string,
  kernels: { readonly threads: number; readonly isa: string },
): Promise<ParityFigure[]> {
  const expected = join(checkpointDir, 'model.safetensors');
  if (!existsSync(expected)) throw new Error(`--reference: expected ${expected}, found none`);
  const golden = readGolden(join(checkpointDir, 'golden.safetensors'));
  const ids = Int32Array.from(golden.get('input_ids')?.values ?? []);
  const logits = Float32Array.from(golden.get('logits')?.values ?? []);
  const plainPath = join(directory, 'kquant-bf16.gguf');
  await convertCheckpoint({ checkpointDir, outPath: plainPath, type: 'bf16' });
  const plain = await NativeEngine.open({ ...kernels, modelPath: plainPath });
  const modelPath = await quantise(checkpointDir, join(directory, 'kquant-q4_0.gguf'));
  const quantised = await NativeEngine.open({ ...kernels, modelPath });
  const exact = await NativeEngine.open({ threads: kernels.threads, modelPath, exact: true });
  return [
    compareLogits(
      'kquant bf16, decoded',
      'the reference, float32',
      await logitsOfEach(plain.newSession(), ids),
      rowsOf(logits, ids.length),
    ),
    ...(await quantisedLogits('kquant', quantised, exact, [ids])),
  ];
}
