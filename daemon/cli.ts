#!/usr/bin/env node
/** The command line. Every failure is one line, `CODE: message`, and an exit code from the catalogue. */
import { join } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { type Config, ConfigError, type ConfigSources, configFlags, loadConfig, redact } from './config';
import { exitCodeOf, HearthError } from './errors';
import { messageOf } from './log';
import { weightTypes } from './models/convert/block-formats';
import type { WeightTypes } from './models/convert/plan';
import { version } from './version';

// Commands load what they need themselves: `hearth --help` has no use for an MQTT client.

/** `hearth <arguments>`; `hearthd` is `hearth run`. Resolves to the exit code. */
export async function runCli(args: readonly string[]): Promise<number> {
  let debug = false;
  try {
    const program = createProgram((config) => {
      debug = config.log.level === 'debug' || config.log.level === 'trace';
    });
    await program.parseAsync([...args], { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    // Help and version were printed on purpose.
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const failure = error instanceof CommanderError ? usage(error) : error;
    for (const line of linesOf(failure)) process.stderr.write(`${line}\n`);
    if (debug && failure instanceof Error) process.stderr.write(`${failure.stack ?? ''}\n`);
    return exitCodeOf(failure);
  }
}

function usage({ code, message }: CommanderError): HearthError {
  // Commander calls a command without its subcommand a request for help.
  const text = code === 'commander.help' ? 'expected a command; --help lists them' : message.replace(/^error: /, '');
  return new HearthError('USAGE', text);
}

function linesOf(error: unknown): string[] {
  if (error instanceof ConfigError) {
    return error.problems.map(
      ({ path, expected, received, origin }) =>
        `${error.code}: ${path}: expected ${expected}, received ${received} (${origin})`,
    );
  }
  return [`${error instanceof HearthError ? error.code : 'INTERNAL'}: ${messageOf(error).replaceAll('\n', ' ')}`];
}

function createProgram(onConfig: (config: Config) => void): Command {
  const program = new Command('hearth')
    .description(
      'Local multimodal daemon: pictures and sound in over MQTT, captions, transcripts, translations and function calls out.',
    )
    .version(version)
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .showSuggestionAfterError();
  const configured = (name: string, description: string): Command =>
    withConfigFlags(program.command(name).description(description));
  const load = (command: Command): Config => {
    const config = loadConfig(sourcesOf(command));
    onConfig(config);
    return config;
  };

  configured('run', 'Run the daemon.').action(async (_options, command: Command) => {
    const { runDaemon } = await import('./main.js');
    await runDaemon(load(command), undefined, () => loadConfig(sourcesOf(command)));
  });
  configured('check-config', 'Check the configuration and print what is in force, without secrets.').action(
    (_options, command: Command) => {
      print(JSON.stringify(redact(load(command)), null, 2));
    },
  );
  configured('doctor', 'Check everything the daemon needs on this machine.').action(
    async (_options, command: Command) => {
      const { doctor } = await import('./main.js');
      process.exitCode = (await doctor(load(command), print)) ? 0 : 1;
    },
  );

  const model = program.command('model').description('Model files.');
  model
    .command('convert')
    .description('Convert a Hugging Face checkpoint of Gemma 3n to GGUF.')
    .argument('<directory>', 'checkpoint: safetensors, config.json and tokenizer.model')
    .argument('<out>', 'text file to write; the encoders go into mmproj-<name> beside it')
    .addOption(weightTypeOption('--type', 'weight type').default('q4_0'))
    .addOption(
      weightTypeOption('--head-type', 'type of the token embedding, which is also the head (--type, q8_0 with q4_0)'),
    )
    .addOption(weightTypeOption('--ple-type', 'type of the per-layer embedding table (--type)'))
    .action(async (checkpointDir: string, outPath: string, types: WeightTypes) => {
      const { convert } = await import('./commands/convert.js');
      const onLine = (line: string): unknown => process.stderr.write(`${line}\n`);
      // Four bits in the head cost as much quality as four bits everywhere else.
      const headType = types.headType ?? (types.type === 'q4_0' ? 'q8_0' : undefined);
      const { textPath, multimodalPath } = await convert({
        checkpointDir,
        outPath,
        ...types,
        ...(headType !== undefined && { headType }),
        onLine,
      });
      print(textPath);
      if (multimodalPath !== undefined) print(multimodalPath);
    });
  model
    .command('info')
    .description('Load a model and print what it is, as JSON.')
    .argument('<file>', 'GGUF file of the model')
    .action(async (file: string) => {
      const { describeModel } = await import('./main.js');
      print(JSON.stringify(await describeModel(loadConfig({ flags: { 'model-path': file } })), null, 2));
    });
  withConfigFlags(model.command('list').description('List the models that were pulled, and those that may be.')).action(
    async (_options, command: Command) => {
      const { listModels } = await import('./commands/models.js');
      const { modelStoreOf } = await import('./main.js');
      const config = load(command);
      for (const line of listModels(config, modelStoreOf(config))) print(line);
    },
  );
  withConfigFlags(
    model
      .command('pull')
      .description('Download a model of model.sources.')
      .argument('<name>', 'entry of model.sources'),
  ).action(async (name: string, _options, command: Command) => {
    const { pullModel } = await import('./main.js');
    print(await pullModel(load(command), name, (line) => process.stderr.write(`${line}\n`)));
  });
  withConfigFlags(
    model
      .command('use')
      .description('Choose what the next start of the daemon loads; a running one is told by the request model/load.')
      .argument('[name]', 'model that was pulled; that of the configuration when left out'),
  ).action(async (name: string | undefined, _options, command: Command) => {
    const { useModel } = await import('./commands/models.js');
    const { modelStoreOf } = await import('./main.js');
    const config = load(command);
    useModel(config, modelStoreOf(config), name);
  });
  withConfigFlags(
    model.command('remove').description('Delete a model that was pulled.').argument('<name>', 'name of the model'),
  ).action(async (name: string, _options, command: Command) => {
    const { removeModel } = await import('./commands/models.js');
    const { modelStoreOf } = await import('./main.js');
    const config = load(command);
    for (const line of removeModel(config, modelStoreOf(config), name)) print(line);
  });
  const plugin = program.command('plugin').description('Plugins.');
  plugin
    .command('new')
    .description('Write a new plugin that runs.')
    .argument('<name>', 'name of the plugin, and of its directory')
    .option('--dir <directory>', 'where it goes', join(__dirname, '../../plugins'))
    .action(async (name: string, { dir }: { dir: string }) => {
      const { createPlugin } = await import('./plugins/scaffold.js');
      for (const path of createPlugin(name, dir)) print(path);
    });
  withConfigFlags(
    plugin.command('list').description('List the plugins that are configured and where they are.'),
  ).action(async (_options, command: Command) => {
    const { listPlugins } = await import('./commands/plugin-list.js');
    for (const line of listPlugins(load(command))) print(line);
  });
  for (const [verb, description] of [
    ['enable', 'Switch a plugin on, at once where hearthd runs, and for its next starts.'],
    ['disable', 'Switch a plugin off, at once where hearthd runs, and for its next starts.'],
  ] as const) {
    withConfigFlags(plugin.command(verb).description(description).argument('<name>', 'name of the plugin')).action(
      async (name: string, _options, command: Command) => {
        const { switchPlugin } = await import('./commands/plugin-switch.js');
        print(await switchPlugin(load(command), name, verb === 'enable'));
      },
    );
  }
  withConfigFlags(
    plugin
      .command('logs')
      .description('Print what a plugin logged.')
      .argument('<name>', 'name of the plugin')
      .option('--lines <count>', 'how many of the last lines', '100')
      .option('--follow', 'go on with what is logged from now on'),
  ).action(async (name: string, { lines, follow }: { lines: string; follow?: true }, command: Command) => {
    const { printPluginLogs } = await import('./commands/plugin-logs.js');
    await printPluginLogs(load(command), name, { lines, follow: follow === true }, print);
  });
  return program;
}

function weightTypeOption(flag: string, description: string): Option {
  return new Option(`${flag} <type>`, description).choices([...weightTypes]);
}

function withConfigFlags(command: Command): Command {
  command.option('--config <file>', 'YAML or JSON file (HEARTH_CONFIG; /etc/hearth/hearth.yaml when it is there)');
  for (const { arg, env, option } of configFlags()) {
    command.addOption(new Option(`--${arg ?? ''} <value>`, `${option.doc} Expected ${option.format}. (${env ?? ''})`));
  }
  return command;
}

function sourcesOf(command: Command): ConfigSources {
  const given = command.opts<Record<string, string | undefined>>();
  const flags: Record<string, string> = {};
  for (const { arg } of configFlags()) {
    const value = given[camelCase(arg ?? '')];
    if (arg !== undefined && value !== undefined) flags[arg] = value;
  }
  return { file: given['config'], flags };
}

/** As commander names the attribute of a flag. */
function camelCase(flag: string): string {
  return flag.replace(/-([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

if (require.main === module) {
  void runCli(process.argv.slice(2)).then((code) => process.exit(code));
}
