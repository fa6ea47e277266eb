/** `bench encoders`: how fast pictures and sounds become soft tokens, against PyTorch, and how exactly. */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { NativeEngine } from '../../../daemon/inference/native';
import { version } from '../../../daemon/version';
import { type RandomEncoders, randomEncoders } from '../model/random-encoders';
import { describeCommit, describeMachine } from '../report/machine';
import { warningsOf } from '../report/markdown';
import type { EncoderRow, EncodersResult } from '../report/result';
import { encodersMarkdown } from './markdown';
import { audioTask, cosineOf, imageTask, measureTask, type Task } from './measure';
import { type EncoderOptions, withEncoderOptions } from './options';
import { NoPyTorch, PyTorch } from './pytorch';
import { scratchBytes } from './scratch';
import { compareEncoders } from './targets';

const root = join(__dirname, '../../../..');
const script = join(root, 'test/bench/encoders/pytorch.py');

export function encodersCommand(): Command {
  return withEncoderOptions(
    new Command('encoders').description(
      'The vision and audio encoders at full size with random weights, against PyTorch where python has it.',
    ),
  ).action(runEncoders);
}

function progress(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

async function runEncoders(options: EncoderOptions): Promise<void> {
  const machine = describeMachine();
  const commit = describeCommit(root);
  const date = new Date().toISOString();
  const files = randomEncoders(resolve(options.cache), options.model, progress);
  const tasks = [...options.images.map(imageTask), ...options.clips.map(audioTask)];
  const engine = await openEngine(files, options, false);
  const scratch = await measureScratch(tasks, options, engine);
  const peer = await openPeer(options);
  const timed: EncoderRow[] = [];
  try {
    for (const task of tasks) {
      progress(task.label);
      timed.push(await measureTask(task, engine, peer, options.runs));
    }
  } finally {
    if (peer instanceof PyTorch) peer.close();
  }
  const rows = options.cosine ? await withCosines(timed, tasks, files, options, engine) : timed;
  const result: EncodersResult = {
    bench: 'encoders',
    date,
    commit,
    machine,
    options: { ...options },
    hearth: { version, isa: engine.info.isa, threads: String(engine.info.threads) },
    peer: peer instanceof PyTorch ? peer.versions : undefined,
    file: { path: files.multimodalPath, bytes: files.bytes },
    rows,
    scratchBytes: scratch,
    targets: options.model === 'full' ? compareEncoders(rows, scratch) : [],
    warnings: warningsOf(options.runs, machine, commit),
  };
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
  process.stdout.write(encodersMarkdown(result));
}

async function openEngine(files: RandomEncoders, options: EncoderOptions, exact: boolean): Promise<NativeEngine> {
  const { modelPath, multimodalPath } = files;
  const { threads, isa } = options;
  return await NativeEngine.open({
    modelPath,
    multimodalPath,
    threads,
    isa,
    contextLength: 512,
    exact,
    prefixCacheBytes: 0,
  });
}

/** The reason where there is none: it is part of the report. */
async function openPeer(options: EncoderOptions): Promise<PyTorch | { readonly missing: string | undefined }> {
  if (!options.peer) return { missing: undefined };
  try {
    return await PyTorch.open(options.python, script, options.threads);
  } catch (error) {
    if (!(error instanceof NoPyTorch)) throw error;
    return { missing: `${options.python}: ${error.message}` };
  }
}

/** Before anything else has run: threads have no memory of their own yet. */
async function measureScratch(
  tasks: readonly Task[],
  { images }: EncoderOptions,
  engine: NativeEngine,
): Promise<number | undefined> {
  const largest = tasks[images.indexOf(Math.max(...images))];
  return largest === undefined ? undefined : await scratchBytes(() => largest.encode(engine));
}

/** In float32 nothing is timed. */
async function withCosines(
  rows: readonly EncoderRow[],
  tasks: readonly Task[],
  files: RandomEncoders,
  options: EncoderOptions,
  engine: NativeEngine,
): Promise<EncoderRow[]> {
  progress('the same in float32');
  const exact = await openEngine(files, options, true);
  const compared: EncoderRow[] = [];
  for (const [i, row] of rows.entries()) {
    const task = tasks[i] as Task;
    compared.push({ ...row, cosine: cosineOf(await task.encode(engine), await task.encode(exact)) });
  }
  return compared;
}
