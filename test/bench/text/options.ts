/** The options of `bench text`. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { PeerSettings } from '../engine/engine';
import { type ModelName, modelNames } from '../model/shapes';
import { count, listOf } from '../options';

export const figureGroups = ['load', 'prefill', 'decode', 'first-token', 'slice', 'threads'] as const;
export type FigureGroup = (typeof figureGroups)[number];

export interface TextOptions {
  readonly model: ModelName | 'both';
  readonly runs: number;
  readonly threads: number;
  readonly isa: string;
  readonly figures: readonly FigureGroup[];
  readonly prefill: readonly number[];
  readonly decode: readonly number[];
  readonly decodeTokens: number;
  readonly prefix: number;
  readonly suffix: number;
  readonly peer: boolean;
  readonly peerSettings: PeerSettings | undefined;
  readonly parity: boolean;
  readonly reference: string | undefined;
  readonly cache: string;
  readonly json: string | undefined;
}

/** `none` leaves the parity part. */
function figureGroupList(text: string): FigureGroup[] {
  return text === 'none' ? [] : listOf(figureGroup)(text);
}

function figureGroup(text: string): FigureGroup {
  const group = figureGroups.find((name) => name === text);
  if (group === undefined) throw new InvalidArgumentError(`Expected some of ${figureGroups.join(', ')}.`);
  return group;
}

/** `flash=on,batch=512,mmap=on` */
export function parsePeerSettings(text: string): PeerSettings {
  const parts = new Map(text.split(',').map((part) => part.split('=') as [string, string | undefined]));
  const flag = (key: string): boolean => {
    const value = parts.get(key);
    if (value !== 'on' && value !== 'off') throw new InvalidArgumentError(`Expected ${key}=on or ${key}=off.`);
    return value === 'on';
  };
  const batch = parts.get('batch') ?? '';
  const unknown = [...parts.keys()].find((key) => !['flash', 'batch', 'mmap'].includes(key));
  if (unknown !== undefined) throw new InvalidArgumentError(`Expected flash, batch and mmap, not ${unknown}.`);
  return { flashAttention: flag('flash'), batch: count(1, 8192)(batch), mmap: flag('mmap') };
}

export function withTextOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--model <name>', 'the model to measure; tiny is for trying the bench')
        .choices([...modelNames, 'both'])
        .default('both'),
    )
    .option(
      '--runs <n>',
      'runs of each figure, of which the median counts; fewer than 5 prove nothing',
      count(1, 1000),
      5,
    )
    .option('--threads <n>', 'threads of each engine', count(1, 256), 2)
    .option('--isa <name>', "hearth's kernels; the best this CPU has when left out", '')
    .option('--figures <list>', `some of ${figureGroups.join(', ')}; or none`, figureGroupList, [...figureGroups])
    .option('--prefill <lengths>', 'prompts, in tokens', listOf(count(1, 30_000)), [128, 512, 2048])
    .option('--decode <contexts>', 'tokens before those that are decoded', listOf(count(0, 30_000)), [0, 1024, 4096])
    .option('--decode-tokens <n>', 'tokens to decode', count(1, 4096), 64)
    .option('--prefix <n>', 'tokens of the prefix that is cached', count(1, 30_000), 1024)
    .option('--suffix <n>', 'tokens of the prompt that follow it', count(1, 30_000), 16)
    .option('--no-peer', 'leave llama.cpp out')
    .option(
      '--peer-settings <list>',
      'such as flash=on,batch=512,mmap=on; when left out the best ones are searched for, once a model',
      parsePeerSettings,
    )
    .option('--no-parity', 'leave out how close the logits and answers are to the reference')
    .option('--reference <directory>', 'reference data with cases/kquant, for more parity figures')
    .option('--cache <directory>', 'where model files and llama.cpp are kept', 'build/bench')
    .option('--json <file>', 'also write everything as JSON');
}
