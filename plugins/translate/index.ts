/**
 * Says in other languages what is said: every speech segment becomes one `translation` event for each language asked
 * for; the verb `translate` does it for a text or a WAV.
 */
import {
  type PluginContext,
  type PluginGenerateRequest,
  type PluginPart,
  PluginError,
  type RequestItem,
  type SegmentItem,
  definePlugin,
} from '../../daemon/plugins/api';

interface TranslateConfig {
  readonly to: readonly string[];
  readonly maxTokens: number;
}

const maxTextChars = 16_000;

/** The name the model's prompts have for a language. */
function languageName(ctx: PluginContext<TranslateConfig>, code: string): string | undefined {
  const { languages } = ctx.model.prompts;
  return Object.hasOwn(languages, code) ? languages[code] : undefined;
}

/** Filled in by function: `$&` in a text is a text. */
function fill(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(/\{(lang|text)\}/g, (placeholder, name: string) => values[name] ?? placeholder);
}

function jobFor(
  ctx: PluginContext<TranslateConfig>,
  parts: readonly PluginPart[],
  item: { readonly id: string },
): PluginGenerateRequest {
  return {
    messages: [{ role: 'user', parts }],
    maxTokens: ctx.config.maxTokens,
    sampling: { temperature: 0 },
    item,
  };
}

async function translateSegment(ctx: PluginContext<TranslateConfig>, segment: SegmentItem): Promise<void> {
  for (const lang of ctx.config.to) {
    if (lang === segment.settings?.language) continue;
    const text = fill(ctx.model.prompts.translateAudio, { lang: languageName(ctx, lang) ?? lang });
    const parts = [{ type: 'media', media: segment.media }, { type: 'text', text }] as const;
    const result = await ctx.generate(jobFor(ctx, parts, segment));
    await ctx.emit({ kind: 'translation', item: segment, result, text: result.text.trim(), lang });
  }
}

function partsOf(ctx: PluginContext<TranslateConfig>, request: RequestItem, lang: string): readonly PluginPart[] {
  const { text } = request.payload;
  if (request.audio !== undefined) {
    return [
      { type: 'media', media: request.audio },
      { type: 'text', text: fill(ctx.model.prompts.translateAudio, { lang }) },
    ];
  }
  if (typeof text !== 'string' || text.trim() === '' || text.length > maxTextChars) {
    throw new PluginError('REQUEST_INVALID', `translate.text: expected text of 1 to ${maxTextChars} characters, or audio`);
  }
  return [{ type: 'text', text: fill(ctx.model.prompts.translate, { lang, text }) }];
}

async function answer(ctx: PluginContext<TranslateConfig>, request: RequestItem): Promise<unknown> {
  const { to, text, ...rest } = request.payload;
  const unknown = Object.keys(rest)[0] ?? (request.image === undefined ? undefined : 'image');
  if (unknown !== undefined) {
    throw new PluginError('REQUEST_INVALID', `translate: expected text or audio, and to; received ${JSON.stringify(unknown.slice(0, 80))}`);
  }
  if (text !== undefined && request.audio !== undefined) {
    throw new PluginError('REQUEST_INVALID', 'translate: expected text or audio, received both');
  }
  const name = typeof to === 'string' ? languageName(ctx, to) : undefined;
  if (typeof to !== 'string' || name === undefined) {
    throw new PluginError('REQUEST_INVALID', `translate.to: expected one of ${Object.keys(ctx.model.prompts.languages).join(' ')}`);
  }
  const result = await ctx.generate(jobFor(ctx, partsOf(ctx, request, name), request));
  return { text: result.text.trim(), lang: to, tokens: result.tokens, truncated: result.finishReason === 'length' };
}

export default definePlugin<TranslateConfig>({
  manifest: {
    name: 'translate',
    version: '1.0.0',
    apiVersion: '^1.0.0',
    description: 'Translates the speech of microphones.',
    consumes: ['segment'],
    verbs: ['translate'],
    emits: ['translation'],
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        to: {
          type: 'array',
          items: { type: 'string', pattern: '^[a-z]{2,3}$' },
          maxItems: 16,
          uniqueItems: true,
          default: [],
          description:
            'Codes of the languages every segment is translated into, such as `[en, de]`; the `language` of its stream is left out. Empty: only the verb.',
        },
        maxTokens: {
          type: 'integer',
          minimum: 1,
          maximum: 2048,
          default: 256,
          description: 'Tokens of a translation at most; one that would be longer has `"truncated": true`.',
        },
      },
    },
  },

  start(ctx) {
    const unknown = ctx.config.to.find((code) => languageName(ctx, code) === undefined);
    if (unknown !== undefined) {
      const known = Object.keys(ctx.model.prompts.languages).join(' ');
      throw new PluginError('PLUGIN_CONFIG_INVALID', `to: expected languages of the model (${known}), received ${JSON.stringify(unknown)}`);
    }
    // Without a target there is nothing to do with a segment, and it should count as not taken.
    if (ctx.config.to.length > 0) ctx.onSegment((segment) => translateSegment(ctx, segment));
    ctx.onRequest('translate', (request) => answer(ctx, request));
  },
});
