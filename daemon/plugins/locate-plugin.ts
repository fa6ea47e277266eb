/** From the name or the path of a plugin to the file that is loaded. */
import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { HearthError } from '../errors';
import { isRecord } from '../json';

/** Where the compiled plugins that come with hearth are. */
export const builtInDirectory = resolve(__dirname, '../../plugins');

const entryFiles = ['index.js', 'index.mjs', 'index.cjs'];

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** What a package says is its module: `exports` for its root, else `main`; undefined where it says nothing usable. */
function mainOf(directory: string): string | undefined {
  const path = join(directory, 'package.json');
  if (!isFile(path)) return undefined;
  let parsed: { readonly main?: unknown; readonly exports?: unknown } | null;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8')) as typeof parsed;
  } catch (cause) {
    throw new HearthError('PLUGIN_LOAD_FAILED', `${path}: expected JSON`, { cause });
  }
  return exportOf(parsed?.exports) ?? (typeof parsed?.main === 'string' ? parsed.main : undefined);
}

/** `exports` may be a path, conditions, or both by sub-path; the module is loaded by `import`. */
function exportOf(exported: unknown): string | undefined {
  if (typeof exported === 'string') return exported;
  if (!isRecord(exported)) return undefined;
  for (const condition of ['.', 'node', 'import', 'module-sync', 'default', 'require']) {
    const found = Object.hasOwn(exported, condition) ? exportOf(exported[condition]) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The module file: `path` or what a directory at `path` names, else the built-in one. Throws `PLUGIN_LOAD_FAILED`. */
export function locatePlugin(name: string, path: string | null | undefined): string {
  const place = path === null || path === undefined ? join(builtInDirectory, name) : resolve(path);
  if (isFile(place)) return place;
  const main = mainOf(place);
  for (const file of main === undefined ? entryFiles : [main, ...entryFiles]) {
    const candidate = join(place, file);
    if (isFile(candidate)) return candidate;
  }
  throw new HearthError(
    'PLUGIN_LOAD_FAILED',
    `plugin ${name}: expected a module file or a directory with ${entryFiles.join(', ')} at ${place}`,
  );
}
