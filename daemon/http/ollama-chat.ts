/** `/api/chat` and `/api/generate` as Ollama has them: their bodies to a chat, and a reply to its objects. */
import { callText, resultText } from '../calls';
import { HearthError } from '../errors';
import type { JsonSchema, Message, Part, Sampling } from '../inference/types';
import { isRecord } from '../json';
import { imageOf } from '../requests/media';
import { type Chat, joinTurns, maxMediaParts } from './chat';
import type { Usage } from './completion';
import { maxParallelCalls, parseTools } from './tools';

interface OllamaOptions {
  readonly temperature?: number;
  readonly top_k?: number;
  readonly top_p?: number;
  readonly min_p?: number;
  readonly seed?: number;
  readonly num_predict?: number;
  readonly stop?: string | readonly string[];
}

interface Common {
  readonly model: string;
  readonly stream?: boolean | null;
  readonly format?: unknown;
  readonly options?: OllamaOptions | null;
}

interface OllamaMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content?: string | null;
  readonly images?: readonly string[] | null;
  readonly tool_calls?:
    | readonly { readonly function: { readonly name: string; readonly arguments?: unknown } }[]
    | null;
  readonly tool_name?: string | null;
}

export interface OllamaChatBody extends Common {
  readonly messages?: readonly OllamaMessage[] | null;
  readonly tools?: unknown;
}

export interface OllamaGenerateBody extends Common {
  readonly prompt?: string | null;
  readonly system?: string | null;
  readonly images?: readonly string[] | null;
}

const maxText = 1 << 20;
const optional = (schema: object): object => ({ anyOf: [schema, { type: 'null' }] });
const text = { type: 'string', maxLength: maxText };
const name = { type: 'string', minLength: 1, maxLength: 256 };
const images = optional({ type: 'array', maxItems: maxMediaParts, items: { type: 'string', minLength: 1 } });

const common = {
  model: name,
  stream: optional({ type: 'boolean' }),
  format: { anyOf: [{ enum: ['', 'json', null] }, { type: 'object' }] },
  // Others, such as `num_ctx`, are about how Ollama runs a model, and left alone.
  options: optional({
    type: 'object',
    properties: {
      temperature: { type: 'number', minimum: 0, maximum: 100 },
      top_k: { type: 'integer', minimum: 0, maximum: 262_144 },
      top_p: { type: 'number', minimum: 0, maximum: 1 },
      min_p: { type: 'number', minimum: 0, maximum: 1 },
      seed: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
      num_predict: { type: 'integer', minimum: -2, maximum: 1 << 20 },
      stop: {
        anyOf: [
          { type: 'string', minLength: 1, maxLength: 256 },
          { type: 'array', maxItems: 16, items: { type: 'string', minLength: 1, maxLength: 256 } },
        ],
      },
    },
  }),
};

export const ollamaChatSchema = {
  type: 'object',
  required: ['model'],
  properties: {
    ...common,
    messages: optional({
      type: 'array',
      maxItems: 1024,
      items: {
        type: 'object',
        required: ['role'],
        properties: {
          role: { enum: ['system', 'user', 'assistant', 'tool'] },
          content: optional(text),
          images,
          tool_name: optional(name),
          tool_calls: optional({
            type: 'array',
            maxItems: 128,
            items: {
              type: 'object',
              required: ['function'],
              properties: {
                function: { type: 'object', required: ['name'], properties: { name, arguments: { type: 'object' } } },
              },
            },
          }),
        },
      },
    }),
  },
};

export const ollamaGenerateSchema = {
  type: 'object',
  required: ['model'],
  properties: {
    ...common,
    prompt: optional(text),
    system: optional(text),
    images,
    // What would change the reply and is not done is refused, unless it says that it should not be done.
    raw: { enum: [false, null] },
    suffix: { enum: ['', null] },
    template: { enum: ['', null] },
    context: optional({ type: 'array', maxItems: 0 }),
  },
};

export const ollamaShowSchema = {
  type: 'object',
  anyOf: [{ required: ['model'] }, { required: ['name'] }],
  properties: { model: name, name },
};

