/**
 * What the speed costs: the engine's logits against the reference's float32, and its kernels for quantised weights
 * against float32 runs of the very same weights, on models that mean something.
 */
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NativeEngine, type NativeSession, type SoftTokens } from '../../../daemon/inference/native';
import { convertCheckpoint } from '../../../daemon/models/convert/convert';
import { floats, type ReadGguf, readGguf } from '../../helpers/gguf-reader';
import { readGolden } from '../../helpers/golden';
import { bf16Bytes, toCheckpoint, writeBf16Safetensors } from '../../helpers/hugging-face';
import { Nano } from '../../helpers/nano';
import { evalWidths, mediaOf, readEvalItems } from '../../helpers/nano-eval';
import { logitsOfEach } from '../../helpers/native';
import type { AnswersFigure, Parity, ParityFigure } from '../report/result';
import { compareLogits, rowsOf } from './compare';

export interface ParityOptions {
  readonly threads: number;
  readonly isa: string;
  readonly reference: string | undefined;
  readonly onProgress: (line: string) => void;
}

const nanoPath = 'daemon/demo/model/nano.gguf';
const nanoCheckpoint = 'test/fixtures/checkpoints/nano';
const referenceArithmetic = 'the reference, float32';
const sameWeights = 'the same weights, float32';
/** Text ids of the small models; the rest are vision's and audio's. */
const textVocab = 1024;

