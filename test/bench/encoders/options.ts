/** The options of `bench encoders`. */
import { type Command, Option } from 'commander';
import { type EncoderSize, encoderSizes } from '../model/random-encoders';
import { count, listOf } from '../options';

export interface EncoderOptions {
  readonly model: EncoderSize;
  readonly runs: number;
  readonly threads: number;
  readonly isa: string;
  readonly images: readonly number[];
  readonly clips: readonly number[];
  readonly peer: boolean;
  readonly python: string;
  readonly cosine: boolean;
  readonly cache: string;
  readonly json: string | undefined;
}

export const imageSizes: readonly number[] = [256, 512, 768];

export function withEncoderOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--model <name>', 'the shapes; tiny is for trying the bench').choices(encoderSizes).default('full'),
    )
    .option('--runs <n>', 'runs of each, of which the median counts; fewer than 5 prove nothing', count(1, 1000), 5)
    .option('--threads <n>', 'threads of each side', count(1, 256), 2)
    .option('--isa <name>', "hearth's kernels; the best this CPU has when left out", '')
    .option('--images <sides>', `pictures, some of ${imageSizes.join(', ')}; or none`, pictures, [...imageSizes])
    .option('--clips <seconds>', 'sounds, 1 to 30 s; or none', clips, [5, 10, 30])
    .option('--no-peer', 'leave PyTorch out')
    .option('--python <path>', 'the python that has torch, timm and transformers', 'python3')
    .option('--no-cosine', 'leave out how close the soft tokens are to those in float32')
    .option('--cache <directory>', 'where model files are kept', 'build/bench')
    .option('--json <file>', 'also write everything as JSON');
}

function pictures(text: string): number[] {
  if (text === 'none') return [];
  return listOf(count(1, 768, (side) => imageSizes.includes(side), `one of ${imageSizes.join(', ')}`))(text);
}

function clips(text: string): number[] {
  return text === 'none' ? [] : listOf(count(1, 30))(text);
}
