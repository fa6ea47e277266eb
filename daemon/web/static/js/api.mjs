/** Requests to the daemon this page came from. */

/** What the daemon answered instead of what it was asked for. */
export class Refused extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** @param {Response} response */
async function checked(response) {
  if (response.ok) return response;
  const body = await response.json().catch(() => undefined);
  const { code = 'HTTP', message = `the device answered with ${response.status}` } = body?.error ?? {};
  throw new Refused(response.status, code, message);
}

/**
 * @param {string} path
 * @returns {Promise<any>}
 */
export async function get(path) {
  return await (await checked(await fetch(path))).json();
}

/**
 * @param {string} path
 * @param {object} body
 * @param {AbortSignal} [signal]
 */
export async function post(path, body, signal) {
  const headers = { 'content-type': 'application/json' };
  return await checked(
    await fetch(path, { method: 'POST', headers, body: JSON.stringify(body), ...(signal && { signal }) }),
  );
}

/**
 * JSON objects of a body with one on each line, as they come.
 * @param {Response} response
 * @returns {AsyncGenerator<any, void>}
 */
export async function* lines(response) {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    const parts = (rest + (value ?? '')).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (part !== '') yield JSON.parse(part);
    if (done) return;
  }
}
