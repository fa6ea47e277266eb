/** Loads a plugin module, ES or CommonJS, in its worker. */
import { pathToFileURL } from 'node:url';
import { type Plugin, PluginError } from './api';

function isPlugin(value: unknown): value is Plugin {
  if (typeof value !== 'object' || value === null) return false;
  const { manifest, start } = value as Partial<Plugin>;
  return typeof manifest === 'object' && manifest !== null && typeof start === 'function';
}

/** Rejects with `PLUGIN_LOAD_FAILED`. */
export async function loadModule(file: string): Promise<Plugin> {
  let namespace: { default?: unknown };
  try {
    namespace = (await import(pathToFileURL(file).href)) as { default?: unknown };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PluginError('PLUGIN_LOAD_FAILED', `the module does not load: ${reason}`, { cause });
  }
  // A CommonJS module that was compiled from an ES one has its default export one level down.
  const outer = namespace.default;
  const inner = typeof outer === 'object' && outer !== null && 'default' in outer ? outer.default : undefined;
  const plugin = [outer, inner, namespace].find(isPlugin);
  if (plugin === undefined) {
    throw new PluginError('PLUGIN_LOAD_FAILED', 'expected the module to export { manifest, start } as its default');
  }
  return plugin;
}
