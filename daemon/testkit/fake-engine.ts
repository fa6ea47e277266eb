/** The engine without a model: says what the test says, and nothing that the schema of a request does not allow. */
import Ajv from 'ajv';
import { BehaviorSubject } from 'rxjs';
import { HearthError } from '../errors';
import type {
  EngineState,
  GenerateOptions,
  GenerateRequest,
  GenerateResult,
  JsonSchema,
  ModelInfo,
} from '../inference/types';
import { messageOf } from '../log';
import { model } from './items';

/**
 * A text, or any part of a result. `unchecked` lets a text through that does not fit the schema of its request, for what
 * a plugin does then.
 */
export type Answer = string | (Partial<GenerateResult> & { readonly unchecked?: boolean });
export type Reply = Answer | ((request: GenerateRequest, signal: AbortSignal) => Answer | Promise<Answer>);

const promptOf = ({ messages }: GenerateRequest): string =>
  messages.flatMap(({ parts }) => parts.flatMap((part) => (part.type === 'text' ? [part.text] : []))).join('\n');

/** Throws when the text is none the engine could have written. */
function checkFit(text: string, schema: JsonSchema): void {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`FakeEngine: a reply with a schema is JSON, this one is not (${messageOf(error)}): ${text}`);
  }
  const ajv = new Ajv({ strict: false, validateFormats: false });
  if (!ajv.validate(schema, value))
    throw new Error(`FakeEngine: the reply does not fit the schema of its request (${ajv.errorsText()}): ${text}`);
}

export class FakeEngine {
  readonly state$ = new BehaviorSubject<EngineState>({ phase: 'starting' });
  /** The requests as they arrived, pictures and sounds put in. */
  readonly jobs: GenerateRequest[] = [];
  /** Those that were cancelled while `hang` held them. */
  readonly aborted: GenerateRequest[] = [];
  /** For requests that no rule and no queued reply is for; an error when undefined. */
  reply: Reply | undefined;
  readonly #rules: { readonly prompt: string | RegExp; readonly reply: Reply }[] = [];
  readonly #queued: Reply[];

  /** `replies` are given one after the other. */
  constructor(replies: readonly Reply[] = []) {
    this.#queued = [...replies];
  }

  /** What prompts get that contain a text, or match; the first rule that fits counts, before any queued reply. */
  when(prompt: string | RegExp, reply: Reply): this {
    this.#rules.push({ prompt, reply });
    return this;
  }

  /** The model is loaded. */
  ready(info: ModelInfo = model): void {
    this.state$.next({ phase: 'ready', info });
  }

  async generate(request: GenerateRequest, { signal, onText }: GenerateOptions = {}): Promise<GenerateResult> {
    this.jobs.push(request);
    const reply = this.#replyTo(promptOf(request));
    const answer = typeof reply === 'function' ? await reply(request, signal ?? new AbortController().signal) : reply;
    const { unchecked = false, ...given } = typeof answer === 'string' ? { text: answer } : answer;
    const result: GenerateResult = {
      text: '',
      finishReason: 'stop',
      tokens: { prompt: 11, completion: 5, cached: 0 },
      timings: { encode: 0, prefill: 0, decode: 0, waiting: 0, firstToken: 0, total: 0 },
      slice: 'e2b',
      ...given,
    };
    // One that was cut off may end anywhere.
    if (request.schema !== undefined && !unchecked && result.finishReason === 'stop')
      checkFit(result.text, request.schema);
    for (const word of result.text.split(/(?<= )/)) onText?.(word);
    return result;
  }

  /** Replies that never come; a job ends when it is cancelled. */
  hang(): void {
    this.reply = (request, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          this.aborted.push(request);
          reject(new HearthError('ENGINE_CANCELLED', 'the job was cancelled'));
        });
      });
  }

  #replyTo(prompt: string): Reply {
    const rule = this.#rules.find((candidate) =>
      typeof candidate.prompt === 'string' ? prompt.includes(candidate.prompt) : candidate.prompt.test(prompt),
    );
    const reply = rule?.reply ?? this.#queued.shift() ?? this.reply;
    if (reply === undefined)
      throw new Error(`FakeEngine: the test has no reply for job ${this.jobs.length}: ${prompt.slice(0, 200)}`);
    return reply;
  }
}
