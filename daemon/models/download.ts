/**
 * One file from the catalogue to the disk: resumed where it was left, held to its size and its hash, and in its place
 * only when it is whole. Beside the file lie `<file>.part` and, with what the server said of it, `<file>.part.json`.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HearthError } from '../errors';
import { type Log, messageOf } from '../log';
import type { SourceFile } from './catalogue';
import { fetchSource, type Lookup } from './fetch-source';

export interface DownloadOptions {
  readonly token?: string | undefined;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly onProgress: (phase: 'downloading' | 'verifying', received: number, total: number) => void;
  /** A connection that brings nothing for this long is given up. Default 30 s. */
  readonly stallMs?: number;
  /** First wait before another attempt; doubles up to a minute. Default 1 s. */
  readonly retryDelayMs?: number;
  /** Attempts that bring nothing, one after the other, before it is given up. Default 8. */
  readonly maxAttempts?: number;
  readonly lookup?: Lookup;
  /** Bytes the disk of `directory` has for us. */
  readonly freeBytes?: (directory: string) => Promise<number>;
}

/** Larger than any model that fits a board. */
const maxFileBytes = 64 * 2 ** 30;
/** Left for everything else on the disk. */
const reserveBytes = 256 << 20;
const maxRetryDelayMs = 60_000;

/** What identifies a version of the file on its server: a strong ETag, or the date of its last change. */
interface PartFacts {
  readonly validator?: string;
  readonly total: number;
}

/** An attempt failed; another may do better. */
class Interrupted extends Error {
  constructor(
    readonly error: HearthError,
    readonly waitMs = 0,
  ) {
    super(error.message);
  }
}

export async function freeBytesOf(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return Math.max(0, bavail * bsize - reserveBytes);
}

async function sizeOf(path: string): Promise<number> {
  return await stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

/**
 * Resolves to its size when the file is at `path`, complete and with the right hash. Rejects with `CANCELLED`, `DISK_FULL`,
 * `FILE_WRITE_FAILED`, `MODEL_HASH_MISMATCH`, `MODEL_PULL_REFUSED`, or `WEB_REQUEST_FAILED` after too many attempts. Except after a
 * wrong hash, what has come so far is kept.
 */
export async function download(file: SourceFile, path: string, options: DownloadOptions): Promise<number> {
  const there = await sizeOf(path);
  if (there > 0) return there;
  const part = `${path}.part`;
  // A part of another version, behind a server that says nothing of versions, shows in the hash alone: once more then.
  for (let fresh = false; ; fresh = true) {
    const resumed = (await sizeOf(part)) > 0;
    await fill(file, part, options);
    const found = await hashOf(part, options);
    if (found === file.sha256) break;
    await forget(part);
    if (fresh || !resumed) {
      throw new HearthError(
        'MODEL_HASH_MISMATCH',
        `${shown(file)}: expected a file with SHA-256 ${file.sha256}, received one with ${found}`,
      );
    }
    options.log.warn({ url: shown(file) }, 'the resumed download has a wrong hash; it begins again');
  }
  await rename(part, path);
  await rm(`${part}.json`, { force: true });
  return await sizeOf(path);
}

async function forget(part: string): Promise<void> {
  await rm(part, { force: true });
  await rm(`${part}.json`, { force: true });
}

/** Attempts, until the part is as long as the file. */
async function fill(file: SourceFile, part: string, options: DownloadOptions): Promise<void> {
  const { log, signal, retryDelayMs = 1000, maxAttempts = 8 } = options;
  for (let failures = 0; ; ) {
    const before = await sizeOf(part);
    try {
      if (signal.aborted) throw cancelled();
      return await attempt(file, part, options);
    } catch (error) {
      if (signal.aborted) throw cancelled();
      if (!(error instanceof Interrupted)) throw error;
      failures = (await sizeOf(part)) > before ? 1 : failures + 1;
      if (failures >= maxAttempts) throw error.error;
      const backOff = Math.min(maxRetryDelayMs, retryDelayMs * 2 ** (failures - 1));
      const waitMs = Math.max(error.waitMs, backOff * (0.5 + Math.random() / 2));
      log.warn({ reason: error.message, waitMs: Math.round(waitMs) }, 'the download was interrupted; it goes on');
      await pause(waitMs, signal);
    }
  }
}

const cancelled = (): HearthError => new HearthError('CANCELLED', 'the download was cancelled; what has come is kept');

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}

