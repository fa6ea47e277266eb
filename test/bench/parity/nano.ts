/** The small trained model: its reference values, its checkpoint, its evaluation set. */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { NativeEngine, SoftTokens } from '../../../daemon/inference/native';
import { floats, type ReadGguf, type ReadTensor, readGguf } from '../../helpers/gguf-reader';
import { checkpointTensors, writeBf16Safetensors } from '../../helpers/hugging-face';
import type { Nano } from '../../helpers/nano';
import { type EvalItem, evalWidths, mediaOf, readEvalItems } from '../../helpers/nano-eval';
import { logitsOfEach } from '../../helpers/native';
import type { AnswersFigure, ParityFigure } from '../report/result';
import { compareLogits, rowsOf } from './compare';
import { logitsOfPrompt } from './quantised';

type Slice = (typeof evalWidths)[number][0];

const files = ['daemon/demo/model/nano.gguf', 'daemon/demo/model/mmproj-nano.gguf'];
const fixtures = 'test/fixtures/checkpoints/nano';
/** Text ids; the rest are vision's and audio's. */
const textVocab = 1024;

/** The checkpoint the model's files were made of, made of the files. Returns `directory`. */
export function nanoCheckpoint(directory: string): string {
  mkdirSync(directory);
  for (const file of ['config.json', 'tokenizer.model', 'preprocessor_config.json', 'prompts.json'])
    copyFileSync(join(fixtures, file), join(directory, file));
  const tensors = files.flatMap((path) => checkpointTensors(path, 'model.language_model.', textVocab));
  writeBf16Safetensors(join(directory, 'model.safetensors'), tensors);
  return directory;
}

/** Ids of the evaluation's texts. */
export function nanoPrompts(engine: NativeEngine): Int32Array[] {
  return readEvalItems().flatMap(({ kind, prompt }) =>
    kind === 'text' ? [Int32Array.of(engine.info.special.bos, ...engine.tokenize(prompt))] : [],
  );
}

export async function nanoAgainstReference(engine: NativeEngine): Promise<ParityFigure[]> {
  const golden = readGguf('test/fixtures/models/nano.golden.gguf');
  const session = engine.newSession();
  const figures: ParityFigure[] = [];
  const against = 'the reference, float32';
  const ids = integers(golden, 'text0.input_ids');
  for (const [slice] of evalWidths) {
    session.rewind(0);
    session.setSlice(slice);
    const ours = await logitsOfEach(session, ids);
    const theirs = rowsOf(floats(tensorOf(golden, `text0.${slice}.logits`)), ids.length);
    figures.push(compareLogits(`nano bf16, text, ${slice} width, decoded`, against, ours, theirs));
  }
  session.rewind(0);
  session.setSlice('full');
  const ours: Float32Array[] = [];
  const theirs: Float32Array[] = [];
  for (const name of ['image0', 'image2', 'audio0', 'audio1', 'audio2']) {
    const soft = await encode(engine, golden, name);
    ours.push(await logitsOfPrompt(session, integers(golden, `${name}.input_ids`), [soft]));
    theirs.push(floats(tensorOf(golden, `${name}.logits_last`)));
  }
  figures.push(compareLogits('nano bf16, a picture or a sound, prefilled', against, ours, theirs));
  return figures;
}

async function encode(engine: NativeEngine, golden: ReadGguf, name: string): Promise<SoftTokens> {
  const pixels = golden.tensors.get(`${name}.pixels`);
  if (pixels === undefined) return await engine.encodeAudio(floats(tensorOf(golden, `${name}.samples`)));
  // The reference's pixels lie plane by plane: bytes, or what it made of them, from 0 to 1.
  const [width = 0, height = 0] = pixels.dims;
  const plane = width * height;
  const values = pixels.typeId === 0 ? floats(pixels).map((value) => value * 255) : integers(golden, `${name}.pixels`);
  const data = Uint8Array.from({ length: 3 * plane }, (_, i) =>
    Math.round(values[(i % 3) * plane + Math.floor(i / 3)] as number),
  );
  return await engine.encodeImage({ width, height, data }, width);
}

function tensorOf(golden: ReadGguf, name: string): ReadTensor {
  const tensor = golden.tensors.get(name);
  if (tensor === undefined) throw new Error(`the reference has no ${name}`);
  return tensor;
}

function integers(golden: ReadGguf, name: string): Int32Array {
  return new Int32Array(new Uint8Array(tensorOf(golden, name).bytes).buffer);
}

/** An answer to every item of the evaluation set. */
export type Answers = readonly { readonly kind: EvalItem['kind']; readonly text: string }[];

export async function answersOf(nano: Nano, slice: Slice): Promise<Answers> {
  const answers = [];
  for (const item of readEvalItems())
    answers.push({ kind: item.kind, text: (await nano.ask(await mediaOf(item), item.prompt, { slice })).text });
  return answers;
}

/** What the reference's own greedy decoding answered. */
export function referenceAnswers(slice: Slice): Answers {
  const [, key] = evalWidths.find(([name]) => name === slice) as (typeof evalWidths)[number];
  return readEvalItems().map((item) => ({ kind: item.kind, text: item[key] }));
}

export function compareAnswers(what: string, against: string, ours: Answers, theirs: Answers): AnswersFigure[] {
  return (['image', 'audio', 'text'] as const).map((kind) => {
    const pairs = ours.flatMap((answer, i) => (answer.kind === kind ? [[answer.text, theirs[i]?.text] as const] : []));
    return { what: `${what}, ${kind}`, against, equal: pairs.filter(([a, b]) => a === b).length, of: pairs.length };
  });
}
