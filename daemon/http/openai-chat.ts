/** `/v1/chat/completions` as OpenAI has it: its body to a chat, and a reply to its objects. */
import { callText, type FunctionCall, resultText } from '../calls';
import { HearthError } from '../errors';
import type { JsonSchema, Message, ModelInfo, Part } from '../inference/types';
import { isRecord } from '../json';
import { audioOf, imageOf } from '../requests/media';
import { type Chat, joinTurns, maxMediaParts } from './chat';
import type { Usage } from './completion';
import { maxParallelCalls, parseTools, type Tools } from './tools';

export interface ChatBody {
  readonly model?: string;
  readonly messages: readonly ChatMessage[];
  readonly stream?: boolean | null;
  readonly stream_options?: { readonly include_usage?: boolean } | null;
  readonly max_tokens?: number | null;
  readonly max_completion_tokens?: number | null;
  readonly temperature?: number | null;
  readonly top_p?: number | null;
  /** Not OpenAI's, but what other servers of this interface take. */
  readonly top_k?: number | null;
  readonly min_p?: number | null;
  readonly seed?: number | null;
  readonly stop?: string | readonly string[] | null;
  readonly response_format?: Readonly<Record<string, unknown>> | null;
  readonly tools?: unknown;
  readonly tool_choice?: unknown;
  readonly parallel_tool_calls?: boolean | null;
}

interface ChatMessage {
  readonly role: 'system' | 'developer' | 'user' | 'assistant' | 'tool';
  readonly content?: string | null | readonly Readonly<Record<string, unknown>>[];
  readonly tool_calls?: readonly ToolCallBody[] | null;
  readonly tool_call_id?: string;
}

interface ToolCallBody {
  readonly id: string;
  readonly function: { readonly name: string; readonly arguments: string };
}

const optional = (schema: object): object => ({ anyOf: [schema, { type: 'null' }] });
const text = (maxLength: number): object => ({ type: 'string', maxLength });
const maxText = 1 << 20;