/** Runs in the project's root. */
export async function measureParity(options: ParityOptions): Promise<Parity> {
  const { reference, onProgress } = options;
  const directory = mkdtempSync(join(tmpdir(), 'hearth-parity-'));
  try {
    onProgress('parity: nano');
    const nano = await Nano.open(options);
    const logits = [...(await nanoAgainstReference(nano.engine)), ...(await nanoQuantised(directory, options))];
    if (reference !== undefined) {
      onProgress('parity: kquant');
      logits.push(...(await kquant(directory, join(reference, 'cases/kquant'), options)));
    }
    onProgress("parity: nano's evaluation set");
    return { isa: nano.engine.info.isa, logits, answers: await nanoAnswers(nano) };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function open(
  modelPath: string,
  { threads, isa }: Pick<ParityOptions, 'threads' | 'isa'>,
): Promise<NativeSession> {
  return (await NativeEngine.open({ modelPath, threads, isa })).newSession();
}

async function nanoAgainstReference(engine: NativeEngine): Promise<ParityFigure[]> {
  const golden = readGguf('test/fixtures/models/nano.golden.gguf');
  const session = engine.newSession();
  const figures: ParityFigure[] = [];
  const ids = integers(golden, 'text0.input_ids');
  for (const slice of ['full', 'half']) {
    session.rewind(0);
    session.setSlice(slice);
    figures.push(
      compareLogits(
        `nano bf16, text, ${slice} width, decoded`,
        referenceArithmetic,
        await logitsOfEach(session, ids),
        rowsOf(numbers(golden, `text0.${slice}.logits`), ids.length),
      ),
    );
  }
  const ours: Float32Array[] = [];
  const theirs: Float32Array[] = [];
  for (const name of ['image0', 'image2', 'audio0', 'audio1', 'audio2']) {
    ours.push(
      await logitsOfPrompt(session, integers(golden, `${name}.input_ids`), [await encode(engine, golden, name)]),
    );
    theirs.push(numbers(golden, `${name}.logits_last`));
  }
  figures.push(compareLogits('nano bf16, a picture or a sound, prefilled', referenceArithmetic, ours, theirs));
  return figures;
}

async function encode(engine: NativeEngine, golden: ReadGguf, name: string): Promise<SoftTokens> {
  const pixels = golden.tensors.get(`${name}.pixels`);
  if (pixels === undefined) return await engine.encodeAudio(numbers(golden, `${name}.samples`));
  // The reference's pixels lie plane by plane: bytes, or what it made of them, from 0 to 1.
  const [width = 0, height = 0] = pixels.dims;
  const plane = width * height;
  const values = pixels.typeId === 0 ? floats(pixels).map((value) => value * 255) : integers(golden, `${name}.pixels`);
  const data = Uint8Array.from({ length: 3 * plane }, (_, i) =>
    Math.round(values[(i % 3) * plane + Math.floor(i / 3)] as number),
  );
  return await engine.encodeImage({ width, height, data }, width);
}

async function logitsOfPrompt(
  session: NativeSession,
  ids: Int32Array,
  soft: readonly SoftTokens[] = [],
): Promise<Float32Array> {
  session.rewind(0);
  session.setSlice('full');
  session.append(ids, soft);
  while ((await session.advance(ids.length)) > 0);
  return session.logits();
}

/** All prompts of the evaluation's texts, at every position. */
async function nanoQuantised(directory: string, options: ParityOptions): Promise<ParityFigure[]> {
  const checkpointDir = mkdtempSync(join(directory, 'nano-'));
  const config = JSON.parse(readFileSync(join(nanoCheckpoint, 'config.json'), 'utf8')) as { text_config: object };
  // Without the encoders, which are no part of this.
  writeFileSync(
    join(checkpointDir, 'config.json'),
    JSON.stringify({ ...config.text_config, model_type: 'gemma3n_text' }),
  );
  copyFileSync(join(nanoCheckpoint, 'tokenizer.model'), join(checkpointDir, 'tokenizer.model'));
  const tensors = [...readGguf(nanoPath).tensors].flatMap(([name, tensor]) => {
    const bytes = bf16Bytes(tensor);
    let at = 0;
    const rows = name === 'per_layer_token_embd.weight' ? textVocab : undefined;
    return toCheckpoint(name, tensor.dims, 'model.', rows).map((part) => {
      const begin = at;
      at += 2 * part.shape.reduce((product, size) => product * size, 1);
      return { ...part, bytes: bytes.subarray(begin, at) };
    });
  });
  writeBf16Safetensors(join(checkpointDir, 'model.safetensors'), tensors);
  const prompts = readEvalItems().flatMap(({ kind, prompt }) => (kind === 'text' ? [prompt] : []));
  return await quantised('nano', checkpointDir, directory, options, (engine) =>
    prompts.map((prompt) => Int32Array.of(engine.info.special.bos, ...engine.tokenize(prompt))),
  );
}

/** A checkpoint as Q4_0 with a Q8_0 head, the types of the files whose speed is measured. */
async function quantised(
  name: string,
  checkpointDir: string,
  directory: string,
  options: ParityOptions,
  promptsOf: (engine: NativeEngine) => readonly Int32Array[],
): Promise<ParityFigure[]> {
  const quantisedPath = join(directory, `${name}-q4_0.gguf`);
  await convertCheckpoint({ checkpointDir, outPath: quantisedPath, type: 'q4_0', headType: 'q8_0' });
  const { threads, isa } = options;
  const engine = await NativeEngine.open({ modelPath: quantisedPath, threads, isa });
  const session = engine.newSession();
  const exact = (await NativeEngine.open({ modelPath: quantisedPath, threads, exact: true })).newSession();
  const decoded: Float32Array[][] = [[], []];
  const prefilled: Float32Array[][] = [[], []];
  for (const ids of promptsOf(engine)) {
    for (const [i, each] of [session, exact].entries()) {
      decoded[i]?.push(...(await logitsOfEach(each, ids)));
      prefilled[i]?.push(await logitsOfPrompt(each, ids));
    }
  }
  const compare = (how: string, [ours = [], theirs = []]: Float32Array[][]): ParityFigure =>
    compareLogits(`${name} q4_0, q8_0 head, ${how}`, sameWeights, ours, theirs);
  return [compare('decoded', decoded), compare('prefilled, last position', prefilled)];
}

async function kquant(directory: string, checkpointDir: string, options: ParityOptions): Promise<ParityFigure[]> {
  if (!existsSync(join(checkpointDir, 'model.safetensors')))
    throw new Error(`--reference: expected ${join(checkpointDir, 'model.safetensors')}, found none`);
  const modelPath = join(directory, 'kquant-bf16.gguf');
  await convertCheckpoint({ checkpointDir, outPath: modelPath, type: 'bf16' });
  const golden = readGolden(join(checkpointDir, 'golden.safetensors'));
  const ids = Int32Array.from(golden.get('input_ids')?.values ?? []);
  const logits = Float32Array.from(golden.get('logits')?.values ?? []);
  const session = await open(modelPath, options);
  return [
    compareLogits(
      'kquant bf16, decoded',
      referenceArithmetic,
      await logitsOfEach(session, ids),
      rowsOf(logits, ids.length),
    ),
    ...(await quantised('kquant', checkpointDir, directory, options, () => [ids])),
  ];
}

async function nanoAnswers(nano: Nano): Promise<AnswersFigure[]> {
  const items = readEvalItems();
  const figures: AnswersFigure[] = [];
  for (const kind of ['image', 'audio', 'text'] as const) {
    for (const [slice, key] of evalWidths) {
      const chosen = items.filter((item) => item.kind === kind);
      let equal = 0;
      for (const item of chosen) {
        const { text } = await nano.ask(await mediaOf(item), item.prompt, { slice });
        if (text === item[key]) equal++;
      }
      figures.push({ what: `nano, ${kind}, ${slice} width`, equal, of: chosen.length });
    }
  }
  return figures;
}

function integers(golden: ReadGguf, name: string): Int32Array {
  const tensor = golden.tensors.get(name);
  if (tensor === undefined) throw new Error(`the reference has no ${name}`);
  return new Int32Array(new Uint8Array(tensor.bytes).buffer);
}

function numbers(golden: ReadGguf, name: string): Float32Array {
  const tensor = golden.tensors.get(name);
  if (tensor === undefined) throw new Error(`the reference has no ${name}`);
  return floats(tensor);
}
