/** Describes what Frigate tracks: an event on MQTT, its snapshot over HTTP, the description back into Frigate. */
import { definePlugin } from '../../daemon/plugins/api';
import { parseEvent, streamOf, type TrackedObject } from './events';
import { getSnapshot, type HttpOptions, setDescription } from './http';

interface Config {
  readonly url: string;
  readonly topicPrefix: string;
  readonly when: readonly TrackedObject['type'][];
  readonly cameras: readonly string[] | null;
  readonly labels: readonly string[] | null;
  readonly prompt: string | null;
  readonly maxTokens: number;
  readonly imageSize: 256 | 512 | 768 | null;
  readonly writeBack: boolean;
  readonly timeoutSeconds: number;
  readonly maxBytes: number;
  readonly retryDelayMs: number;
}

/** Events that are remembered, so that none is described twice. */
const maxSeen = 512;

const names = (description: string) => ({
  type: ['array', 'null'],
  maxItems: 256,
  items: { type: 'string', minLength: 1, maxLength: 256 },
  default: null,
  description,
});

export default definePlugin<Config>({
  manifest: {
    name: 'frigate',
    version: '1.0.0',
    apiVersion: '^1.1.0',
    description: 'Describes the objects Frigate tracks.',
    emits: ['caption'],
    topics: { subscribe: ['{config.topicPrefix}/events'] },
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        url: {
          type: 'string',
          pattern: '^https?://[^\\s/?#@]+(/[^\\s?#@]*)?$',
          default: 'http://127.0.0.1:5000',
          description: "Frigate's HTTP API, on the port without authentication.",
        },
        topicPrefix: {
          type: 'string',
          pattern: '^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,7}$',
          default: 'frigate',
          description: '`mqtt.topic_prefix` of Frigate.',
        },
        when: {
          type: 'array',
          minItems: 1,
          maxItems: 3,
          items: { enum: ['new', 'update', 'end'] },
          default: ['end'],
          description: 'Events that are described. At `end` the best snapshot is known; `new` comes sooner.',
        },
        cameras: names('Only these cameras, by their names in Frigate.'),
        labels: names('Only these objects, such as `person`.'),
        prompt: {
          type: ['string', 'null'],
          minLength: 1,
          maxLength: 4096,
          default: null,
          description:
            "Question about the picture instead of the stream's prompt and the model's own; `{label}` and `{camera}` are filled in.",
        },
        maxTokens: {
          type: 'integer',
          minimum: 1,
          maximum: 1024,
          default: 96,
          description: 'Longest description, in tokens.',
        },
        imageSize: {
          enum: [256, 512, 768, null],
          default: null,
          description: "Side of the square the picture is resized to; the model's own when null.",
        },
        writeBack: { type: 'boolean', default: true, description: 'Make it the description of the event in Frigate.' },
        timeoutSeconds: {
          type: 'integer',
          minimum: 1,
          maximum: 120,
          default: 10,
          description: 'Longest wait for an answer of Frigate.',
        },
        maxBytes: {
          type: 'integer',
          minimum: 1024,
          maximum: 67_108_864,
          default: 2_097_152,
          description: 'Largest snapshot; `limits.maxFrameBytes` holds as well.',
        },
        retryDelayMs: {
          type: 'integer',
          minimum: 1,
          maximum: 60_000,
          default: 500,
          description: 'Before the second of four attempts; longer before the later ones.',
        },
      },
    },
  },

  async start(ctx) {
    const { config, model } = ctx;
    const { url, maxBytes, retryDelayMs } = config;
    const http: HttpOptions = {
      url,
      timeoutMs: config.timeoutSeconds * 1000,
      maxBytes,
      retryDelayMs,
      signal: ctx.signal,
    };
    const topic = `${config.topicPrefix}/events`;
    const seen = new Set<string>();

    const describe = async ({ id, camera, label }: TrackedObject): Promise<void> => {
      const source = { stream: streamOf(camera), topic, load: async () => await getSnapshot(http, id) };
      await ctx.withFrame(source, async (frame) => {
        const asked = config.prompt?.replace(/\{(label|camera)\}/g, (_all, slot) =>
          slot === 'label' ? label : camera,
        );
        const result = await ctx.generate({
          item: frame,
          messages: [
            {
              role: 'user',
              parts: [
                { type: 'media', media: frame.media },
                { type: 'text', text: asked ?? frame.settings?.prompt ?? model.prompts.caption },
              ],
            },
          ],
          maxTokens: config.maxTokens,
          sampling: { temperature: 0 },
          ...(config.imageSize !== null && { imageSize: config.imageSize }),
        });
        const text = result.text.trim();
        const lang = frame.settings?.language;
        await ctx.emit({ kind: 'caption', item: frame, result, text, ...(lang !== undefined && { lang }) });
        if (config.writeBack) await setDescription(http, id, text);
      });
    };

    const isWanted = ({ type, id, camera, label, hasSnapshot, falsePositive }: TrackedObject): boolean => {
      if (!config.when.includes(type) || !hasSnapshot || falsePositive) return false;
      if (config.cameras?.includes(camera) === false || config.labels?.includes(label) === false) return false;
      const key = `${id} ${type === 'end' ? 'end' : 'before'}`;
      if (seen.has(key)) return false;
      seen.add(key);
      const [oldest] = seen;
      if (seen.size > maxSeen && oldest !== undefined) seen.delete(oldest);
      return true;
    };

    // One after the other: those that wait are counted by the daemon, which says when there are too many.
    let last: Promise<unknown> = Promise.resolve();
    await ctx.subscribe(topic, async (_topic, payload) => {
      const event = parseEvent(payload);
      if (!isWanted(event)) return;
      const described = last
        .then(async () => await describe(event))
        .catch((error: unknown) => {
          // The daemon counts it as skipped.
          if ((error as { readonly code?: unknown }).code !== 'STREAM_OFF') throw error;
        });
      last = described.catch(() => undefined);
      await described;
    });
  },
});
