/** Reads the small files of a checkpoint: nothing but regular files, and never more of one than it may have. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { HearthError } from '../../errors';

const maxJsonBytes = 1 << 20;

/** Undefined for what JSON cannot say, or what is nested too deep to be written. */
export function toJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

/** What a file says, short enough for a message, whatever it is. */
export function shown(value: unknown): string {
  const text = toJson(value) ?? (value === undefined ? 'nothing' : 'something deeply nested');
  return text.length > 96 ? `${text.slice(0, 96)}...` : text;
}

export const malformed = (path: string, message: string, cause?: unknown): HearthError =>
  new HearthError('CHECKPOINT_MALFORMED', `${path}: ${message}`, cause === undefined ? undefined : { cause });

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The caller closes `fd`. Throws `CHECKPOINT_INCOMPLETE`. */
export function openRegularFile(path: string): { fd: number; sizeBytes: number } {
  let fd: number;
  try {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'does not exist' : `cannot be opened (${code})`;
    throw new HearthError('CHECKPOINT_INCOMPLETE', `${path}: expected a file, it ${why}`, { cause });
  }
  const stat = fstatSync(fd);
  if (stat.isFile()) return { fd, sizeBytes: stat.size };
  closeSync(fd);
  throw new HearthError('CHECKPOINT_INCOMPLETE', `${path}: expected a regular file, found something else`);
}

/** Fills `bytes` from `offset` on. Throws `CHECKPOINT_MALFORMED` where the file ends or cannot be read. */
export function readExactly(fd: number, path: string, offset: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    let got: number;
    try {
      got = readSync(fd, bytes, done, bytes.length - done, offset + done);
    } catch (cause) {
      throw malformed(
        path,
        `cannot be read at byte ${offset + done} (${(cause as NodeJS.ErrnoException).code})`,
        cause,
      );
    }
    if (got === 0)
      throw malformed(path, `the file ends at byte ${offset + done}, ${bytes.length - done} before what it announces`);
    done += got;
  }
}

export function readWhole(path: string, maxBytes: number): Buffer {
  const { fd, sizeBytes } = openRegularFile(path);
  try {
    if (sizeBytes > maxBytes) throw malformed(path, `expected at most ${maxBytes} bytes, found ${sizeBytes}`);
    const bytes = Buffer.alloc(sizeBytes);
    readExactly(fd, path, 0, bytes);
    return bytes;
  } finally {
    closeSync(fd);
  }
}

export function parseJsonObject(path: string, bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw malformed(path, 'expected JSON in UTF-8, found bytes that do not parse', cause);
  }
  if (!isObject(value)) throw malformed(path, `expected a JSON object, found ${shown(value)}`);
  return value;
}

export function readJsonObject(path: string, maxBytes = maxJsonBytes): Record<string, unknown> {
  return parseJsonObject(path, readWhole(path, maxBytes));
}
