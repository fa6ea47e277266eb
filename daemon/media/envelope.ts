/** Unwraps the two text forms a picture may arrive in: `{"image":"<base64>","ts":...}` and `data:image/...;base64,...`. */
import { HearthError } from '../errors';
import { sniff } from './sniff';

export interface Unwrapped {
  readonly bytes: Uint8Array;
  /** Unix time in seconds, when the sender gave one. */
  readonly capturedTs?: number;
}

const badEnvelope = (message: string, cause?: unknown): HearthError =>
  new HearthError('MEDIA_BAD_ENVELOPE', message, cause === undefined ? undefined : { cause });

/** Standard or URL-safe alphabet, optional padding, line breaks allowed. */
const base64Pattern = /^[A-Za-z0-9+/_\-\r\n]*={0,2}[\r\n]*$/;

function fromBase64(text: string, where: string): Uint8Array {
  if (!base64Pattern.test(text)) throw badEnvelope(`${where}: expected base64, received other characters`);
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length === 0) throw badEnvelope(`${where}: expected base64 of a picture, received none`);
  return bytes;
}

function fromDataUrl(text: string, where: string): Uint8Array {
  const comma = text.indexOf(',');
  if (comma < 0 || comma > 256)
    throw badEnvelope(`${where}: expected "data:image/...;base64,", received no comma in its first 256 characters`);
  const header = text.slice(0, comma);
  if (!/^data:image\/[a-z0-9.+-]+(;[^;,]*)*;base64$/i.test(header)) {
    throw badEnvelope(`${where}: expected "data:image/...;base64,", received ${JSON.stringify(header.slice(0, 60))}`);
  }
  return fromBase64(text.slice(comma + 1), where);
}

function fromText(text: string, where: string): Uint8Array {
  return text.startsWith('data:') ? fromDataUrl(text, where) : fromBase64(text, where);
}

function fromJson(text: string): Unwrapped {
  let value: unknown;
  try {
    value = JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text);
  } catch (error) {
    throw badEnvelope(
      'frame: expected JSON {"image": base64, "ts"?: seconds}, received text that does not parse',
      error,
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badEnvelope('frame: expected a JSON object {"image": base64, "ts"?: seconds}');
  }
  const { image, ts } = value as { image?: unknown; ts?: unknown };
  if (typeof image !== 'string') {
    throw badEnvelope(`frame.image: expected a base64 string, received ${image === null ? 'null' : typeof image}`);
  }
  if (ts === undefined || ts === null) return { bytes: fromText(image, 'frame.image') };
  if (typeof ts !== 'number' || !(ts > 0 && ts < 1e11)) {
    throw badEnvelope(`frame.ts: expected Unix time in seconds, received ${typeof ts === 'number' ? ts : typeof ts}`);
  }
  return { bytes: fromText(image, 'frame.image'), capturedTs: ts };
}

/**
 * Returns the picture's own bytes. A payload in neither text form comes back as it is, so that the image decoder
 * judges it. Envelopes do not nest. Throws `MEDIA_BAD_ENVELOPE`.
 */
export function unwrap(payload: Uint8Array): Unwrapped {
  const kind = sniff(payload);
  if (kind !== 'json' && kind !== 'data-url') return { bytes: payload };
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8');
  return kind === 'json' ? fromJson(text) : { bytes: fromDataUrl(text, 'frame') };
}
