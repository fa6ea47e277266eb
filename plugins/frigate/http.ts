/** Frigate's HTTP API, with bounds on time, bytes and attempts. */
import { setTimeout as wait } from 'node:timers/promises';
import { PluginError } from '../../daemon/plugins/api';

export interface HttpOptions {
  readonly url: string;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly retryDelayMs: number;
  readonly signal: AbortSignal;
}

/** An object's end is told before it is in Frigate's database: the first answer may be 404. */
const attempts = 4;

class Refused extends PluginError {
  constructor(
    message: string,
    readonly again: boolean,
    cause?: unknown,
  ) {
    super('WEB_REQUEST_FAILED', message, { cause, retryable: again });
  }
}

async function bodyOf(response: Response, what: string, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Not what a header claims: what comes.
  for await (const chunk of response.body ?? []) {
    const bytes = chunk as Uint8Array;
    size += bytes.length;
    if (size > maxBytes) throw new Refused(`${what}: expected at most ${maxBytes} bytes, received more`, false);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

async function once(options: HttpOptions, path: string, init: RequestInit, maxBytes: number): Promise<Buffer> {
  const what = `${init.method ?? 'GET'} ${path}`;
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeoutMs)]);
  let response: Response;
  try {
    response = await fetch(options.url.replace(/\/$/, '') + path, { ...init, signal, redirect: 'error' });
    if (response.status === 200) return await bodyOf(response, what, maxBytes);
    await response.body?.cancel();
  } catch (error) {
    if (error instanceof Refused) throw error;
    const { name, message, cause } = error as Error;
    const reason = name === 'TimeoutError' ? `nothing within ${options.timeoutMs} ms` : message;
    const detail = cause instanceof Error ? ` (${cause.message})` : '';
    throw new Refused(`${what}: expected an answer, received ${reason}${detail}`, true, error);
  }
  const again = response.status === 404 || response.status === 429 || response.status >= 500;
  throw new Refused(`${what}: expected status 200, received ${response.status}`, again);
}

async function request(options: HttpOptions, path: string, init: RequestInit, maxBytes: number): Promise<Buffer> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(options, path, init, maxBytes);
    } catch (error) {
      if (!(error instanceof Refused) || !error.again || attempt === attempts || options.signal.aborted) throw error;
      await wait(options.retryDelayMs * attempt, undefined, { signal: options.signal });
    }
  }
}

/** The picture of a tracked object, without what Frigate draws on it. Rejects with `WEB_REQUEST_FAILED`. */
export async function getSnapshot(options: HttpOptions, id: string): Promise<Uint8Array> {
  return await request(options, `/api/events/${id}/snapshot.jpg?bbox=0&timestamp=0`, {}, options.maxBytes);
}

/** Rejects with `WEB_REQUEST_FAILED`. */
export async function setDescription(options: HttpOptions, id: string, description: string): Promise<void> {
  const init = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ description }),
  };
  await request(options, `/api/events/${id}/description`, init, 65_536);
}
