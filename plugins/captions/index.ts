/** Says what is in a picture: for each frame of the streams it is handed, and on request; and what happens in a clip. */
import {
  type ClipItem,
  definePlugin,
  type FrameItem,
  type MediaRef,
  PluginError,
  type PluginResult,
} from '../../daemon/plugins/api';

interface Config {
  readonly prompt: string | null;
  readonly clipPrompt: string | null;
  readonly language: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly imageSize: 256 | 512 | 768 | null;
}

/** What `caption` takes beside the picture. */
interface CaptionRequest {
  readonly prompt?: string;
}

const maxPromptCharacters = 4096;

function parseRequest(payload: Readonly<Record<string, unknown>>): CaptionRequest {
  const { prompt, ...rest } = payload;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined)
    throw new PluginError(
      'REQUEST_INVALID',
      `caption: expected image and prompt, received ${JSON.stringify(unknown.slice(0, 60))}`,
    );
  if (prompt === undefined) return {};
  if (typeof prompt !== 'string' || prompt === '' || prompt.length > maxPromptCharacters) {
    throw new PluginError(
      'REQUEST_INVALID',
      `caption: prompt: expected text of 1 to ${maxPromptCharacters} characters`,
    );
  }
  return { prompt };
}

export default definePlugin<Config>({
  manifest: {
    name: 'captions',
    version: '1.0.0',
    apiVersion: '^1.0.0',
    description: 'Describes pictures and clips.',
    consumes: ['frame', 'clip'],
    verbs: ['caption'],
    emits: ['caption'],
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        prompt: {
          type: ['string', 'null'],
          minLength: 1,
          maxLength: maxPromptCharacters,
          default: null,
          description:
            "Question about the picture instead of the model's own prompt; a stream's `prompt` goes before it.",
        },
        clipPrompt: {
          type: ['string', 'null'],
          minLength: 1,
          maxLength: maxPromptCharacters,
          default: null,
          description: "Question about a clip instead of the model's own prompt; a stream's `prompt` goes before it.",
        },
        language: {
          type: 'string',
          pattern: '^[a-z]{2,3}$',
          default: 'en',
          description:
            "`lang` of the events: the language the prompt makes the model answer in. A stream's `language` goes before it.",
        },
        maxTokens: {
          type: 'integer',
          minimum: 1,
          maximum: 1024,
          default: 96,
          description: 'Longest caption, in tokens.',
        },
        temperature: {
          type: 'number',
          minimum: 0,
          maximum: 2,
          default: 0,
          description: '0 always takes the likeliest token.',
        },
        imageSize: {
          enum: [256, 512, 768, null],
          default: null,
          description: "Side of the square the picture is resized to; the model's own when null.",
        },
      },
    },
  },

  start(ctx) {
    const { config, model } = ctx;

    const caption = async (media: MediaRef, prompt: string, id: string): Promise<PluginResult> =>
      await ctx.generate({
        item: { id },
        messages: [
          {
            role: 'user',
            parts: [
              { type: 'media', media },
              { type: 'text', text: prompt },
            ],
          },
        ],
        maxTokens: config.maxTokens,
        sampling: { temperature: config.temperature },
        ...(config.imageSize !== null && { imageSize: config.imageSize }),
      });

    const describe = async (item: FrameItem | ClipItem, otherwise: string): Promise<void> => {
      const result = await caption(item.media, item.settings?.prompt ?? otherwise, item.id);
      const lang = item.settings?.language ?? config.language;
      await ctx.emit({ kind: 'caption', item, result, text: result.text.trim(), lang });
    };

    ctx.onFrame((frame) => describe(frame, config.prompt ?? model.prompts.caption));
    ctx.onClip((clip) => describe(clip, config.clipPrompt ?? model.prompts.video));

    ctx.onRequest('caption', async ({ id, payload, image, audio }) => {
      const { prompt } = parseRequest(payload);
      if (image === undefined || audio !== undefined)
        throw new PluginError('REQUEST_INVALID', 'caption: expected an image and no audio');
      const { text, tokens, slice, choice } = await caption(
        image,
        prompt ?? config.prompt ?? model.prompts.caption,
        id,
      );
      return { text: text.trim(), lang: config.language, tokens, slice, governor: choice };
    });
  },
});
