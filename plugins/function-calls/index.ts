/**
 * Turns speech and text into calls of the functions in the configuration, and calls into MQTT messages. Every segment
 * becomes a `call` event, with null where no function fits; the verb `call` does it for a text or a WAV.
 */
import {
  type GenerateResult,
  type PluginContext,
  type PluginGenerateRequest,
  type PluginPart,
  PluginError,
  type RequestItem,
  type SegmentItem,
  definePlugin,
} from '../../daemon/plugins/api';
import { type Call, type FunctionConfig, Functions } from './functions';
import { payloadOf, topicOf } from './templates';

interface FunctionCallsConfig {
  readonly functions: readonly FunctionConfig[];
  readonly maxTokens: number;
}

type Context = PluginContext<FunctionCallsConfig>;

const maxTextChars = 16_000;

/** Filled in by function: `$&` in a text is a text. One pass: `{functions}` in a text is a text, too. */
function promptFor(ctx: Context, functions: Functions, text: string): string {
  const values: Readonly<Record<string, string>> = { functions: functions.description, text };
  return ctx.model.prompts.call.replace(/\{(functions|text)\}/g, (_text, name: string) => values[name] ?? '').trim();
}

function jobFor(
  ctx: Context,
  functions: Functions,
  parts: readonly PluginPart[],
  item: { readonly id: string },
): PluginGenerateRequest {
  return {
    messages: [{ role: 'user', parts }],
    maxTokens: ctx.config.maxTokens,
    sampling: { temperature: 0 },
    schema: functions.replySchema,
    item,
  };
}

/** Resolves to the topic the call went to; null when its function has none, or there is no call. */
async function publish(ctx: Context, functions: Functions, call: Call | null): Promise<string | null> {
  const template = call === null ? undefined : functions.publishOf(call);
  if (call === null || template === undefined) return null;
  const topic = topicOf(template.topic, call);
  await ctx.publish(topic, payloadOf(template.payload, call), { qos: template.qos, retain: template.retain });
  return topic;
}

async function callForSegment(ctx: Context, functions: Functions, segment: SegmentItem): Promise<void> {
  const parts = [
    { type: 'media', media: segment.media },
    { type: 'text', text: promptFor(ctx, functions, '') },
  ] as const;
  const result = await ctx.generate(jobFor(ctx, functions, parts, segment));
  const call = functions.parse(result.text);
  await publish(ctx, functions, call);
  await ctx.emit({ kind: 'call', item: segment, result, call, text: result.text.trim() });
}

function partsOf(ctx: Context, functions: Functions, request: RequestItem): readonly PluginPart[] {
  const { text, ...rest } = request.payload;
  const unknown = Object.keys(rest)[0] ?? (request.image === undefined ? undefined : 'image');
  if (unknown !== undefined) {
    throw new PluginError('REQUEST_INVALID', `call: expected text or audio, received ${JSON.stringify(unknown.slice(0, 80))}`);
  }
  if (text === undefined && request.audio !== undefined) {
    return [
      { type: 'media', media: request.audio },
      { type: 'text', text: promptFor(ctx, functions, '') },
    ];
  }
  if (request.audio !== undefined) throw new PluginError('REQUEST_INVALID', 'call: expected text or audio, received both');
  if (typeof text !== 'string' || text.trim() === '' || text.length > maxTextChars) {
    throw new PluginError('REQUEST_INVALID', `call.text: expected text of 1 to ${maxTextChars} characters, or audio`);
  }
  return [{ type: 'text', text: promptFor(ctx, functions, text) }];
}

async function answer(ctx: Context, functions: Functions, request: RequestItem): Promise<unknown> {
  if (functions.size === 0) throw new PluginError('REQUEST_INVALID', 'call: the configuration has no functions');
  const result: GenerateResult = await ctx.generate(jobFor(ctx, functions, partsOf(ctx, functions, request), request));
  const call = functions.parse(result.text);
  return { call, topic: await publish(ctx, functions, call), tokens: result.tokens };
}

export default definePlugin<FunctionCallsConfig>({
  manifest: {
    name: 'function-calls',
    version: '1.0.0',
    apiVersion: '^1.0.0',
    description: 'Calls functions on spoken and written commands.',
    consumes: ['segment'],
    verbs: ['call'],
    emits: ['call'],
    topics: { publish: ['{config.functions.*.publish.topic}'] },
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        functions: {
          type: 'array',
          maxItems: 64,
          default: [],
          description: 'The functions there are; see below. Empty: speech is not listened to.',
          items: {
            type: 'object',
            required: ['name'],
            additionalProperties: false,
            properties: {
              name: { type: 'string', pattern: '^[A-Za-z_][A-Za-z0-9_-]{0,63}$', description: 'What the call names.' },
              description: { type: 'string', maxLength: 1000, default: '', description: 'What it does, for the model.' },
              parameters: {
                type: 'object',
                required: ['type'],
                properties: { type: { const: 'object' }, properties: { type: 'object' } },
                default: { type: 'object', properties: {}, additionalProperties: false },
                description: 'JSON Schema of its arguments, an object.',
              },
              publish: {
                type: 'object',
                required: ['topic'],
                additionalProperties: false,
                description: 'The message a call becomes. Without one, a call is only the event.',
                properties: {
                  topic: {
                    type: 'string',
                    minLength: 1,
                    maxLength: 1024,
                    description: 'Topic; `{arguments.x}` is filled in.',
                  },
                  payload: {
                    description:
                      'Text or JSON; `{arguments.x}` is filled in, as the value itself where it is the whole of a text in JSON. Without one, the arguments as JSON.',
                  },
                  qos: { enum: [0, 1], default: 1, description: 'MQTT quality of service.' },
                  retain: { type: 'boolean', default: false, description: 'Whether the broker keeps the message.' },
                },
              },
            },
          },
        },
        maxTokens: {
          type: 'integer',
          minimum: 8,
          maximum: 1024,
          default: 128,
          description: 'Tokens of a call at most; one that would be longer is a `PLUGIN_REPLY_INVALID`.',
        },
      },
    },
  },

  start(ctx) {
    const functions = new Functions(ctx.config.functions);
    if (functions.size > 0) ctx.onSegment((segment) => callForSegment(ctx, functions, segment));
    ctx.onRequest('call', (request) => answer(ctx, functions, request));
  },
});
