/** Translates what is said, or what is written, into the languages it is told. */
import { definePlugin, PluginError, type PluginPart, type PluginResult } from '../../daemon/plugins/api';

interface Config {
  readonly languages: readonly string[];
  readonly maxTokens: number;
}

const maxTextCharacters = 16_384;
const knownMembers = ['text', 'target'];

export default definePlugin<Config>({
  manifest: {
    name: 'translate',
    version: '1.0.0',
    apiVersion: '^1.0.0',
    description: 'Translates speech and text.',
    consumes: ['segment'],
    verbs: ['translate'],
    emits: ['translation'],
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        languages: {
          type: 'array',
          uniqueItems: true,
          maxItems: 16,
          items: { type: 'string', pattern: '^[a-z]{2,3}$' },
          default: [],
          description:
            'ISO 639-1 codes of the languages every segment is translated into, one job each; the language of the stream itself is left out. With none, only requests are answered.',
        },
        maxTokens: {
          type: 'integer',
          minimum: 1,
          maximum: 4096,
          default: 512,
          description: 'Longest translation, in tokens.',
        },
      },
    },
  },

  start(ctx) {
    const { config, model } = ctx;
    const { languages, translate, translateAudio } = model.prompts;
    const known = Object.keys(languages).sort().join(' ');

    const nameOf = (code: string): string | undefined => (Object.hasOwn(languages, code) ? languages[code] : undefined);
    /** Not `replace` with text: `$&` in what someone said is no pattern. */
    const fill = (template: string, name: string, text: string): string =>
      template.replace(/\{(lang|text)\}/g, (_match, slot: string) => (slot === 'lang' ? name : text));

    for (const code of config.languages) {
      if (nameOf(code) !== undefined) continue;
      throw new PluginError(
        'PLUGIN_CONFIG_INVALID',
        `plugins.translate.config.languages: expected what ${model.name} knows (${known}), received ${code}`,
      );
    }

    const generate = async (parts: readonly PluginPart[], id: string): Promise<PluginResult> =>
      await ctx.generate({
        item: { id },
        messages: [{ role: 'user', parts }],
        maxTokens: config.maxTokens,
        sampling: { temperature: 0 },
      });

    if (config.languages.length > 0) {
      ctx.onSegment(async (segment) => {
        const failures: unknown[] = [];
        for (const lang of config.languages) {
          if (lang === segment.settings?.language) continue;
          try {
            const prompt = fill(translateAudio, nameOf(lang) ?? lang, '');
            const result = await generate(
              [
                { type: 'media', media: segment.media },
                { type: 'text', text: prompt },
              ],
              segment.id,
            );
            await ctx.emit({ kind: 'translation', item: segment, result, text: result.text.trim(), lang });
          } catch (error) {
            failures.push(error);
          }
        }
        // One language that failed is no reason to go without the others.
        if (failures.length > 0) throw failures[0];
      });
    }

    ctx.onRequest('translate', async ({ id, payload, image, audio }) => {
      const unknown = Object.keys(payload).find((member) => !knownMembers.includes(member));
      if (unknown !== undefined || image !== undefined) {
        throw new PluginError(
          'REQUEST_INVALID',
          `translate: expected text or audio, and target, received ${JSON.stringify((unknown ?? 'image').slice(0, 60))}`,
        );
      }
      const { text, target } = payload;
      const name = typeof target === 'string' ? nameOf(target) : undefined;
      if (name === undefined) {
        throw new PluginError(
          'REQUEST_INVALID',
          `translate: target: expected one of ${known}, received ${JSON.stringify(target ?? null).slice(0, 60)}`,
        );
      }
      if ((text === undefined) === (audio === undefined))
        throw new PluginError('REQUEST_INVALID', 'translate: expected either text or audio');
      if (text !== undefined && (typeof text !== 'string' || text.trim() === '' || text.length > maxTextCharacters)) {
        throw new PluginError('REQUEST_INVALID', `translate: text: expected 1 to ${maxTextCharacters} characters`);
      }
      const parts: PluginPart[] =
        audio === undefined
          ? [{ type: 'text', text: fill(translate, name, String(text)) }]
          : [
              { type: 'media', media: audio },
              { type: 'text', text: fill(translateAudio, name, '') },
            ];
      const result = await generate(parts, id);
      const { tokens, slice, choice } = result;
      return { text: result.text.trim(), lang: target, tokens, slice, governor: choice };
    });
  },
});