function samplingOf({ temperature, top_k: topK, top_p: topP, min_p: minP, seed }: OllamaOptions): Sampling {
  return {
    ...(temperature !== undefined && { temperature }),
    ...(topK !== undefined && { topK }),
    ...(topP !== undefined && { topP }),
    ...(minP !== undefined && { minP }),
    ...(seed !== undefined && { seed }),
  };
}

function schemaOf(format: unknown): JsonSchema | undefined {
  if (format === 'json') return { type: 'object' };
  return isRecord(format) ? format : undefined;
}

function chatWith(messages: readonly Message[], { options, format }: Common, slice: string | undefined): Chat {
  const { num_predict: limit = -1, stop } = options ?? {};
  const schema = schemaOf(format);
  return {
    messages: joinTurns(messages),
    sampling: samplingOf(options ?? {}),
    // Zero and less stand for "until it ends by itself".
    ...(limit > 0 && { maxTokens: limit }),
    ...(stop !== undefined && { stop: typeof stop === 'string' ? [stop] : stop }),
    ...(schema !== undefined && { schema }),
    ...(slice !== undefined && { slice }),
  };
}

async function picturesOf(list: readonly string[] | null | undefined, where: string): Promise<Part[]> {
  const parts: Part[] = [];
  for (const [index, image] of (list ?? []).entries())
    parts.push({ type: 'image', image: await imageOf(image, `${where}[${index}]`) });
  return parts;
}

/** Rejects with `REQUEST_INVALID` or a `MEDIA_` code. */
export async function chatOf(body: OllamaChatBody, slice: string | undefined): Promise<Chat> {
  const given = body.messages ?? [];
  const pictures = given.reduce((sum, { images: list }) => sum + (list?.length ?? 0), 0);
  if (pictures > maxMediaParts)
    throw new HearthError(
      'REQUEST_INVALID',
      `messages: expected at most ${maxMediaParts} pictures, received ${pictures}`,
    );
  const functions = parseTools(body.tools);
  const messages: Message[] = [];
  for (const [at, { role, content, images: list, tool_calls: calls, tool_name: tool }] of given.entries()) {
    if (role !== 'user' && (list?.length ?? 0) > 0)
      throw new HearthError('REQUEST_INVALID', `messages[${at}]: expected pictures in user messages only`);
    const words = role === 'tool' ? resultText(tool ?? undefined, content ?? '') : (content ?? '');
    messages.push({
      role: role === 'system' ? 'system' : role === 'assistant' ? 'model' : 'user',
      parts: [
        ...(await picturesOf(list, `messages[${at}].images`)),
        { type: 'text', text: words },
        ...(calls ?? []).map(({ function: { name: called, arguments: args } }): Part => {
          return { type: 'text', text: callText({ name: called, arguments: isRecord(args) ? args : {} }) };
        }),
      ],
    });
  }
  const chat = chatWith(messages, body, slice);
  return functions.length === 0 ? chat : { ...chat, tools: { functions, required: false, maxCalls: maxParallelCalls } };
}

/** Rejects with `REQUEST_INVALID` or a `MEDIA_` code. */
export async function promptOf(body: OllamaGenerateBody, slice: string | undefined): Promise<Chat> {
  const system = body.system ?? '';
  const messages: Message[] = [
    ...(system === '' ? [] : [{ role: 'system' as const, parts: [{ type: 'text' as const, text: system }] }]),
    {
      role: 'user',
      parts: [...(await picturesOf(body.images, 'images')), { type: 'text', text: body.prompt ?? '' }],
    },
  ];
  return chatWith(messages, body, slice);
}

const nanoseconds = (milliseconds: number): number => Math.round(milliseconds * 1e6);

/** The counts and durations of the last object. `totalMs` is measured here, with the time in the queue. */
export function statistics(usage: Usage, totalMs: number) {
  return {
    total_duration: nanoseconds(totalMs),
    load_duration: 0,
    prompt_eval_count: usage.promptTokens,
    prompt_eval_duration: nanoseconds(usage.promptMs),
    eval_count: usage.completionTokens,
    eval_duration: nanoseconds(usage.decodeMs),
  };
}
