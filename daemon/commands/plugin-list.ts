/** `hearth plugin list`: what the configuration makes run, without running it. */
import { readdirSync } from 'node:fs';
import type { Config } from '../config';
import { messageOf } from '../log';
import { builtInDirectory, locatePlugin } from '../plugins/locate-plugin';
import { pluginsOf } from '../plugins/options';
import { withSwitches } from '../plugins/switches';

/** One line for each plugin: enabled, disabled (or not named), or missing; name; where it is or why not. */
export function listPlugins(config: Config): string[] {
  const { plugins } = withSwitches(config);
  const shipped = readdirSync(builtInDirectory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const running = new Set(pluginsOf({ plugins }).map(({ name }) => name));
  const names = new Set([...running, ...Object.keys(plugins), ...shipped.map(({ name }) => name)]);
  return [...names].sort().map((name) => {
    const state = running.has(name) ? 'enabled' : 'disabled';
    const path = Object.hasOwn(plugins, name) ? plugins[name]?.path : undefined;
    try {
      return `${state.padEnd(8)} ${name}: ${locatePlugin(name, path)}`;
    } catch (error) {
      return `${'missing'.padEnd(8)} ${name}: ${messageOf(error)}`;
    }
  });
}
