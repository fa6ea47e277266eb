/** Turns what is said or written into a call of one of the declared functions, and the call into an MQTT message. */
import { definePlugin, PluginError, type PluginPart, type PluginResult } from '../../daemon/plugins/api';
import {
  type Call,
  checkFunctions,
  describeFunctions,
  type FunctionDeclaration,
  noParameters,
  replySchema,
} from './functions';
import { replyParser } from './reply';
import { fillPayload, fillTopic } from './templates';

interface Config {
  readonly functions: readonly FunctionDeclaration[];
  readonly prompt: string | null;
  readonly maxTokens: number;
}

const maxTextCharacters = 16_384;
const knownMembers = ['text', 'dryRun'];

/** As Python's json.dumps writes it: a short line for a state or a log. */
function summarise(call: Call | null): string {
  if (call === null) return 'no call';
  const given = Object.entries(call.arguments).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `${call.name}(${given.join(', ')})`;
}

export default definePlugin<Config>({
  manifest: {
    name: 'function-calls',
    version: '1.0.0',
    apiVersion: '^1.0.0',
    description: 'Calls declared functions from speech and text.',
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
          maxItems: 128,
          default: [],
          description: 'What can be called; see below. With none, the plugin is idle.',
          items: {
            type: 'object',
            required: ['name'],
            additionalProperties: false,
            properties: {
              name: { type: 'string', pattern: '^[A-Za-z_][A-Za-z0-9_.-]{0,63}$' },
              description: { type: 'string', maxLength: 1024 },
              parameters: { type: 'object', default: noParameters },
              publish: {
                type: 'object',
                required: ['topic'],
                additionalProperties: false,
                properties: {
                  topic: { type: 'string', minLength: 1, maxLength: 1024 },
                  payload: {},
                  qos: { enum: [0, 1], default: 1 },
                  retain: { type: 'boolean', default: false },
                },
              },
            },
          },
        },
        prompt: {
          type: ['string', 'null'],
          minLength: 1,
          maxLength: 16_384,
          default: null,
          description:
            "Instead of the model's own prompt. `{functions}` stands for the functions' JSON Schemas, `{text}` for what was written; empty for speech.",
        },
        maxTokens: {
          type: 'integer',
          minimum: 1,
          maximum: 4096,
          default: 256,
          description: 'Longest call, in tokens.',
        },
      },
    },
  },

  start(ctx) {
    const { config, model } = ctx;
    const { functions } = config;
    checkFunctions(functions);
    const schema = replySchema(functions);
    const parse = replyParser(schema);
    const described = describeFunctions(functions);

    const promptFor = (text: string): string =>
      (config.prompt ?? model.prompts.call)
        .replace(/\{(functions|text)\}/g, (_match, slot: string) => (slot === 'text' ? text : described))
        .trim();

    const ask = async (
      parts: readonly PluginPart[],
      id: string,
    ): Promise<{ readonly call: Call | null; readonly result: PluginResult }> => {
      const result = await ctx.generate({
        item: { id },
        messages: [{ role: 'user', parts }],
        schema,
        maxTokens: config.maxTokens,
        sampling: { temperature: 0 },
      });
      return { call: parse(result.text, result.finishReason === 'length'), result };
    };

    /** Resolves to the topic, or null where the function publishes nothing. */
    const execute = async (call: Call | null): Promise<string | null> => {
      const publish = functions.find(({ name }) => name === call?.name)?.publish;
      if (call === null || publish === undefined) return null;
      const topic = fillTopic(publish.topic, call);
      await ctx.publish(topic, fillPayload(publish.payload, call), { qos: publish.qos, retain: publish.retain });
      ctx.log.info(`${call.name} published`, { topic });
      return topic;
    };

    if (functions.length > 0) {
      ctx.onSegment(async (segment) => {
        const { call, result } = await ask(
          [
            { type: 'media', media: segment.media },
            { type: 'text', text: promptFor('') },
          ],
          segment.id,
        );
        await execute(call);
        await ctx.emit({ kind: 'call', item: segment, result, call, summary: summarise(call) });
      });
    }

    ctx.onRequest('call', async ({ id, payload, image, audio }) => {
      const unknown = Object.keys(payload).find((member) => !knownMembers.includes(member));
      if (unknown !== undefined || image !== undefined) {
        throw new PluginError(
          'REQUEST_INVALID',
          `call: expected text or audio, and dryRun, received ${JSON.stringify((unknown ?? 'image').slice(0, 60))}`,
        );
      }
      const { text, dryRun = false } = payload;
      if (typeof dryRun !== 'boolean') throw new PluginError('REQUEST_INVALID', 'call: dryRun: expected true or false');
      if ((text === undefined) === (audio === undefined))
        throw new PluginError('REQUEST_INVALID', 'call: expected either text or audio');
      if (text !== undefined && (typeof text !== 'string' || text.trim() === '' || text.length > maxTextCharacters)) {
        throw new PluginError('REQUEST_INVALID', `call: text: expected 1 to ${maxTextCharacters} characters`);
      }
      if (functions.length === 0)
        throw new PluginError(
          'REQUEST_INVALID',
          'call: expected functions to be declared under plugins.function-calls.config',
        );
      const parts: PluginPart[] =
        audio === undefined
          ? [{ type: 'text', text: promptFor(String(text)) }]
          : [
              { type: 'media', media: audio },
              { type: 'text', text: promptFor('') },
            ];
      const { call, result } = await ask(parts, id);
      const topic = dryRun ? null : await execute(call);
      return { call, topic, tokens: result.tokens, slice: result.slice, governor: result.choice };
    });
  },
});
