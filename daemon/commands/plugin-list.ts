/** `hearth plugin list`: what the configuration makes run, without running it. */
import type { Config } from '../config';
import { messageOf } from '../log';
import { locatePlugin } from '../plugins/locate-plugin';
import { builtInPlugins } from '../plugins/options';

/** One line for each plugin: enabled, disabled or missing; name; where it is or why not. */
export function listPlugins({ plugins }: Pick<Config, 'plugins'>): string[] {
  const names = [...new Set<string>([...builtInPlugins, ...Object.keys(plugins)])].sort();
  return names.map((name) => {
    const given = Object.hasOwn(plugins, name) ? plugins[name] : undefined;
    const state = given?.enabled === false ? 'disabled' : 'enabled';
    try {
      return `${state.padEnd(8)} ${name}: ${locatePlugin(name, given?.path)}`;
    } catch (error) {
      return `${'missing'.padEnd(8)} ${name}: ${messageOf(error)}`;
    }
  });
}
