/** Writes down what is said: every speech segment becomes a `transcript` event; the verb `transcribe` does it for a WAV. */
import {
  type MediaRef,
  type PluginContext,
  type PluginGenerateRequest,
  PluginError,
  type SegmentItem,
  definePlugin,
} from '../../daemon/plugins/api';

interface TranscribeConfig {
  readonly prompt?: string;
  readonly maxTokens: number;
}

function jobFor(
  ctx: PluginContext<TranscribeConfig>,
  media: MediaRef,
  prompt: string | undefined,
  item: { readonly id: string },
): PluginGenerateRequest {
  const text = prompt ?? ctx.config.prompt ?? ctx.model.prompts.transcribe;
  return {
    messages: [{ role: 'user', parts: [{ type: 'media', media }, { type: 'text', text }] }],
    maxTokens: ctx.config.maxTokens,
    // A transcript has one right answer.
    sampling: { temperature: 0 },
    item,
  };
}

async function transcribeSegment(ctx: PluginContext<TranscribeConfig>, segment: SegmentItem): Promise<void> {
  const result = await ctx.generate(jobFor(ctx, segment.media, segment.settings?.prompt, segment));
  const lang = segment.settings?.language;
  await ctx.emit({
    kind: 'transcript',
    item: segment,
    result,
    text: result.text.trim(),
    ...(lang !== undefined && { lang }),
  });
}

export default definePlugin<TranscribeConfig>({
  manifest: {
    name: 'transcribe',
    version: '1.0.0',
    apiVersion: '^1.0.0',
    description: 'Transcribes the speech of microphones.',
    consumes: ['segment'],
    verbs: ['transcribe'],
    emits: ['transcript'],
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        prompt: {
          type: 'string',
          minLength: 1,
          maxLength: 4000,
          description: 'What is asked about every segment; the `prompt` of a stream beats it. Without one, the model’s own.',
        },
        maxTokens: {
          type: 'integer',
          minimum: 1,
          maximum: 2048,
          default: 256,
          description: 'Tokens of a transcript at most; one that would be longer has `"truncated": true`.',
        },
      },
    },
  },

  start(ctx) {
    ctx.onSegment((segment) => transcribeSegment(ctx, segment));
    ctx.onRequest('transcribe', async (request) => {
      const unknown = Object.keys(request.payload)[0];
      if (unknown !== undefined) {
        throw new PluginError('REQUEST_INVALID', `transcribe: expected audio, received ${JSON.stringify(unknown.slice(0, 80))}`);
      }
      if (request.audio === undefined || request.image !== undefined) {
        throw new PluginError('REQUEST_INVALID', 'transcribe.audio: expected a WAV as base64, and no image');
      }
      const result = await ctx.generate(jobFor(ctx, request.audio, undefined, request));
      return { text: result.text.trim(), tokens: result.tokens, truncated: result.finishReason === 'length' };
    });
  },
});
