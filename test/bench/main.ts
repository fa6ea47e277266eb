/** `npm run bench -- <what>`: measurements of a checkout. Every subcommand is a line of the table below. */
import { Command, CommanderError } from 'commander';
import { busCommand } from './bus/command';
import { camerasCommand } from './cameras/command';
import { encodersCommand } from './encoders/command';
import { liveAudioCommand } from './live-audio/command';
import { textCommand } from './text/command';

const commands: readonly (() => Command)[] = [
  textCommand,
  encodersCommand,
  camerasCommand,
  liveAudioCommand,
  busCommand,
];

async function main(args: readonly string[]): Promise<number> {
  const program = new Command('bench')
    .usage('<what> [options]')
    .description(
      'Measures hearth against what a Node user would take instead, on this machine. The report is Markdown on standard output.',
    )
    .exitOverride();
  for (const command of commands) program.addCommand(command().exitOverride());
  try {
    await program.parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