export const chatBodySchema = {
  type: 'object',
  required: ['messages'],
  properties: {
    model: text(256),
    messages: {
      type: 'array',
      minItems: 1,
      maxItems: 1024,
      items: {
        type: 'object',
        required: ['role'],
        properties: {
          role: { enum: ['system', 'developer', 'user', 'assistant', 'tool'] },
          content: {
            anyOf: [
              text(maxText),
              { type: 'null' },
              { type: 'array', maxItems: 256, items: { type: 'object', required: ['type'] } },
            ],
          },
          tool_call_id: text(256),
          tool_calls: optional({
            type: 'array',
            maxItems: 128,
            items: {
              type: 'object',
              required: ['id', 'function'],
              properties: {
                id: text(256),
                function: {
                  type: 'object',
                  required: ['name', 'arguments'],
                  properties: { name: text(256), arguments: text(maxText) },
                },
              },
            },
          }),
        },
      },
    },
    stream: optional({ type: 'boolean' }),
    stream_options: optional({ type: 'object', properties: { include_usage: { type: 'boolean' } } }),
    max_tokens: optional({ type: 'integer', minimum: 1, maximum: 1 << 20 }),
    max_completion_tokens: optional({ type: 'integer', minimum: 1, maximum: 1 << 20 }),
    temperature: optional({ type: 'number', minimum: 0, maximum: 100 }),
    top_p: optional({ type: 'number', minimum: 0, maximum: 1 }),
    top_k: optional({ type: 'integer', minimum: 0, maximum: 262_144 }),
    min_p: optional({ type: 'number', minimum: 0, maximum: 1 }),
    seed: optional({ type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    stop: {
      anyOf: [
        { type: 'string', minLength: 1, maxLength: 256 },
        { type: 'array', maxItems: 16, items: { type: 'string', minLength: 1, maxLength: 256 } },
        { type: 'null' },
      ],
    },
    parallel_tool_calls: optional({ type: 'boolean' }),
    response_format: optional({ type: 'object', required: ['type'] }),
    // What would change the reply and is not done is refused, unless it says that it should not be done.
    n: { enum: [1, null] },
    logprobs: { enum: [false, null] },
    frequency_penalty: { enum: [0, null] },
    presence_penalty: { enum: [0, null] },
    logit_bias: optional({ type: 'object', maxProperties: 0 }),
    modalities: optional({ type: 'array', items: { enum: ['text'] } }),
  },
};

const invalid = (where: string, expected: string): HearthError =>
  new HearthError('REQUEST_INVALID', `${where}: expected ${expected}`);

/** The side of the square a picture is resized to, by what OpenAI calls detail. */
function imageSizeFor(detail: unknown, { imageSizes }: ModelInfo): 256 | 512 | 768 | undefined {
  const size = detail === 'low' ? Math.min(...imageSizes) : detail === 'high' ? Math.max(...imageSizes) : undefined;
  return size === 256 || size === 512 || size === 768 ? size : undefined;
}

interface Seen {
  media: number;
  imageSize?: 256 | 512 | 768;
}

function countMedia(seen: Seen, where: string): void {
  if (++seen.media > maxMediaParts) throw invalid(where, `at most ${maxMediaParts} pictures and sounds in a request`);
}

async function partOf(
  part: Readonly<Record<string, unknown>>,
  where: string,
  info: ModelInfo,
  maxAudioSeconds: number,
  seen: Seen,
): Promise<Part> {
  switch (part['type']) {
    case 'text': {
      const words = part['text'];
      if (typeof words !== 'string' || words.length > maxText)
        throw invalid(`${where}.text`, `text of at most ${maxText} characters`);
      return { type: 'text', text: words };
    }
    case 'image_url': {
      const image = part['image_url'];
      const url = isRecord(image) ? image['url'] : image;
      // Fetching it would let whoever may ask questions make requests from this machine.
      if (typeof url !== 'string' || !url.startsWith('data:'))
        throw invalid(`${where}.image_url.url`, 'a data URL; pictures are not fetched from elsewhere');
      countMedia(seen, where);
      const size = imageSizeFor(isRecord(image) ? image['detail'] : undefined, info);
      if (size !== undefined && size > (seen.imageSize ?? 0)) seen.imageSize = size;
      return { type: 'image', image: await imageOf(url, `${where}.image_url.url`) };
    }
    case 'input_audio': {
      const audio = part['input_audio'];
      if (!isRecord(audio)) throw invalid(`${where}.input_audio`, '{"data": base64, "format": "wav"}');
      countMedia(seen, where);
      return { type: 'audio', audio: await audioOf(audio['data'], `${where}.input_audio.data`, maxAudioSeconds) };
    }
    default:
      throw invalid(
        `${where}.type`,
        `one of text, image_url, input_audio, received ${JSON.stringify(part['type'] ?? null).slice(0, 60)}`,
      );
  }
}

const roles = { system: 'system', developer: 'system', user: 'user', assistant: 'model', tool: 'user' } as const;

function parseArguments(call: ToolCallBody, where: string): FunctionCall {
  let args: unknown;
  try {
    args = JSON.parse(call.function.arguments);
  } catch {
    args = undefined;
  }
  if (!isRecord(args)) throw invalid(`${where}.function.arguments`, 'a JSON object as text');
  return { name: call.function.name, arguments: args };
}

async function messagesOf(body: ChatBody, info: ModelInfo, maxAudioSeconds: number, seen: Seen): Promise<Message[]> {
  const names = new Map<string, string>();
  const messages: Message[] = [];
  for (const [at, { role, content, tool_calls: calls, tool_call_id: answered }] of body.messages.entries()) {
    const where = `messages[${at}]`;
    const parts: Part[] = [];
    if (typeof content === 'string') parts.push({ type: 'text', text: content });
    else {
      for (const [index, part] of (content ?? []).entries())
        parts.push(await partOf(part, `${where}.content[${index}]`, info, maxAudioSeconds, seen));
    }
    if (role !== 'user' && parts.some(({ type }) => type !== 'text'))
      throw invalid(where, 'pictures and sounds in user messages only');
    for (const [index, call] of (calls ?? []).entries()) {
      names.set(call.id, call.function.name);
      parts.push({ type: 'text', text: callText(parseArguments(call, `${where}.tool_calls[${index}]`)) });
    }
    if (role === 'tool') {
      const words = parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n');
      parts.splice(0, parts.length, { type: 'text', text: resultText(names.get(answered ?? ''), words) });
    }
    messages.push({ role: roles[role], parts });
  }
  return joinTurns(messages);
}

function schemaOf(format: ChatBody['response_format']): JsonSchema | undefined {
  switch (format?.['type']) {
    case undefined:
    case 'text':
      return undefined;
    case 'json_object':
      return { type: 'object' };
    case 'json_schema': {
      const declared = format?.['json_schema'];
      const schema = isRecord(declared) ? declared['schema'] : undefined;
      if (!isRecord(schema) && typeof schema !== 'boolean')
        throw invalid('response_format.json_schema.schema', 'a JSON Schema');
      return schema;
    }
    default:
      throw invalid('response_format.type', 'one of text, json_object, json_schema');
  }
}

function toolsOf({ tools, tool_choice: choice, parallel_tool_calls: parallel }: ChatBody): Tools | undefined {
  const functions = parseTools(tools);
  if (functions.length === 0) return undefined;
  const maxCalls = parallel === false ? 1 : maxParallelCalls;
  switch (choice) {
    case 'none':
      return undefined;
    case undefined:
    case null:
    case 'auto':
      return { functions, required: false, maxCalls };
    case 'required':
      return { functions, required: true, maxCalls };
  }
  const named = isRecord(choice) && isRecord(choice['function']) ? choice['function']['name'] : undefined;
  const one = functions.filter(({ name }) => name === named);
  if (one.length === 0)
    throw invalid(
      'tool_choice',
      'one of none, auto, required, {"type": "function", "function": {"name": one of the tools}}',
    );
  return { functions: one, required: true, maxCalls };
}

/** Rejects with `REQUEST_INVALID` or a `MEDIA_` code. */
export async function chatOf(
  body: ChatBody,
  info: ModelInfo,
  slice: string | undefined,
  maxAudioSeconds: number,
): Promise<Chat> {
  const seen: Seen = { media: 0 };
  const tools = toolsOf(body);
  const schema = schemaOf(body.response_format);
  const messages = await messagesOf(body, info, maxAudioSeconds, seen);
  const maxTokens = body.max_completion_tokens ?? body.max_tokens;
  const { temperature, top_p: topP, top_k: topK, min_p: minP, seed, stop } = body;
  return {
    messages,
    sampling: {
      ...(typeof temperature === 'number' && { temperature }),
      ...(typeof topP === 'number' && { topP }),
      ...(typeof topK === 'number' && { topK }),
      ...(typeof minP === 'number' && { minP }),
      ...(typeof seed === 'number' && { seed }),
    },
    ...(typeof maxTokens === 'number' && { maxTokens }),
    ...(stop !== undefined && stop !== null && { stop: typeof stop === 'string' ? [stop] : stop }),
    ...(schema !== undefined && { schema }),
    ...(slice !== undefined && { slice }),
    ...(seen.imageSize !== undefined && { imageSize: seen.imageSize }),
    ...(tools !== undefined && { tools }),
  };
}

export function usageBody({ promptTokens, completionTokens, cachedTokens }: Usage) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}

export function toolCallBody(call: FunctionCall, id: string) {
  return {
    id: `call_${id}`,
    type: 'function' as const,
    function: { name: call.name, arguments: JSON.stringify(call.arguments) },
  };
}

export const finishReasons = { stop: 'stop', length: 'length', call: 'tool_calls' } as const;
