/** From the name or the path of a plugin to the file that is loaded. */
import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { HearthError } from '../errors';

/** Where the compiled plugins that come with hearth are. */
export const builtInDirectory = resolve(__dirname, '../../plugins');

const entryFiles = ['index.js', 'index.mjs', 'index.cjs'];

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** `main` of a package.json, or undefined where there is no usable one. */
function mainOf(directory: string): string | undefined {
  const path = join(directory, 'package.json');
  if (!isFile(path)) return undefined;
  try {
    const { main } = JSON.parse(readFileSync(path, 'utf8')) as { main?: unknown };
    return typeof main === 'string' ? main : undefined;
  } catch (cause) {
    throw new HearthError('PLUGIN_LOAD_FAILED', `${path}: expected JSON`, { cause });
  }
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