async function factsOf(part: string): Promise<Partial<PartFacts>> {
  try {
    const { validator, total } = JSON.parse(await readFile(`${part}.json`, 'utf8')) as Partial<PartFacts>;
    return {
      ...(typeof validator === 'string' && /^[\x20-\x7e]{1,512}$/.test(validator) && { validator }),
      ...(typeof total === 'number' && { total }),
    };
  } catch {
    return {};
  }
}

/** One request, from where the part ends. */
async function attempt(file: SourceFile, part: string, options: DownloadOptions): Promise<void> {
  const { stallMs = 30_000, signal } = options;
  const stalled = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const alive = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => stalled.abort(), stallMs);
  };
  alive();
  const both = AbortSignal.any([signal, stalled.signal]);
  try {
    const held = await sizeOf(part);
    const known = held > 0 ? await factsOf(part) : {};
    if (held > 0 && held === (file.bytes ?? known.total)) return;
    const { validator } = known;
    const response = await fetchSource(file.url, {
      token: options.token,
      signal: both,
      ...(options.lookup !== undefined && { lookup: options.lookup }),
      headers: validator === undefined ? {} : { range: `bytes=${held}-`, 'if-range': validator },
    });
    try {
      const { from, total } = await placeOf(response, file, part, validator === undefined ? 0 : held);
      await checkSize(file, part, from, total, options);
      await remember(part, response, total);
      await write(response, file, part, { from, total, alive, onProgress: options.onProgress });
    } finally {
      await response.body?.cancel().catch(() => undefined);
    }
  } catch (error) {
    throw stalled.signal.aborted && !signal.aborted
      ? interrupted(file, `expected data, received none for ${stallMs} ms`)
      : asInterrupted(error, file);
  } finally {
    clearTimeout(timer);
  }
}

/** Its URL for people to read: without the query, which may be a signature that opens it. */
function shown({ url }: SourceFile): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}

function interrupted(file: SourceFile, why: string, waitMs = 0): Interrupted {
  return new Interrupted(new HearthError('WEB_REQUEST_FAILED', `${shown(file)}: ${why}`), waitMs);
}

/** What an attempt failed with: final, or worth another. */
function asInterrupted(error: unknown, file: SourceFile): unknown {
  if (error instanceof Interrupted) return error;
  if (error instanceof HearthError) return error.code === 'WEB_REQUEST_FAILED' ? new Interrupted(error) : error;
  const { code } = error as { code?: unknown };
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new HearthError('DISK_FULL', `${shown(file)}: the disk is full`, { cause: error });
  if (typeof code === 'string' && /^E(ACCES|PERM|ROFS|IO|ISDIR|NOENT)$/.test(code))
    return new HearthError('FILE_WRITE_FAILED', `${shown(file)}: ${code}`, { cause: error });
  const { cause } = error as { cause?: unknown };
  return interrupted(file, messageOf(cause ?? error));
}

