/** The options of `bench bus`. */
import { type Command, InvalidArgumentError } from 'commander';
import { count, listOf } from '../options';

export const busParts = ['flood', 'restarts', 'slow-consumer', 'large-frames'] as const;
export type BusPart = (typeof busParts)[number];

export interface BusOptions {
  readonly protocols: readonly (5 | 4)[];
  readonly parts: readonly BusPart[];
  readonly seconds: number;
  readonly badRate: number;
  readonly goodRate: number;
  readonly kills: number;
  readonly downMs: number;
  readonly slowRate: number;
  readonly largeRate: number;
  readonly json: string | undefined;
}

function part(text: string): BusPart {
  const found = busParts.find((name) => name === text);
  if (found === undefined) throw new InvalidArgumentError(`Expected some of ${busParts.join(', ')}.`);
  return found;
}

export function withBusOptions(command: Command): Command {
  return command
    .option(
      '--protocols <list>',
      'MQTT versions: 5, 4 (3.1.1) or both',
      listOf(count(4, 5) as (text: string) => 4 | 5),
      [5, 4],
    )
    .option('--parts <list>', `some of ${busParts.join(', ')}`, listOf(part), [...busParts])
    .option('--seconds <n>', 'how long each part sends', count(2, 600), 30)
    .option('--bad-rate <n>', 'bad payloads a second', count(1, 5000), 1000)
    .option('--good-rate <n>', 'good frames, and requests, a second', count(1, 50), 2)
    .option('--kills <n>', 'how often the broker is killed', count(1, 50), 5)
    .option('--down-ms <n>', 'how long it is gone', count(0, 30_000), 1500)
    .option('--slow-rate <n>', 'responses a second beside a consumer that does not read', count(1, 1000), 100)
    .option('--large-rate <n>', 'frames of 2 MiB a second', count(1, 200), 20)
    .option('--json <file>', 'also write everything as JSON');
}
