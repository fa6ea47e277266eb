/** Reading the small files of /sys and /proc: text or nothing, since any of them may be missing, unreadable or gone. */
import { readdir, readFile } from 'node:fs/promises';

/** Where the kernel's files are; tests put a tree of their own there. */
export interface BoardRoots {
  readonly sys: string;
  readonly proc: string;
  /** The Raspberry Pi's tool for what its firmware knows, asked where the kernel has no file for it; null: never. */
  readonly firmwareTool: string | null;
}

export const realBoard: BoardRoots = { sys: '/sys', proc: '/proc', firmwareTool: 'vcgencmd' };

export async function readText(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}

/** NaN where there is no number. */
export async function readNumber(path: string): Promise<number> {
  const text = await readText(path);
  return text === undefined || text === '' ? Number.NaN : Number(text);
}

/** Entries of a directory whose names fit, in the order of the numbers they end with. */
export async function entries(directory: string, form: RegExp): Promise<string[]> {
  const names = await readdir(directory).catch(() => []);
  const number = (name: string): number => Number(/\d+$/.exec(name)?.[0] ?? 0);
  return names.filter((name) => form.test(name)).sort((a, b) => number(a) - number(b));
}
