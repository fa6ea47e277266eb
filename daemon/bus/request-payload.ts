/** What a request has to be before anyone looks at what it asks: a JSON object of bounded size and depth, with an id. */
import { isUtf8 } from 'node:buffer';
import { ulid } from 'ulid';
import { HearthError } from '../errors';
import { isDeeperThan, maxJsonDepth } from '../json';
import { messageOf } from '../log';

const maxIdLength = 128;

export interface RequestPayload {
  readonly id: string;
  /** The id is the requester's own: a second request with it gets the first one's answer. */
  readonly own: boolean;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** Nothing is an empty object. Throws `REQUEST_TOO_LARGE` or `REQUEST_BAD_JSON`. */
export function parseRequest(payload: Buffer, maxRequestBytes: number): RequestPayload {
  if (payload.length > maxRequestBytes) {
    throw new HearthError(
      'REQUEST_TOO_LARGE',
      `request: expected at most ${maxRequestBytes} bytes, received ${payload.length}`,
    );
  }
  let value: unknown = {};
  if (!isUtf8(payload)) throw badJson('bytes that are not UTF-8');
  if (payload.length > 0) {
    try {
      value = JSON.parse(payload.toString('utf8'));
    } catch (cause) {
      throw badJson(`text that does not parse (${shorten(messageOf(cause))})`);
    }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badJson(value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`);
  }
  if (isDeeperThan(value, maxJsonDepth)) throw badJson(`more than ${maxJsonDepth} levels of nesting`);
  const fields = value as Record<string, unknown>;
  const { id } = fields as { id?: unknown };
  if (id === undefined) return { id: ulid(), own: false, payload: fields };
  if (typeof id !== 'string' || id.length === 0 || id.length > maxIdLength) {
    throw badJson(`an id that is not text of 1 to ${maxIdLength} characters`);
  }
  return { id, own: true, payload: fields };
}

function badJson(received: string): HearthError {
  return new HearthError(
    'REQUEST_BAD_JSON',
    `request: expected a JSON object with an optional id, received ${received}`,
  );
}

export function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}...` : text;
}
