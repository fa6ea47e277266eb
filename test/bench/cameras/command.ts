/** `bench cameras`: how long a ring at the door waits while cameras keep the engine busy. */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import type { StreamEvent } from '../../../daemon/events';
import { randomEncoders } from '../model/random-encoders';
import { randomModel } from '../model/random-model';
import { modelConfig } from '../model/shapes';
import { describeCommit, describeMachine } from '../report/machine';
import { shown, table, warningsOf } from '../report/markdown';
import { House, type ModelFiles } from './house';
import { type CamerasOptions, withCamerasOptions } from './options';

const root = join(__dirname, '../../../..');

/** Seconds. */
interface Latency {
  readonly captions: number;
  readonly firstToken: { readonly median: number; readonly p95: number };
  readonly whole: { readonly median: number; readonly p95: number };
}

interface Part {
  readonly cameras: number;
  readonly doorbell: Latency;
  readonly others: Latency | undefined;
  /** Captions a second, all streams together. */
  readonly rate: number;
}

export function camerasCommand(): Command {
  return withCamerasOptions(
    new Command('cameras').description('The time from a frame to its caption, with a doorbell among busy cameras.'),
  ).action(run);
}

const progress = (line: string): void => void process.stderr.write(`bench: ${line}\n`);

function filesOf({ model, cache }: CamerasOptions): ModelFiles {
  if (model === 'nano') {
    const directory = join(root, 'daemon/demo/model');
    return { modelPath: join(directory, 'nano.gguf'), multimodalPath: join(directory, 'mmproj-nano.gguf') };
  }
  const { path } = randomModel(resolve(cache), model, modelConfig(model), progress);
  return { modelPath: path, multimodalPath: randomEncoders(resolve(cache), 'full', progress).multimodalPath };
}

/** The value that so great a part of them does not exceed. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN;
}

export function latencyOf(captions: readonly StreamEvent[]): Latency | undefined {
  if (captions.length === 0) return undefined;
  const of = (values: readonly number[]) => ({
    median: quantile(values, 0.5) / 1000,
    p95: quantile(values, 0.95) / 1000,
  });
  return {
    captions: captions.length,
    firstToken: of(captions.map(({ first_token_ms, latency_ms }) => first_token_ms ?? latency_ms)),
    whole: of(captions.map(({ latency_ms }) => latency_ms)),
  };
}

async function measure(options: CamerasOptions, files: ModelFiles, cameras: number): Promise<Part> {
  progress(`${cameras} cameras and a doorbell, ${options.seconds} s`);
  const house = await House.open(options, files, cameras);
  try {
    const captions = await house.live();
    const doorbell = latencyOf(captions.filter(House.isDoorbell));
    if (doorbell === undefined) throw new Error('nobody answered the door: no caption of the doorbell came');
    return {
      cameras,
      doorbell,
      others: latencyOf(captions.filter((event) => !House.isDoorbell(event))),
      rate: captions.length / options.seconds,
    };
  } finally {
    await house.close();
  }
}

async function run(options: CamerasOptions): Promise<void> {
  const machine = describeMachine();
  const commit = describeCommit(root);
  const date = new Date().toISOString();
  const files = filesOf(options);
  const parts: Part[] = [];
  for (const cameras of options.cameras) parts.push(await measure(options, files, cameras));
  const warnings = warningsOf(Number.POSITIVE_INFINITY, machine, commit);
  const result = { bench: 'cameras', date, commit, machine, options, parts, warnings };
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
  const row = (what: string, latency: Latency | undefined): string[][] =>
    latency === undefined
      ? []
      : [
          [
            what,
            String(latency.captions),
            ...[latency.firstToken, latency.whole].map(({ median, p95 }) => `${shown(median)} s (${shown(p95)} s)`),
          ],
        ];
  const lines = [
    '# hearth: cameras',
    '',
    `- ${date}, commit ${commit}`,
    `- ${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}`,
    `- ${options.model}, ${options.threads} threads, pictures of ${options.imageSize} px, captions of up to ${options.maxTokens} tokens, ${options.concurrency} jobs at a time`,
    `- a frame of each camera every ${options.frameMs} ms, a ring every ${options.doorbellMs} ms, for ${options.seconds} s; medians, in brackets what 95 % stay below`,
    ...warnings.map((warning) => `- **${warning}**`),
    '',
    ...table(
      ['', 'captions', 'frame to first token', 'frame to caption'],
      parts.flatMap(({ cameras, doorbell, others, rate }) => [
        ...row(cameras === 0 ? 'doorbell alone' : `doorbell beside ${cameras} cameras`, doorbell),
        ...row(`the ${cameras} cameras (${shown(rate)} captions a second in all)`, others),
      ]),
    ),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}
