/** Speech recognition for Hermes (Rhasspy): what a satellite hears becomes `hermes/asr/textCaptured`. */
import { definePlugin, PluginError, type PluginResult, type SegmentItem } from '../../daemon/plugins/api';
import { captured, controls, controlTopic, failed, parseSiteMessage, siteOf } from './messages';
import { type Session, Sites } from './sites';

interface Config {
  readonly listen: 'always' | 'session';
  readonly prompt: string | null;
  readonly maxTokens: number;
  readonly closeMs: number;
}

export default definePlugin<Config>({
  manifest: {
    name: 'hermes',
    version: '1.0.0',
    apiVersion: '^1.1.0',
    description: 'Transcribes for Hermes, the protocol of Rhasspy.',
    consumes: ['segment'],
    topics: {
      publish: [captured, failed, '{base}/in/+/audio/end'],
      subscribe: controls.map(controlTopic),
    },
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        listen: {
          enum: ['always', 'session'],
          default: 'always',
          description: '`session`: only between `hermes/asr/startListening` and `stopListening` of the site.',
        },
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
        closeMs: {
          type: 'integer',
          minimum: 100,
          maximum: 10_000,
          default: 1500,
          description: 'After `stopListening`, silence for so many milliseconds is an empty text.',
        },
      },
    },
  },

  async start(ctx) {
    const { config, model } = ctx;
    const state = new Sites();
    ctx.signal.addEventListener('abort', () => state.clear());

    const capture = async (
      siteId: string,
      session: Session | undefined,
      said: { readonly text: string; readonly seconds: number; readonly lang?: string | undefined },
    ): Promise<void> => {
      const message = {
        text: said.text,
        // The runtime gives no probability of a transcript.
        likelihood: said.text === '' ? 0 : 1,
        seconds: said.seconds,
        siteId,
        sessionId: session?.sessionId ?? null,
        wakewordId: session?.wakewordId ?? null,
        asrTokens: null,
        lang: said.lang ?? session?.lang ?? null,
      };
      await ctx.publish(captured, JSON.stringify(message), { qos: 1 });
    };

    const fail = async (error: unknown, siteId: string, session?: Session): Promise<void> => {
      const { code = 'INTERNAL', message } = error as { readonly code?: string; readonly message: string };
      const said = { error: `${code}: ${message}`, siteId, context: 'hearth', sessionId: session?.sessionId ?? null };
      await ctx.publish(failed, JSON.stringify(said), { qos: 1 });
    };

    /** The site a segment is for. Throws `ITEM_UNWANTED`. */
    const wanted = (segment: SegmentItem): string => {
      const named = siteOf(segment.topic);
      if (named !== undefined) state.hear(named, segment.stream);
      const siteId = named ?? state.siteOn(segment.stream);
      if (siteId === undefined) throw new PluginError('ITEM_UNWANTED', `${segment.stream}: expected a site of Hermes`);
      if (state.isOff(siteId)) throw new PluginError('ITEM_UNWANTED', `${siteId}: switched off by toggleOff`);
      if (config.listen === 'session' && state.session(siteId) === undefined) {
        throw new PluginError('ITEM_UNWANTED', `${siteId}: expected startListening before`);
      }
      return siteId;
    };

    const transcribe = async (segment: SegmentItem): Promise<PluginResult> =>
      await ctx.generate({
        item: segment,
        messages: [
          {
            role: 'user',
            parts: [
              { type: 'media', media: segment.media },
              { type: 'text', text: config.prompt ?? model.prompts.transcribe },
            ],
          },
        ],
        maxTokens: config.maxTokens,
        sampling: { temperature: 0 },
        bargeIn: false,
      });

    ctx.onSegment(async (segment) => {
      const siteId = wanted(segment);
      const session = state.session(siteId);
      if (session !== undefined) session.taken++;
      if (session?.closing !== undefined) state.end(siteId);
      try {
        const { text, timings } = await transcribe(segment);
        const lang = segment.settings?.language;
        await capture(siteId, session, { text: text.trim(), seconds: timings.total / 1000, lang });
      } catch (error) {
        await fail(error, siteId, session);
        throw error;
      }
    });

    /** Takes what was said so far; a session that hears nothing more ends with an empty text. */
    const close = async (siteId: string): Promise<void> => {
      const session = state.session(siteId);
      if (session === undefined) return;
      if (session.taken > 0 || session.closing !== undefined) {
        state.end(siteId);
        return;
      }
      session.closing = setTimeout(() => {
        if (state.session(siteId) === session) state.end(siteId);
        capture(siteId, session, { text: '', seconds: 0 }).catch((error: unknown) =>
          ctx.log.warn('an empty text did not get out', { siteId, reason: String(error) }),
        );
      }, config.closeMs);
      await ctx.publish(`${ctx.baseTopic}/in/${state.streamOn(siteId)}/audio/end`, '{}', { qos: 1 });
    };

    for (const control of controls) {
      await ctx.subscribe(controlTopic(control), async (topic, payload) => {
        try {
          const message = parseSiteMessage(topic, payload);
          if (control === 'startListening') state.start(message);
          else if (control === 'stopListening') await close(message.siteId);
          else state.switch(message.siteId, control === 'toggleOn');
        } catch (error) {
          await fail(error, 'default');
          throw error;
        }
      });
    }
  },
});
