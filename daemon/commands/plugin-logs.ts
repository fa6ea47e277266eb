/** `hearth plugin logs`: the last lines of a plugin's log, and what comes. */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config';
import { HearthError } from '../errors';
import { isRecord } from '../json';
import { pluginLogPaths } from '../plugins/log-files';

const pollMs = 250;
/** Members that are shown by themselves, or are the same in every line. */
const known: readonly string[] = ['level', 'ns', 'msg', 'ts', 'fields'];

/** Time, level, message and fields; what is no line of ours as it is. */
export function formatLine(line: string): string {
  let record: unknown;
  try {
    record = JSON.parse(line);
  } catch {
    return shownText(line);
  }
  if (!isRecord(record)) return shownText(line);
  const { level, msg, ts, fields } = record;
  const at = new Date(typeof ts === 'number' ? ts * 1000 : Number.NaN);
  const time = Number.isNaN(at.getTime()) ? '' : at.toISOString();
  const rest = Object.entries(record).filter(([name]) => !known.includes(name));
  const shown = { ...Object.fromEntries(rest), ...(isRecord(fields) ? fields : {}) };
  const extra = Object.entries(shown).map(([name, value]) => ` ${name}=${JSON.stringify(value)}`);
  return `${time} ${String(level).padEnd(5)} ${shownText(String(msg))}${extra.join('')}`;
}

/** What a plugin logs may be from anyone: nothing in it moves the cursor or rings a bell. */
function shownText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all but tabs and the ends of lines.
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
}

function readAll(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new HearthError('FILE_UNREADABLE', `${path}: ${(error as NodeJS.ErrnoException).code}`, { cause: error });
  }
}

/** Reads what a file that is replaced from time to time gets: the rest of the old one first. */
class Follower {
  #file: number | undefined;
  #offset = 0;
  #inode = 0;
  #rest = '';

  constructor(private readonly path: string) {}

  /** Begins at the end of what is there. */
  skip(): void {
    this.#open();
    if (this.#file !== undefined) this.#offset = fstatSync(this.#file).size;
  }

  lines(): string[] {
    let text = this.#read();
    if (this.#replaced()) {
      text += this.#read();
      this.close();
      this.#open();
      text += this.#read();
    }
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    return lines;
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #open(): void {
    this.#offset = 0;
    try {
      this.#file = openSync(this.path, 'r');
      this.#inode = fstatSync(this.#file).ino;
    } catch {
      this.#file = undefined;
    }
  }

  #replaced(): boolean {
    try {
      const file = openSync(this.path, 'r');
      const { ino } = fstatSync(file);
      closeSync(file);
      return this.#file === undefined || ino !== this.#inode;
    } catch {
      return false;
    }
  }

  #read(): string {
    if (this.#file === undefined) return '';
    const chunk = Buffer.alloc(fstatSync(this.#file).size - this.#offset);
    const bytes = readSync(this.#file, chunk, 0, chunk.length, this.#offset);
    this.#offset += bytes;
    return chunk.toString('utf8', 0, bytes);
  }
}

/** With `follow`, goes on until `signal`. Rejects with `USAGE`, `PLUGIN_NAME_INVALID` or `FILE_UNREADABLE`. */
export async function printPluginLogs(
  { stateDirectory }: Pick<Config, 'stateDirectory'>,
  name: string,
  { lines, follow }: { readonly lines: string; readonly follow: boolean },
  print: (line: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  if (!/^\d{1,6}$/.test(lines)) throw new HearthError('USAGE', `--lines: expected a whole number, received ${lines}`);
  if (!/^[a-z][a-z0-9-]{0,63}$/.test(name))
    throw new HearthError('PLUGIN_NAME_INVALID', `plugin name: received ${JSON.stringify(name.slice(0, 80))}`);
  const [path, older] = pluginLogPaths(stateDirectory, name);
  const follower = new Follower(path);
  if (follow) follower.skip();
  const all = `${readAll(older)}${readAll(path)}`.split('\n').filter((line) => line !== '');
  if (all.length === 0 && !follow)
    throw new HearthError('FILE_NOT_FOUND', `${path}: expected a log; has plugin ${name} run here?`);
  for (const line of all.slice(Math.max(0, all.length - Number(lines)))) print(formatLine(line));
  while (follow && signal?.aborted !== true) {
    for (const line of follower.lines()) print(formatLine(line));
    await sleep(pollMs, undefined, { ...(signal && { signal }) }).catch(() => undefined);
  }
  follower.close();
}
