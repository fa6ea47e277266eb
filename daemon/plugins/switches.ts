/** Which plugins were switched on or off beside the configuration: a file in the state directory. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeAtomically } from '../atomic-file';
import type { Config } from '../config';
import { HearthError } from '../errors';
import { isRecord } from '../json';
import { messageOf } from '../log';
import { locatePlugin } from './locate-plugin';
import { builtInPlugins } from './options';
import { findPackages } from './packages';

type Switches = Readonly<Record<string, boolean>>;
type Places = Pick<Config, 'plugins' | 'stateDirectory' | 'pluginDirectory'>;

const nameForm = /^[a-z][a-z0-9-]{0,63}$/;

export function switchesPath({ stateDirectory }: Pick<Config, 'stateDirectory'>): string {
  return join(stateDirectory, 'plugins.json');
}

/** None where there is no file. Throws `FILE_UNREADABLE` for one that makes no sense. */
export function readSwitches(config: Pick<Config, 'stateDirectory'>): Switches {
  const path = switchesPath(config);
  try {
    const parsed = JSON.parse(readFileSync(path, 'utf8')) as unknown;
    if (
      isRecord(parsed) &&
      Object.entries(parsed).every(([name, on]) => nameForm.test(name) && typeof on === 'boolean')
    )
      return parsed as Switches;
    throw new Error('expected an object of true and false by plugin name');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new HearthError('FILE_UNREADABLE', `${path}: ${messageOf(cause)}`, { cause });
  }
}

/** The configuration with what was switched, and with the packages that are installed. */
export function withSwitches(config: Config): Config {
  const plugins: Record<string, Config['plugins'][string]> = {};
  const blank = { enabled: true, path: null, memoryMb: 128, hangTimeoutSeconds: 10, isolation: null, config: {} };
  for (const [name, directory] of findPackages(config.pluginDirectory)) {
    // One that comes with hearth is not replaced by a package of its name, and one with a path is where that says.
    if (!isShipped(name)) plugins[name] = { ...blank, path: directory };
  }
  for (const [name, given] of Object.entries(config.plugins))
    plugins[name] = { ...given, path: given.path ?? plugins[name]?.path ?? null };
  for (const [name, enabled] of Object.entries(readSwitches(config)))
    plugins[name] = { ...(plugins[name] ?? blank), enabled };
  return { ...config, plugins };
}

function isShipped(name: string): boolean {
  try {
    locatePlugin(name, undefined);
    return true;
  } catch {
    return false;
  }
}

/**
 * Keeps that a plugin is switched on or off, from the next reload on. Rejects with `PLUGIN_NAME_INVALID`,
 * `PLUGIN_LOAD_FAILED` for one that is not there, `FILE_UNREADABLE` or `FILE_WRITE_FAILED`.
 */
export async function setPluginEnabled(config: Places, name: string, enabled: boolean): Promise<void> {
  if (!nameForm.test(name)) {
    throw new HearthError(
      'PLUGIN_NAME_INVALID',
      `plugin name: expected 1 to 64 of a-z 0-9 -, a letter first, received ${JSON.stringify(name.slice(0, 80))}`,
    );
  }
  const given = Object.hasOwn(config.plugins, name) ? config.plugins[name] : undefined;
  const known = (builtInPlugins as readonly string[]).includes(name) || given !== undefined;
  if (enabled || !known) locatePlugin(name, given?.path ?? findPackages(config.pluginDirectory).get(name));
  const switches = { ...readSwitches(config), [name]: enabled };
  await writeAtomically(switchesPath(config), `${JSON.stringify(switches, null, 2)}\n`);
}
