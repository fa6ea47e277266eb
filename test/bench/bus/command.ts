/** `bench bus`: what the daemon's side of MQTT stands, with a real broker and the model of the demonstration. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { quantile } from '../cameras/command';
import { describeCommit, describeMachine } from '../report/machine';
import { shown, table, warningsOf } from '../report/markdown';
import { type FloodResult, flood } from './flood';
import { type LargeFramesResult, largeFrames } from './large-frames';
import { type BusOptions, withBusOptions } from './options';
import { type RestartsResult, restarts } from './restarts';
import { type SlowConsumerResult, slowConsumer } from './slow-consumer';

const root = join(__dirname, '../../../..');

interface ProtocolResult {
  readonly protocol: 5 | 4;
  readonly flood?: FloodResult;
  readonly restarts?: RestartsResult;
  readonly slowConsumer?: SlowConsumerResult;
  readonly largeFrames?: LargeFramesResult;
}

/** One thing looked at, and what came of it. */
type Row = readonly [string, string];

export function busCommand(): Command {
  return withBusOptions(
    new Command('bus').description(
      'Bad payloads, a broker that is killed, a consumer that does not read, frames of 2 MiB.',
    ),
  ).action(run);
}

const progress = (line: string): void => void process.stderr.write(`bench: ${line}\n`);

async function measure(options: BusOptions, protocol: 5 | 4): Promise<ProtocolResult> {
  const { parts, seconds, badRate, goodRate, kills, downMs, slowRate, largeRate } = options;
  const part = async <T>(name: BusOptions['parts'][number], act: () => Promise<T>): Promise<T | undefined> => {
    if (!parts.includes(name)) return undefined;
    progress(`MQTT ${versionOf(protocol)}: ${name}`);
    return await act();
  };
  const results = {
    flood: await part('flood', async () => await flood({ protocol, seconds, badRate, goodRate })),
    restarts: await part('restarts', async () => await restarts({ protocol, kills, downMs, goodRate })),
    slowConsumer: await part('slow-consumer', async () => await slowConsumer({ protocol, seconds, rate: slowRate })),
    largeFrames: await part('large-frames', async () => await largeFrames({ protocol, seconds, rate: largeRate })),
  };
  return { protocol, ...(Object.fromEntries(Object.entries(results).filter(([, value]) => value)) as object) };
}

async function run(options: BusOptions): Promise<void> {
  const machine = describeMachine();
  const commit = describeCommit(root);
  const date = new Date().toISOString();
  const results: ProtocolResult[] = [];
  for (const protocol of options.protocols) results.push(await measure(options, protocol));
  const warnings = warningsOf(Number.POSITIVE_INFINITY, machine, commit);
  const result = { bench: 'bus', date, commit, machine, options, results, warnings };
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
  const lines = [
    '# hearth: bus',
    '',
    `- ${date}, commit ${commit}`,
    `- ${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}`,
    `- the model of the demonstration on one thread; Mosquitto on loopback, with \`set_tcp_nodelay\``,
    '- times are medians, in brackets what 95 % stay below; memory is that of the daemon without its runner',
    ...warnings.map((warning) => `- **${warning}**`),
    '',
    ...table(['', ...results.map(({ protocol }) => `MQTT ${versionOf(protocol)}`)], side(results.map(rowsOf))),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** The rows of all results beside each other. */
function side(results: readonly (readonly Row[])[]): string[][] {
  const [first = []] = results;
  return first.map(([what], i) => [what, ...results.map((rows) => rows[i]?.[1] ?? '')]);
}

function rowsOf({ flood: a, restarts: b, slowConsumer: c, largeFrames: d }: ProtocolResult): Row[] {
  return [
    ...(a === undefined ? [] : floodRows(a)),
    ...(b === undefined ? [] : restartsRows(b)),
    ...(c === undefined ? [] : slowRows(c)),
    ...(d === undefined ? [] : largeRows(d)),
  ];
}

function floodRows(result: FloodResult): Row[] {
  const { sent, received, skipped, badRequests, good, requests, captionMs, answerMs, rssBytes } = result;
  return [
    ['flood: bad frames sent, received, skipped with a reason', `${sent}, ${received}, ${skipped}`],
    ['flood: bad requests sent, refused with a code', `${badRequests.sent}, ${badRequests.answered}`],
    ['flood: good frames, captions, errors, skipped', goodRow(good)],
    ['flood: good requests, answered', `${requests.sent}, ${requests.answered}`],
    ['frame to caption without the flood', ms(captionMs[0])],
    ['frame to caption with it', ms(captionMs[1])],
    ['request to answer without the flood', ms(answerMs[0])],
    ['request to answer with it', ms(answerMs[1])],
    ['flood: memory before, at most, after', rssBytes.map(megabytes).join(', ')],
  ];
}

function restartsRows(result: RestartsResult): Row[] {
  const { recoveryMs, requests, answered, ranTwice, frames, repeatedAnswers, repeatedEvents, dropped } = result;
  return [
    ['restarts: requests, answered, run twice', `${requests}, ${answered}, ${ranTwice}`],
    ['restarts: frames, captions, errors, skipped', goodRow(frames)],
    ['restarts: answers and events delivered again', `${repeatedAnswers}, ${repeatedEvents}`],
    ['restarts: messages given up', String(dropped)],
    [`${recoveryMs.length} restarts: from a broker that listens to a daemon that is online`, ms(recoveryMs)],
  ];
}

function slowRows({ asked, answered, late, answerMs, rssBytes, dropped }: SlowConsumerResult): Row[] {
  return [
    ['slow consumer: asked, answered to the one that reads', `${asked}, ${answered}`],
    ['slow consumer: what the broker had kept for the other', String(late)],
    ['slow consumer: messages given up by the daemon', String(dropped)],
    ['request to answer without it', ms(answerMs[0])],
    ['request to answer beside it', ms(answerMs[1])],
    ['slow consumer: memory before, at most', rssBytes.map(megabytes).join(', ')],
  ];
}

function largeRows({ sent, frames, bytes, seconds, tooLarge, rssBytes }: LargeFramesResult): Row[] {
  return [
    ['2 MiB frames: sent, of them one byte too large', `${sent}, ${tooLarge}`],
    ['2 MiB frames: received, captions, errors, skipped', goodRow(frames)],
    ['2 MiB frames: into the daemon', `${shown(bytes / 1e6 / seconds)} MB/s`],
    ['2 MiB frames: memory before, at most, after', rssBytes.map(megabytes).join(', ')],
  ];
}

function goodRow({ received, captions, errors, skipped }: LargeFramesResult['frames']): string {
  return [received, captions, errors, skipped].join(', ');
}

function ms(values: readonly number[]): string {
  return `${shown(quantile(values, 0.5))} ms (${shown(quantile(values, 0.95))} ms)`;
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}

function versionOf(protocol: 5 | 4): string {
  return protocol === 5 ? '5' : '3.1.1';
}