/** Where in the file the body begins, and how long the file is. Rejects with `MODEL_PULL_REFUSED` or `Interrupted`. */
async function placeOf(
  response: Response,
  file: SourceFile,
  part: string,
  asked: number,
): Promise<{ readonly from: number; readonly total: number }> {
  const { status, headers } = response;
  const encoding = headers.get('content-encoding');
  if (encoding !== null && encoding !== 'identity')
    throw refused(file, `the file as it is, received it as ${encoding.slice(0, 40)}`);
  if (status === 206) {
    const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '') ?? [];
    if (Number(from) === asked) return { from: asked, total: sized(file, total === '*' ? null : Number(total)) };
    await forget(part);
    throw interrupted(file, `expected bytes from ${asked} on, received ${headers.get('content-range') ?? 'others'}`);
  }
  if (status === 200) {
    const length = headers.get('content-length');
    return { from: 0, total: sized(file, length === null ? null : Number(length)) };
  }
  if (status === 416) {
    await forget(part);
    throw interrupted(file, 'what is there of the file is no beginning of it');
  }
  if (status === 408 || status === 429 || status >= 500) {
    const wanted = Number(headers.get('retry-after'));
    throw interrupted(
      file,
      `expected the file, received status ${status}`,
      Number.isFinite(wanted) ? Math.min(maxRetryDelayMs, Math.max(0, wanted * 1000)) : 0,
    );
  }
  throw refused(file, `status 200 or 206, received ${status}`);
}

/** Somebody has to say it beforehand, or the disk might be filled by a server that never ends. */
function sized(file: SourceFile, said: number | null): number {
  const total = said ?? file.bytes;
  if (total !== null && total > 0) return total;
  throw refused(file, 'a server that says the size, or `bytes` in the configuration');
}

function refused(file: SourceFile, what: string): HearthError {
  return new HearthError('MODEL_PULL_REFUSED', `${shown(file)}: expected ${what}`);
}

async function checkSize(
  file: SourceFile,
  part: string,
  from: number,
  total: number,
  { freeBytes = freeBytesOf }: DownloadOptions,
): Promise<void> {
  if (file.bytes !== null && total !== file.bytes) throw refused(file, `${file.bytes} bytes, received ${total}`);
  if (total > maxFileBytes) throw refused(file, `at most ${maxFileBytes} bytes, received ${total}`);
  const free = await freeBytes(dirname(part));
  // What is replaced is free once more.
  const held = from === 0 ? await sizeOf(part) : 0;
  if (total - from > free + held) {
    throw new HearthError(
      'DISK_FULL',
      `${shown(file)}: expected ${total - from} bytes free beside a reserve of ${reserveBytes}, found ${free}`,
    );
  }
}

async function remember(part: string, { headers }: Response, total: number): Promise<void> {
  const tag = headers.get('etag');
  const validator = tag !== null && !tag.startsWith('W/') ? tag : headers.get('last-modified');
  const facts: PartFacts = { total, ...(validator !== null && { validator }) };
  await writeFile(`${part}.json`, JSON.stringify(facts));
}

interface Writing {
  readonly from: number;
  readonly total: number;
  readonly alive: () => void;
  readonly onProgress: DownloadOptions['onProgress'];
}

async function write(response: Response, file: SourceFile, part: string, writing: Writing): Promise<void> {
  const { from, total, alive, onProgress } = writing;
  let received = from;
  let handle: FileHandle | undefined;
  try {
    handle = await open(part, from === 0 ? 'w' : 'a', 0o600);
    onProgress('downloading', received, total);
    for await (const chunk of response.body ?? []) {
      alive();
      const bytes = chunk as Uint8Array;
      if (received + bytes.length > total) {
        await forget(part);
        throw refused(file, `${total} bytes, received more`);
      }
      // A write may take less than it is given.
      for (let done = 0; done < bytes.length; )
        done += (await handle.write(bytes, done, bytes.length - done)).bytesWritten;
      received += bytes.length;
      onProgress('downloading', received, total);
    }
    await handle.sync();
  } finally {
    await handle?.close();
  }
  if (received < total) throw interrupted(file, `expected ${total} bytes, received ${received}`);
}

/** Of what is on the disk, not of what was sent there. */
async function hashOf(path: string, { signal, onProgress }: DownloadOptions): Promise<string> {
  const total = await sizeOf(path);
  onProgress('verifying', total, total);
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { signal, highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  } catch (error) {
    if (signal.aborted) throw cancelled();
    throw new HearthError('FILE_UNREADABLE', `${path}: ${messageOf(error)}`, { cause: error });
  }
  return hash.digest('hex');
}
