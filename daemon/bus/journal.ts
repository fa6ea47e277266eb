/**
 * The outbox's file: what waits for the broker, so that it outlives the daemon. Records are only appended; each has its
 * length and checksum, so that one that was cut off by a crash is told from a whole one, and everything before it counts.
 * The file is emptied whenever nothing waits, and written anew when it has grown to twice what may wait.
 */
import { closeSync, fdatasync, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { renameDurably } from '../atomic-file';
import { type Log, messageOf } from '../log';
import type { PublishOptions } from './bus';

export interface Stored {
  readonly topic: string;
  readonly payload: Buffer;
  readonly options: PublishOptions;
  /** Unix time in milliseconds; infinite for what stays true. */
  readonly expiresAtMs: number;
}

export interface JournalOptions {
  readonly path: string;
  /** Where its messages are to go. What waited for another broker is not sent to this one. */
  readonly destination: string;
  /** Beyond this, or twice what waits if that is more, the file is written anew with what still waits. */
  readonly maxFileBytes: number;
  readonly log: Log;
}

/** What a record says, beside the payload of a message. */
type Head =
  | { readonly destination: string }
  | { readonly done: number }
  | {
      readonly key: number;
      readonly topic: string;
      readonly options: Omit<PublishOptions, 'correlationData'>;
      readonly correlation?: string;
      /** Absent where it never expires. */
      readonly expiresAtMs?: number;
    };

/** Length and checksum of the body; the body begins with the length of its JSON. */
const prefixBytes = 8;
/** What waits longer than this is made to outlive a power cut, too; all else outlives the process. */
const syncAfterMs = 1000;

export class Journal {
  readonly #options: JournalOptions;
  readonly #live = new Map<number, Stored>();
  #fd: number | undefined;
  #size = 0;
  #rewriteAbove = 0;
  #nextKey = 1;
  #unsynced = false;
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: JournalOptions) {
    this.#options = options;
  }

  /** Never throws: without a file, which is said in the log, messages wait in memory only. */
  static open(options: JournalOptions): Journal {
    const journal = new Journal(options);
    const { path, log } = options;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      journal.#recover();
      journal.#rewrite();
    } catch (error) {
      log.error({ path, reason: messageOf(error) }, 'FILE_WRITE_FAILED: results wait for the broker in memory only');
    }
    return journal;
  }

  /** What waits, by its key, oldest first: at first, what an earlier process left. */
  get waiting(): ReadonlyMap<number, Stored> {
    return this.#live;
  }

  /** A key for `remove`. The message is in the file when this returns, unless writing failed, which is logged. */
  put(message: Stored): number {
    const key = this.#nextKey++;
    this.#live.set(key, message);
    this.#append(putRecord(key, message));
    return key;
  }

  remove(key: number): void {
    if (!this.#live.delete(key)) return;
    this.#append(record({ done: key }));
  }

  /** What is still there stays for the next process. */
  close(): void {
    clearTimeout(this.#timer);
    if (this.#fd === undefined) return;
    if (this.#unsynced && this.#live.size > 0) fsyncSync(this.#fd);
    closeSync(this.#fd);
    this.#fd = undefined;
  }

  #append(bytes: Buffer): void {
    const fd = this.#fd;
    if (fd === undefined) return;
    try {
      if (this.#live.size === 0) this.#empty(fd);
      else if (this.#size + bytes.length > this.#rewriteAbove) this.#rewrite();
      else this.#size += writeWhole(fd, bytes, this.#size);
      this.#syncSoon();
    } catch (error) {
      this.#giveUp(error);
    }
  }

  /** Half a record in the middle would hide what comes after it: the file ends here, and so does its use. */
  #giveUp(error: unknown): void {
    const { path, log } = this.#options;
    log.error({ path, reason: messageOf(error) }, 'FILE_WRITE_FAILED: results wait for the broker in memory only');
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd === undefined) return;
    try {
      ftruncateSync(fd, this.#size);
      closeSync(fd);
    } catch {
      // A record that is cut off is noticed when it is read.
    }
  }

  #empty(fd: number): void {
    const head = record({ destination: this.#options.destination });
    ftruncateSync(fd, head.length);
    this.#size = head.length;
  }

  /** A new file with what still waits takes the old one's place at once or not at all. */
  #rewrite(): void {
    const { path, destination } = this.#options;
    const temporary = `${path}.new`;
    const records = [record({ destination }), ...Array.from(this.#live, ([key, message]) => putRecord(key, message))];
    const bytes = Buffer.concat(records);
    const fd = openSync(temporary, 'w', 0o600);
    try {
      writeWhole(fd, bytes, 0);
      fsyncSync(fd);
      renameDurably(temporary, path);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = fd;
    this.#size = bytes.length;
    // Where what waits fills the file by itself, not for every message.
    this.#rewriteAbove = Math.max(this.#options.maxFileBytes, 2 * bytes.length);
    this.#unsynced = false;
  }

  #syncSoon(): void {
    this.#unsynced = true;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // A broker that answers empties the file sooner: then there is nothing to wear out a card for.
      if (this.#fd === undefined || this.#live.size === 0) return;
      this.#unsynced = false;
      fdatasync(this.#fd, (error) => {
        if (error !== null) this.#options.log.warn({ reason: error.message }, 'the outbox could not be made durable');
      });
    }, syncAfterMs).unref();
  }

  #recover(): void {
    const { path, destination, log } = this.#options;
    const { heads, lostBytes } = readRecords(path);
    if (lostBytes > 0) log.warn({ path, lostBytes }, 'the outbox ends in a record that was cut off');
    const [first] = heads;
    if (first === undefined) return;
    if (!('destination' in first.head) || first.head.destination !== destination) {
      log.warn({ path, records: heads.length }, 'the outbox is for another broker or base topic; it is emptied');
      return;
    }
    for (const { head, payload } of heads) {
      if ('done' in head) this.#live.delete(head.done);
      else if ('key' in head) {
        this.#live.set(head.key, storedOf(head, payload));
        this.#nextKey = Math.max(this.#nextKey, head.key + 1);
      }
    }
  }
}

function putRecord(key: number, { topic, payload, options, expiresAtMs }: Stored): Buffer {
  const { correlationData, ...rest } = options;
  const head: Head = {
    key,
    topic,
    options: rest,
    ...(correlationData !== undefined && { correlation: Buffer.from(correlationData).toString('base64') }),
    ...(Number.isFinite(expiresAtMs) && { expiresAtMs }),
  };
  return record(head, payload);
}

function storedOf(head: Extract<Head, { key: number }>, payload: Buffer): Stored {
  const { topic, options, correlation, expiresAtMs = Number.POSITIVE_INFINITY } = head;
  return {
    topic,
    payload,
    options: { ...options, ...(correlation !== undefined && { correlationData: Buffer.from(correlation, 'base64') }) },
    expiresAtMs,
  };
}

function record(head: Head, payload: Buffer = Buffer.alloc(0)): Buffer {
  const json = Buffer.from(JSON.stringify(head));
  const bytes = Buffer.alloc(prefixBytes + 4 + json.length + payload.length);
  bytes.writeUInt32LE(json.length, prefixBytes);
  json.copy(bytes, prefixBytes + 4);
  payload.copy(bytes, prefixBytes + 4 + json.length);
  const body = bytes.subarray(prefixBytes);
  bytes.writeUInt32LE(body.length, 0);
  bytes.writeUInt32LE(crc32(body), 4);
  return bytes;
}

/** All whole records up to the first that is none. */
function readRecords(path: string): { heads: { head: Head; payload: Buffer }[]; lostBytes: number } {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { heads: [], lostBytes: 0 };
    throw error;
  }
  const heads: { head: Head; payload: Buffer }[] = [];
  let at = 0;
  while (at + prefixBytes + 4 <= bytes.length) {
    const end = at + prefixBytes + bytes.readUInt32LE(at);
    const body = bytes.subarray(at + prefixBytes, end);
    if (end > bytes.length || body.length < 4 || crc32(body) !== bytes.readUInt32LE(at + 4)) break;
    const headEnd = 4 + body.readUInt32LE(0);
    heads.push({ head: JSON.parse(body.toString('utf8', 4, headEnd)) as Head, payload: body.subarray(headEnd) });
    at = end;
  }
  return { heads, lostBytes: bytes.length - at };
}

function writeWhole(fd: number, bytes: Buffer, at: number): number {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
  return bytes.length;
}
