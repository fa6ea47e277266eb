/** The options of the plugin, and their types. */
import { noParameters } from '../../daemon/plugins/api';
import type { OwnFunction, RegisteredTerms } from './functions';
import type { PolicyOptions } from './policy';

export interface Config extends PolicyOptions {
  readonly functions: readonly OwnFunction[];
  readonly registered: readonly RegisteredTerms[];
  readonly pictures: Readonly<Record<string, string>>;
  readonly maxCalls: number;
  readonly maxRounds: number;
  readonly prompt: string | null;
  readonly answerPrompt: string;
  readonly maxTokens: number;
}

const names = { type: 'array', maxItems: 1000, items: { type: 'string', pattern: '^[A-Za-z0-9_.-]{0,64}\\*?$' } };
const rateLimit = {
  required: ['calls', 'seconds'],
  additionalProperties: false,
  properties: {
    calls: { type: 'integer', minimum: 1, maximum: 10_000 },
    seconds: { type: 'number', minimum: 0.1, maximum: 86_400 },
  },
};
const terms = {
  confirm: { type: 'boolean', default: false, description: 'Wait for someone to confirm each call.' },
  dryRun: { type: 'boolean', default: false, description: 'Everything but the effect.' },
  rateLimit: { type: 'object', ...rateLimit, description: 'Instead of the general one.' },
  secrets: {
    type: 'array',
    maxItems: 32,
    items: { type: 'string', maxLength: 256 },
    description: 'Arguments the audit does not show.',
  },
};

export const configSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    functions: {
      type: 'array',
      maxItems: 1000,
      default: [],
      description: 'What can be called; see below. With none, and none registered, the plugin is idle.',
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
          result: {
            type: 'object',
            required: ['topic'],
            additionalProperties: false,
            description: 'Who executes it answers there; the answer goes back to the model.',
            properties: {
              topic: { type: 'string', minLength: 1, maxLength: 1024 },
              timeoutMs: { type: 'integer', minimum: 1, maximum: 60_000, default: 5000 },
            },
          },
          ...terms,
        },
      },
    },
    registered: {
      type: 'array',
      maxItems: 256,
      default: [],
      description:
        'Functions of other plugins that are offered, too; `*` for all. The first entry that fits a name holds for it.',
      items: {
        type: 'object',
        required: ['name'],
        additionalProperties: false,
        properties: { name: names.items, ...terms },
      },
    },
    pictures: {
      type: 'object',
      maxProperties: 64,
      default: {},
      additionalProperties: { type: 'string', minLength: 1, maxLength: 4096 },
      description: 'Cameras whose pictures may call something, each with what to look for.',
    },
    allow: {
      type: 'object',
      default: {},
      additionalProperties: false,
      description:
        'What may be called from where; everything where there is no list. `light.*` stands for a beginning.',
      properties: { speech: names, picture: names, text: names },
    },
    allowStreams: {
      type: 'object',
      maxProperties: 256,
      default: {},
      additionalProperties: names,
      description: 'The same for single microphones and cameras, by name; both lists have to allow a call.',
    },
    rateLimit: {
      type: ['object', 'null'],
      ...rateLimit,
      default: { calls: 30, seconds: 60 },
      description: 'Calls of one function from one stream, or by request; none when null.',
    },
    dryRun: { type: 'boolean', default: false, description: 'Everything but the effect, for all functions.' },
    confirmSeconds: {
      type: 'number',
      minimum: 1,
      maximum: 86_400,
      default: 60,
      description: 'How long a call waits to be confirmed.',
    },
    maxCalls: {
      type: 'integer',
      minimum: 1,
      maximum: 32,
      default: 1,
      description: 'Calls in one reply, at most.',
    },
    maxRounds: {
      type: 'integer',
      minimum: 1,
      maximum: 8,
      default: 1,
      description: 'How often the model is asked for calls, each time with the results of those before.',
    },
    prompt: {
      type: ['string', 'null'],
      minLength: 1,
      maxLength: 16_384,
      default: null,
      description:
        "Instead of the model's own prompt. `{functions}` stands for the functions' JSON Schemas, `{text}` for what was written; empty for speech.",
    },
    answerPrompt: {
      type: 'string',
      minLength: 1,
      maxLength: 4096,
      default: 'Answer in one short sentence.',
      description: 'Asks for the words of the answer, after the results of the calls.',
    },
    maxTokens: {
      type: 'integer',
      minimum: 1,
      maximum: 4096,
      default: 256,
      description: 'Longest reply, in tokens.',
    },
  },
};
