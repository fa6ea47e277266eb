/** `hearth plugin list`: what the configuration makes run, without running it. */
import { readdirSync } from 'node:fs';
import type { Config } from '../config';
import { messageOf } from '../log';
import { builtInDirectory, locatePlugin } from '../plugins/locate-plugin';
import { builtInPlugins } from '../plugins/options';

/** One line for each plugin: enabled, disabled (or not named), or missing; name; where it is or why not. */
export function listPlugins({ plugins }: Pick<Config, 'plugins'>): string[] {
  const shipped = readdirSync(builtInDirectory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const running = new Set<string>([...builtInPlugins, ...Object.keys(plugins)]);
  const names = [...new Set([...running, ...shipped.map(({ name }) => name)])].sort();
  return names.map((name) => {
    const given = Object.hasOwn(plugins, name) ? plugins[name] : undefined;
    const state = given?.enabled === false || !running.has(name) ? 'disabled' : 'enabled';
    try {
      return `${state.padEnd(8)} ${name}: ${locatePlugin(name, given?.path)}`;
    } catch (error) {
      return `${'missing'.padEnd(8)} ${name}: ${messageOf(error)}`;
    }
  });
}
