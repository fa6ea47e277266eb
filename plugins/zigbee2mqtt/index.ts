/** Sets Zigbee2MQTT's devices by speech and text: its retained list of devices makes the functions that can be called. */
import {
  callPrompt,
  definePlugin,
  fillCallPrompt,
  PluginError,
  type PluginPart,
  type PluginResult,
  replySchema,
  type SegmentItem,
} from '../../daemon/plugins/api';
import { type Devices, declarationsOf, mergedDeclarationsOf, parseDevices } from './devices';
import { type Call, type Message, parseReply } from './reply';

interface Config {
  readonly baseTopic: string;
  readonly types: readonly string[];
  readonly devices: readonly string[] | null;
  readonly deviceArgument: string;
  readonly listen: boolean;
  readonly prompt: string | null;
  readonly maxTokens: number;
}

const maxTextCharacters = 16_384;
const knownMembers = ['text', 'dryRun'];
const none: Devices = { functions: [], devices: 0, refused: [] };

function summarise(call: Call | null): string {
  if (call === null) return 'no call';
  const given = Object.entries(call.arguments).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `${call.name}(${given.join(', ')})`;
}

export default definePlugin<Config>({
  manifest: {
    name: 'zigbee2mqtt',
    version: '1.1.0',
    apiVersion: '^1.2.0',
    description: "Sets Zigbee2MQTT's devices from speech and text.",
    consumes: ['segment'],
    verbs: ['zigbee2mqtt'],
    emits: ['call'],
    topics: {
      // A friendly name may have several levels.
      publish: ['{config.baseTopic}/+/set', '{config.baseTopic}/+/+/set', '{config.baseTopic}/+/+/+/set'],
      subscribe: ['{config.baseTopic}/bridge/devices'],
    },
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        baseTopic: {
          type: 'string',
          pattern: '^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,7}$',
          default: 'zigbee2mqtt',
          description: '`mqtt.base_topic` of Zigbee2MQTT.',
        },
        types: {
          type: 'array',
          maxItems: 6,
          items: { enum: ['light', 'switch', 'cover', 'fan', 'climate', 'lock'] },
          default: ['light', 'switch', 'cover', 'fan', 'climate'],
          description: 'Kinds of devices that may be set; locks only if you say so.',
        },
        devices: {
          type: ['array', 'null'],
          maxItems: 256,
          items: { type: 'string', minLength: 1, maxLength: 128 },
          default: null,
          description: 'Only these devices, by their friendly names.',
        },
        deviceArgument: {
          type: 'string',
          pattern: '^[a-z][a-z_]{0,31}$',
          default: 'device',
          description:
            'What a call says for the device; a model that was trained on calls with a `room`, say, does better with that.',
        },
        listen: {
          type: 'boolean',
          default: true,
          description:
            'Ask the model about speech. When false, the functions are left to the plugin `function-calls`, with its policy.',
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
          default: 128,
          description: 'Longest call, in tokens.',
        },
      },
    },
  },

  async start(ctx) {
    const { config, model } = ctx;
    let known = none;

    const declared = () => declarationsOf(known.functions, config.deviceArgument);
    const promptFor = (text: string): string =>
      config.prompt === null
        ? callPrompt(model.prompts, declared(), text)
        : fillCallPrompt(config.prompt, declared(), text);

    const ask = async (
      parts: readonly PluginPart[],
      id: string,
    ): Promise<{ readonly called: ReturnType<typeof parseReply>; readonly result: PluginResult }> => {
      // The list may change while the model thinks.
      const { functions } = known;
      const result = await ctx.generate({
        item: { id },
        messages: [{ role: 'user', parts }],
        schema: replySchema(declared()),
        maxTokens: config.maxTokens,
        sampling: { temperature: 0 },
      });
      return {
        called: parseReply(result.text, result.finishReason === 'length', functions, config.deviceArgument),
        result,
      };
    };

    const set = async ({ device, payload }: Message): Promise<string> => {
      const topic = `${config.baseTopic}/${device}/set`;
      await ctx.publish(topic, payload, { qos: 1 });
      ctx.log.info(`${device} set`, { topic, payload });
      return topic;
    };

    const listen = async (segment: SegmentItem): Promise<void> => {
      if (known.functions.length === 0) {
        throw new PluginError('ITEM_UNWANTED', `expected devices on ${config.baseTopic}/bridge/devices before`);
      }
      const parts: PluginPart[] = [
        { type: 'media', media: segment.media },
        { type: 'text', text: promptFor('') },
      ];
      const { called, result } = await ask(parts, segment.id);
      if (called !== null) await set(called.message);
      const call = called?.call ?? null;
      await ctx.emit({ kind: 'call', item: segment, result, call, summary: summarise(call) });
    };
    if (config.listen) ctx.onSegment(listen);

    const registered = new Map<string, () => Promise<void>>();
    /** Has `function-calls` offer what the devices can do now. */
    const register = async (): Promise<void> => {
      const merged = mergedDeclarationsOf(known.functions, config.deviceArgument);
      for (const [name, end] of registered) {
        if (merged.some((each) => each.name === name)) continue;
        registered.delete(name);
        await end();
      }
      for (const declaration of merged) {
        const { name } = declaration;
        const run = async (args: Readonly<Record<string, unknown>>): Promise<unknown> => {
          const text = JSON.stringify({ name, arguments: args });
          const called = parseReply(text, false, known.functions, config.deviceArgument);
          return called === null ? null : { topic: await set(called.message) };
        };
        try {
          registered.set(name, await ctx.registerFunction(declaration, run));
        } catch (error) {
          // One that cannot be, as with a name that is another plugin's, leaves the others.
          ctx.log.warn(`${name} is not registered`, { reason: String(error) });
        }
      }
    };
    /** Lists may come faster than functions are registered: the latest has the last word. */
    let registering: Promise<void> = Promise.resolve();

    ctx.onRequest('zigbee2mqtt', async ({ id, payload, image, audio }) => {
      const invalid = (what: string): PluginError => new PluginError('REQUEST_INVALID', `zigbee2mqtt: ${what}`);
      const unknown = Object.keys(payload).find((member) => !knownMembers.includes(member));
      if (unknown !== undefined || image !== undefined) {
        const received = JSON.stringify((unknown ?? 'image').slice(0, 60));
        throw invalid(`expected text or audio, and dryRun, received ${received}`);
      }
      const { text, dryRun = false } = payload;
      if (typeof dryRun !== 'boolean') throw invalid('dryRun: expected true or false');
      if ((text === undefined) === (audio === undefined)) throw invalid('expected either text or audio');
      if (text !== undefined && (typeof text !== 'string' || text.trim() === '' || text.length > maxTextCharacters)) {
        throw invalid(`text: expected 1 to ${maxTextCharacters} characters`);
      }
      if (known.functions.length === 0) {
        throw invalid(`expected devices that can be set on ${config.baseTopic}/bridge/devices, none came so far`);
      }
      const parts: PluginPart[] = [
        ...(audio === undefined ? [] : [{ type: 'media' as const, media: audio }]),
        { type: 'text', text: promptFor(text === undefined ? '' : String(text)) },
      ];
      const { called, result } = await ask(parts, id);
      const topic = dryRun || called === null ? null : await set(called.message);
      const { tokens, slice, choice } = result;
      return { call: called?.call ?? null, topic, tokens, slice, governor: choice };
    });

    await ctx.subscribe(`${config.baseTopic}/bridge/devices`, async (topic, payload) => {
      known = parseDevices(topic, payload, config);
      if (!config.listen) {
        registering = registering.catch(() => undefined).then(register);
        await registering;
      }
      const functions = known.functions.map(({ name }) => name);
      ctx.log.info(`${known.devices} devices can be set`, { functions: [...new Set(functions)] });
      if (known.refused.length > 0) {
        ctx.log.warn(`${known.refused.length} devices are left out`, { devices: known.refused.slice(0, 20) });
      }
    });
  },
});
