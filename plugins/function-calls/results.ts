/** Results of calls that others execute: they come on a topic, with the id of the call, within a time. */
import { PluginError } from '../../daemon/plugins/api';

const maxResultBytes = 16_384;
const maxWaiting = 256;

interface Waiting {
  readonly topic: string;
  readonly settle: (outcome: { readonly result: unknown } | PluginError) => void;
}

function parse(topic: string, payload: Uint8Array): unknown {
  if (payload.length > maxResultBytes) {
    throw new PluginError(
      'MESSAGE_INVALID',
      `${topic}: expected a result of at most ${maxResultBytes} bytes, received ${payload.length}`,
    );
  }
  const text = Buffer.from(payload).toString();
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export class Results {
  readonly #waiting = new Map<string, Waiting>();

  /** Resolves to what comes on the topic for this call. Rejects with `CALL_TIMEOUT`, or `MESSAGE_INVALID`. */
  async wait(id: string, topic: string, timeoutMs: number, send: () => Promise<void>): Promise<unknown> {
    if (this.#waiting.size >= maxWaiting)
      throw new PluginError('CALL_TIMEOUT', `expected at most ${maxWaiting} calls that wait for their results`);
    let timer: NodeJS.Timeout | undefined;
    try {
      const outcome = await new Promise<{ readonly result: unknown } | PluginError>((resolve, reject) => {
        this.#waiting.set(id, { topic, settle: resolve });
        // The time begins once the call is out; an answer may be there before that is known.
        send().then(() => {
          timer = setTimeout(
            () => resolve(new PluginError('CALL_TIMEOUT', `expected a result on ${topic} within ${timeoutMs} ms`)),
            timeoutMs,
          );
        }, reject);
      });
      if (outcome instanceof PluginError) throw outcome;
      return outcome.result;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  /** A message with an `id` is for the call of that id; any other for the one that has waited longest on the topic. */
  receive(topic: string, payload: Uint8Array): void {
    let value: unknown;
    let failure: PluginError | undefined;
    try {
      value = parse(topic, payload);
    } catch (error) {
      failure = error as PluginError;
    }
    const id =
      typeof value === 'object' && value !== null && Object.hasOwn(value, 'id') ? Reflect.get(value, 'id') : undefined;
    const found = [...this.#waiting].find(
      ([waiting, { topic: own }]) => own === topic && (id === undefined || id === waiting),
    );
    found?.[1].settle(failure ?? { result: value });
  }
}
