/** The options of `bench cameras`. */
import { type Command, Option } from 'commander';
import { count, listOf } from '../options';

export interface CamerasOptions {
  readonly model: 'e2b' | 'nano';
  readonly cameras: readonly number[];
  readonly seconds: number;
  readonly frameMs: number;
  readonly doorbellMs: number;
  readonly maxTokens: number;
  readonly imageSize: 256 | 512 | 768;
  readonly concurrency: number;
  readonly threads: number;
  readonly cache: string;
  readonly json: string | undefined;
}

export function withCamerasOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--model <name>', 'E2B and its encoders at full size, or the small model of the demonstration')
        .choices(['e2b', 'nano'])
        .default('e2b'),
    )
    .option(
      '--cameras <list>',
      'cameras beside the doorbell, one part of the report each',
      listOf(count(0, 64)),
      [0, 8],
    )
    .option('--seconds <n>', 'how long they send', count(5, 3600), 120)
    .option('--frame-ms <n>', 'milliseconds between two frames of a camera', count(10, 60_000), 1000)
    .option('--doorbell-ms <n>', 'milliseconds between two rings', count(100, 600_000), 10_000)
    .option('--max-tokens <n>', 'tokens of a caption at most', count(1, 1024), 24)
    .option(
      '--image-size <n>',
      'side of the pictures in the encoder',
      count(256, 768, (n) => n % 256 === 0),
      256,
    )
    .option('--concurrency <n>', 'jobs that share the engine (`queue.concurrency`)', count(1, 16), 4)
    .option('--threads <n>', 'threads of the engine', count(1, 256), 2)
    .option('--cache <directory>', 'where model files are kept', 'build/bench')
    .option('--json <file>', 'also write everything as JSON');
}
