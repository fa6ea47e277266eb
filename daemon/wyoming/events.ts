/**
 * Events of the Wyoming protocol on the wire: a line of JSON (`type`, `data`, `data_length`, `payload_length`), then
 * `data_length` bytes of JSON that are added to `data`, then `payload_length` bytes as they are.
 */
import { isUtf8 } from 'node:buffer';
import { HearthError } from '../errors';
import { isDeeperThan, isRecord, maxJsonDepth } from '../json';
import { version } from '../version';

export interface WyomingEvent {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly payload: Buffer;
}

const maxHeaderBytes = 64 << 10;
const maxDataBytes = 64 << 10;
const maxPayloadBytes = 1 << 20;
const newline = 0x0a;
const nothing = Buffer.alloc(0);

const invalid = (what: string): HearthError => new HearthError('WYOMING_INVALID', `wyoming: ${what}`);

export function encodeEvent(type: string, data: Readonly<Record<string, unknown>> = {}): Buffer {
  const body = Buffer.from(JSON.stringify(data));
  const header = Buffer.from(`${JSON.stringify({ type, version, data_length: body.length })}\n`);
  return Buffer.concat([header, body]);
}

function parseObject(bytes: Buffer, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = isUtf8(bytes) ? JSON.parse(bytes.toString('utf8')) : undefined;
  } catch {
    value = undefined;
  }
  if (!isRecord(value) || isDeeperThan(value, maxJsonDepth)) throw invalid(`${what}: expected a JSON object`);
  return value;
}

function lengthOf(value: unknown, what: string, most: number): number {
  if (value === undefined || value === null) return 0;
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most) return value as number;
  throw invalid(`${what}: expected at most ${most} bytes, received ${JSON.stringify(value).slice(0, 40)}`);
}

interface Header {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly dataBytes: number;
  readonly payloadBytes: number;
}

function parseHeader(line: Buffer): Header {
  const { type, data = {}, data_length: dataLength, payload_length: payloadLength } = parseObject(line, 'header');
  if (typeof type !== 'string' || type === '' || type.length > 128) throw invalid('type: expected a name');
  if (data !== null && !isRecord(data)) throw invalid('data: expected an object');
  return {
    type,
    data: data ?? {},
    dataBytes: lengthOf(dataLength, 'data_length', maxDataBytes),
    payloadBytes: lengthOf(payloadLength, 'payload_length', maxPayloadBytes),
  };
}

/** Bytes as they arrive to whole events. Holds no more than one event; a byte is copied once, however they arrive. */
export class EventReader {
  #chunks: Buffer[] = [];
  #length = 0;
  #header: Header | undefined;

  /** Throws `WYOMING_INVALID`; nothing can be read after that. */
  *push(chunk: Buffer): Generator<WyomingEvent, void> {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#header === undefined) {
        const end = rest.indexOf(newline);
        const length = end < 0 ? rest.length : end;
        if (this.#length + length > maxHeaderBytes) throw invalid(`header: expected at most ${maxHeaderBytes} bytes`);
        this.#add(rest.subarray(0, length));
        if (end < 0) return;
        rest = rest.subarray(end + 1);
        this.#header = parseHeader(this.#take());
      }
      const { type, data, dataBytes, payloadBytes } = this.#header;
      const wanted = dataBytes + payloadBytes - this.#length;
      this.#add(rest.subarray(0, wanted));
      rest = rest.subarray(wanted);
      if (this.#length < dataBytes + payloadBytes) return;
      const body = this.#take();
      this.#header = undefined;
      const more = dataBytes === 0 ? {} : parseObject(body.subarray(0, dataBytes), 'data');
      yield { type, data: { ...data, ...more }, payload: payloadBytes === 0 ? nothing : body.subarray(dataBytes) };
    }
  }

  #add(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#chunks.push(bytes);
    this.#length += bytes.length;
  }

  #take(): Buffer {
    const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#length = 0;
    return all;
  }
}
