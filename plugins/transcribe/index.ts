/** Writes down what is said: for each speech segment of the streams it is handed, and on request. */
import { definePlugin, type MediaRef, PluginError, type PluginResult } from '../../daemon/plugins/api';

interface Config {
  readonly prompt: string | null;
  readonly maxTokens: number;
}

export default definePlugin<Config>({
  manifest: {
    name: 'transcribe',
    version: '1.0.0',
    apiVersion: '^1.0.0',
    description: 'Transcribes speech.',
    consumes: ['segment'],
    verbs: ['transcribe'],
    emits: ['transcript'],
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        prompt: {
          type: ['string', 'null'],
          minLength: 1,
          maxLength: 4096,
          default: null,
          description: "Instead of the model's own prompt.",
        },
        maxTokens: {
          type: 'integer',
          minimum: 1,
          maximum: 4096,
          default: 512,
          description: 'Longest transcript, in tokens.',
        },
      },
    },
  },

  start(ctx) {
    const { config, model } = ctx;

    const transcribe = async (media: MediaRef, id: string): Promise<PluginResult> =>
      await ctx.generate({
        item: { id },
        messages: [
          {
            role: 'user',
            parts: [
              { type: 'media', media },
              { type: 'text', text: config.prompt ?? model.prompts.transcribe },
            ],
          },
        ],
        maxTokens: config.maxTokens,
        sampling: { temperature: 0 },
        bargeIn: false,
      });

    ctx.onSegment(async (segment) => {
      const result = await transcribe(segment.media, segment.id);
      const lang = segment.settings?.language;
      await ctx.emit({
        kind: 'transcript',
        item: segment,
        result,
        text: result.text.trim(),
        ...(lang !== undefined && { lang }),
      });
    });

    ctx.onRequest('transcribe', async ({ id, payload, image, audio }) => {
      const [unknown] = Object.keys(payload);
      if (unknown !== undefined)
        throw new PluginError(
          'REQUEST_INVALID',
          `transcribe: expected audio, received ${JSON.stringify(unknown.slice(0, 60))}`,
        );
      if (audio === undefined || image !== undefined)
        throw new PluginError('REQUEST_INVALID', 'transcribe: expected audio and no image');
      const { text, tokens, slice, choice } = await transcribe(audio, id);
      return { text: text.trim(), tokens, slice, governor: choice };
    });
  },
});
