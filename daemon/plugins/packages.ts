/** Plugins that were installed as npm packages: `hearth-plugin-<name>`, also below a scope. */
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** The node_modules of hearth itself. */
const ownPackages = [resolve(__dirname, '../../node_modules'), resolve(__dirname, '../../../node_modules')];
const packageForm = /^hearth-plugin-([a-z][a-z0-9-]{0,63})$/;

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

/** Directories of the packages by the name of the plugin; what stands earlier among the places wins. */
export function findPackages(pluginDirectory: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const look = (directory: string): void => {
    for (const entry of entriesOf(directory)) {
      const [, name] = packageForm.exec(entry) ?? [];
      if (name !== undefined && !found.has(name)) found.set(name, join(directory, entry));
    }
  };
  for (const place of [join(pluginDirectory, 'node_modules'), ...ownPackages]) {
    look(place);
    for (const scope of entriesOf(place).filter((entry) => entry.startsWith('@'))) look(join(place, scope));
  }
  return found;
}
