/** Says what a camera sees: every frame becomes a `caption` event; the verb `caption` does it for one picture. */
import {
  type FrameItem,
  type MediaRef,
  type PluginContext,
  type PluginGenerateRequest,
  PluginError,
  definePlugin,
} from '../../daemon/plugins/api';

interface CaptionsConfig {
  readonly prompt?: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly imageSize?: 256 | 512 | 768;
}

interface Question {
  readonly prompt: string | undefined;
  readonly language: string | undefined;
}

const maxPromptChars = 4000;

/** The model's own prompt asks in English, so English needs no words of its own. */
function promptFor(ctx: PluginContext<CaptionsConfig>, { prompt, language }: Question): string {
  const question = prompt ?? ctx.model.prompts.caption;
  if (language === undefined || language === 'en') return question;
  return `${question} Answer in ${ctx.model.prompts.languages[language] ?? language}.`;
}

function jobFor(
  ctx: PluginContext<CaptionsConfig>,
  media: MediaRef,
  question: Question,
  item: { readonly id: string },
): PluginGenerateRequest {
  const { maxTokens, temperature, imageSize } = ctx.config;
  return {
    messages: [
      { role: 'user', parts: [{ type: 'media', media }, { type: 'text', text: promptFor(ctx, question) }] },
    ],
    maxTokens,
    sampling: { temperature },
    ...(imageSize !== undefined && { imageSize }),
    item,
  };
}

async function captionFrame(ctx: PluginContext<CaptionsConfig>, frame: FrameItem): Promise<void> {
  const language = frame.settings?.language;
  // What the operator asks of one camera beats what is asked of all of them.
  const prompt = frame.settings?.prompt ?? ctx.config.prompt;
  const result = await ctx.generate(jobFor(ctx, frame.media, { prompt, language }, frame));
  const text = result.text.trim();
  await ctx.emit({ kind: 'caption', item: frame, result, text, ...(language !== undefined && { lang: language }) });
}

function questionOf(payload: Readonly<Record<string, unknown>>): Question {
  const { prompt, language, ...rest } = payload;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) {
    throw new PluginError('REQUEST_INVALID', `caption: expected image, prompt or language, received ${JSON.stringify(unknown.slice(0, 80))}`);
  }
  if (prompt !== undefined && (typeof prompt !== 'string' || prompt.length === 0 || prompt.length > maxPromptChars)) {
    throw new PluginError('REQUEST_INVALID', `caption.prompt: expected text of 1 to ${maxPromptChars} characters`);
  }
  if (language !== undefined && (typeof language !== 'string' || !/^[a-z]{2,3}$/.test(language))) {
    throw new PluginError('REQUEST_INVALID', 'caption.language: expected a language code such as en');
  }
  return { prompt, language };
}

export default definePlugin<CaptionsConfig>({
  manifest: {
    name: 'captions',
    version: '1.0.0',
    apiVersion: '^1.0.0',
    description: 'Describes the frames of cameras.',
    consumes: ['frame'],
    verbs: ['caption'],
    emits: ['caption'],
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        prompt: {
          type: 'string',
          minLength: 1,
          maxLength: maxPromptChars,
          description: 'What is asked about every frame; the `prompt` of a stream beats it. Without one, the model’s own.',
        },
        maxTokens: {
          type: 'integer',
          minimum: 1,
          maximum: 1024,
          default: 64,
          description: 'Tokens of a caption at most; one that would be longer has `"truncated": true`.',
        },
        temperature: {
          type: 'number',
          minimum: 0,
          maximum: 2,
          default: 0,
          description: 'Randomness of the words; 0 always takes the likeliest.',
        },
        imageSize: {
          enum: [256, 512, 768],
          description: 'Side of the square a frame is resized to: small is fast. Without one, `model.imageSize`.',
        },
      },
    },
  },

  start(ctx) {
    ctx.onFrame((frame) => captionFrame(ctx, frame));
    ctx.onRequest('caption', async (request) => {
      const question = questionOf(request.payload);
      if (request.image === undefined || request.audio !== undefined) {
        throw new PluginError('REQUEST_INVALID', 'caption.image: expected a JPEG, PNG or WebP as base64, and no audio');
      }
      const result = await ctx.generate(jobFor(ctx, request.image, { ...question, prompt: question.prompt ?? ctx.config.prompt }, request));
      return {
        text: result.text.trim(),
        ...(question.language !== undefined && { lang: question.language }),
        tokens: result.tokens,
        truncated: result.finishReason === 'length',
      };
    });
  },
});
