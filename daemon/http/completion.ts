/** One chat from request to reply, piece by piece: what both front doors stream, each in its own words. */
import { callPrompt, type FunctionCall, parseCalls, replySchema } from '../calls';
import { HearthError } from '../errors';
import type {
  FinishReason,
  GenerateRequest,
  GenerateResult,
  Message,
  ModelInfo,
  ModelPrompts,
} from '../inference/types';
import type { JobTerms, RequestJobs } from '../requests/jobs';
import { type Chat, joinParts } from './chat';
import type { Tools } from './tools';

/** Of all jobs the chat took: a reply with tools may take two. Milliseconds. */
export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  readonly promptMs: number;
  readonly decodeMs: number;
  readonly totalMs: number;
}

export type CompletionEvent =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'call'; readonly call: FunctionCall }
  | {
      readonly type: 'end';
      readonly finishReason: Exclude<FinishReason, 'cancelled'> | 'call';
      readonly usage: Usage;
      /** The slice it ran as. */
      readonly slice: string;
    };

/** Longest call, in tokens, where the request sets no limit. */
const maxCallTokens = 1024;

/** Pieces that come by callback, to be iterated over. */
class Pieces implements AsyncIterable<string> {
  readonly #waiting: string[] = [];
  #ended = false;
  #wake: () => void = () => undefined;

  push(piece: string): void {
    this.#waiting.push(piece);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<string> {
    for (;;) {
      if (this.#waiting.length > 0) yield this.#waiting.splice(0).join('');
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

/** No piece of the vocabulary is longer; what cannot fit is not worth the time of the tokenizer. */
const maxCharactersPerToken = 64;
const maxSchemaCharacters = 1 << 18;

/** Throws `CONTEXT_FULL` or `SCHEMA_INVALID` for what is too large whatever is in it. */
function checkSize({ messages, schema }: GenerateRequest, { contextLength }: ModelInfo): void {
  const characters = messages
    .flatMap(({ parts }) => parts)
    .reduce((sum, part) => sum + (part.type === 'text' ? part.text.length : 0), 0);
  const most = contextLength * maxCharactersPerToken;
  if (characters > most) {
    throw new HearthError(
      'CONTEXT_FULL',
      `a prompt of ${characters} characters does not fit a context of ${contextLength} tokens`,
    );
  }
  if (schema !== undefined && JSON.stringify(schema).length > maxSchemaCharacters)
    throw new HearthError('SCHEMA_INVALID', `expected at most ${maxSchemaCharacters} characters of schema`);
}

function usageOf(results: readonly GenerateResult[]): Usage {
  const sum = (value: (result: GenerateResult) => number): number =>
    results.reduce((total, result) => total + value(result), 0);
  return {
    promptTokens: sum(({ tokens }) => tokens.prompt),
    completionTokens: sum(({ tokens }) => tokens.completion),
    cachedTokens: sum(({ tokens }) => tokens.cached ?? 0),
    promptMs: sum(({ timings }) => timings.encode + timings.prefill),
    decodeMs: sum(({ timings }) => timings.decode),
    totalMs: sum(({ timings }) => timings.total),
  };
}

/** The last turn asks for a call; what comes before it stays as it is, and with it what the prefix cache holds. */
function askForCall(messages: readonly Message[], prompts: ModelPrompts, tools: Tools): Message[] {
  const last = messages.at(-1);
  if (last?.role !== 'user') return [...messages];
  const media = last.parts.filter((part) => part.type !== 'text');
  const words = last.parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n\n');
  const asked = callPrompt(prompts, tools.functions, words, tools.maxCalls);
  return [...messages.slice(0, -1), { role: 'user', parts: joinParts([...media, { type: 'text', text: asked }]) }];
}

/** The text of one job as it comes, and its result in the end. */
export async function* streamed(
  jobs: RequestJobs,
  request: GenerateRequest,
  terms: Omit<JobTerms, 'onText'>,
): AsyncGenerator<string, GenerateResult> {
  const pieces = new Pieces();
  const running = jobs.run(request, { ...terms, onText: (piece) => pieces.push(piece) });
  running.then(
    () => pieces.end(),
    () => pieces.end(),
  );
  yield* pieces;
  return await running;
}

/** Rejects, where nothing has been yielded yet or later, with a `HearthError`. */
export async function* complete(
  chat: Chat,
  model: ModelInfo,
  jobs: RequestJobs,
  terms: Omit<JobTerms, 'onText'>,
): AsyncGenerator<CompletionEvent, void> {
  const { tools, messages, schema, maxTokens = model.contextLength, stop, slice, imageSize, sampling } = chat;
  const common = {
    ...(slice !== undefined && { slice }),
    ...(imageSize !== undefined && { imageSize }),
  };
  const results: GenerateResult[] = [];
  const end = (result: GenerateResult, called: boolean): CompletionEvent => ({
    type: 'end',
    finishReason: called ? 'call' : result.finishReason === 'length' ? 'length' : 'stop',
    usage: usageOf(results),
    slice: result.slice,
  });

  if (tools !== undefined) {
    const asked: GenerateRequest = {
      ...common,
      messages: askForCall(messages, model.prompts, tools),
      schema: replySchema(tools.functions, tools),
      sampling: { temperature: 0 },
      maxTokens: chat.maxTokens ?? maxCallTokens,
    };
    checkSize(asked, model);
    const result = await jobs.run(asked, terms);
    results.push(result);
    if (result.finishReason === 'length') {
      yield end(result, false);
      return;
    }
    const calls = parseCalls(result.text);
    if (calls.length > 0) {
      for (const call of calls) yield { type: 'call', call };
      yield end(result, true);
      return;
    }
    if (tools.required) throw new HearthError('INTERNAL', 'the reply fits its schema but calls no function');
  }

  const request: GenerateRequest = {
    ...common,
    messages,
    ...(sampling !== undefined && { sampling }),
    maxTokens,
    ...(stop !== undefined && stop.length > 0 && { stop }),
    ...(schema !== undefined && { schema }),
  };
  checkSize(request, model);
  const running = streamed(jobs, request, terms);
  let next = await running.next();
  for (; next.done !== true; next = await running.next()) yield { type: 'text', text: next.value };
  const result = next.value;
  results.push(result);
  yield end(result, false);
}

/** The whole reply at once. */
export async function collect(events: AsyncIterable<CompletionEvent>): Promise<{
  readonly text: string;
  readonly calls: readonly FunctionCall[];
  readonly end: Extract<CompletionEvent, { type: 'end' }>;
}> {
  let text = '';
  const calls: FunctionCall[] = [];
  for await (const event of events) {
    if (event.type === 'text') text += event.text;
    else if (event.type === 'call') calls.push(event.call);
    else return { text, calls, end: event };
  }
  throw new HearthError('INTERNAL', 'a reply had no end');
}
