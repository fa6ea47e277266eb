/** Turns what is said, written or seen into calls of functions, and runs those that the policy lets through. */
import {
  definePlugin,
  type EmitFields,
  type FrameItem,
  PluginError,
  type PluginPart,
  type PluginResult,
  type SegmentItem,
} from '../../daemon/plugins/api';
import { type Config, configSchema } from './config-schema';
import { type Conversation, converse } from './conversation';
import { Desk, type Execute, type Outcome } from './desk';
import { type Call, checkFunctions } from './functions';
import { type Offer, Offers } from './offer';
import { type Origin, Policy } from './policy';
import { parseRequest } from './request';
import { Results } from './results';
import { fillPayload, fillTopic } from './templates';

const expiryCheckMs = 1000;

/** As Python's json.dumps writes it: a short line for a state or a log. */
function summarise(call: Pick<Outcome, 'name' | 'arguments'>): string {
  const given = Object.entries(call.arguments).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `${call.name}(${given.join(', ')})`;
}

/** Only what took effect, or would have, is a `call` to those that act on events. */
function eventOf({ topic: _topic, ...outcome }: Outcome): Omit<EmitFields, 'item'> {
  const { status, name, arguments: args, reason } = outcome;
  const effective = status === 'executed' || status === 'dry-run';
  const suffix = status === 'executed' ? '' : ` ${status}${reason === undefined ? '' : `: ${reason}`}`;
  return {
    kind: 'call',
    call: effective ? { name, arguments: args } : null,
    outcome,
    ...(status === 'dry-run' && { dry_run: true }),
    summary: summarise(outcome) + suffix,
  };
}

/** Of the run that this module was loaded for. */
let desk: Desk | undefined;

export default definePlugin<Config>({
  manifest: {
    name: 'function-calls',
    version: '1.1.0',
    apiVersion: '^1.2.0',
    description: 'Calls functions from speech, text and pictures.',
    consumes: ['segment', 'frame'],
    verbs: ['call'],
    emits: ['call', 'answer'],
    topics: {
      publish: ['{config.functions.*.publish.topic}', '{base}/{node}/audit'],
      subscribe: ['{config.functions.*.result.topic}'],
    },
    configSchema,
  },

  async start(ctx) {
    const { config, signal } = ctx;
    const { functions, pictures } = config;
    checkFunctions(functions);
    const offers = new Offers(functions, config.registered, config.maxCalls);
    const results = new Results();
    const offer = async (): Promise<Offer> => offers.with(await ctx.functions());

    const execute: Execute = async (id, call, origin) => {
      const own = functions.find(({ name }) => name === call.name);
      if (own === undefined) {
        const { source, stream } = origin;
        const result = await ctx.callFunction(call.name, call.arguments, {
          id,
          source,
          ...(stream !== null && { stream }),
        });
        return { topic: null, result };
      }
      const { publish, result } = own;
      if (publish === undefined) return { topic: null };
      const topic = fillTopic(publish.topic, call);
      const payload = fillPayload(publish.payload, { ...call, id });
      const send = async (): Promise<void> => {
        await ctx.publish(topic, payload, { qos: publish.qos, retain: publish.retain });
        ctx.log.info(`${call.name} published`, { topic });
      };
      if (result !== undefined) return { topic, result: await results.wait(id, result.topic, result.timeoutMs, send) };
      await send();
      return { topic };
    };
    const calls = new Desk(ctx, new Policy(config), execute);
    desk = calls;

    /** What every call of a reply became; a failure is passed on once all have had their turn. */
    const handleAll = async (
      called: readonly Call[],
      origin: Origin,
      { terms }: Offer,
      dryRun: boolean,
      { now, later }: { now(outcome: Outcome): Promise<void>; later(outcome: Outcome): Promise<void> },
    ): Promise<Outcome[]> => {
      const outcomes: Outcome[] = [];
      const failures: unknown[] = [];
      for (const call of called) {
        try {
          const outcome = await calls.handle(call, origin, terms(call.name), dryRun, later);
          outcomes.push(outcome);
          await now(outcome);
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length > 0) throw failures[0];
      return outcomes;
    };

    const takeItem = async (item: SegmentItem | FrameItem, source: Origin['source'], text: string): Promise<void> => {
      const offered = await offer();
      if (offered.functions.length === 0) throw new PluginError('ITEM_UNWANTED', 'expected functions to call');
      const media: PluginPart[] = [{ type: 'media', media: item.media }];
      const origin = { source, stream: item.stream };
      const handle = async (calls: readonly Call[], result: PluginResult): Promise<readonly Outcome[]> => {
        if (calls.length === 0) await ctx.emit({ kind: 'call', item, result, call: null, summary: 'no call' });
        return await handleAll(calls, origin, offered, false, {
          now: async (outcome) => await ctx.emit({ item, result, ...eventOf(outcome) }),
          later: async (outcome) => await ctx.emit({ item, late: true, ...eventOf(outcome) }),
        });
      };
      const { answer } = await converse(ctx, offered, { id: item.id, media, text }, handle);
      if (answer !== undefined) await ctx.emit({ kind: 'answer', item, result: answer, text: answer.text.trim() });
    };

    const idle = functions.length === 0 && config.registered.length === 0;
    if (!idle) ctx.onSegment(async (segment) => await takeItem(segment, 'speech', ''));
    if (!idle && Object.keys(pictures).length > 0) {
      ctx.onFrame(async (frame) => {
        const text = Object.hasOwn(pictures, frame.stream) ? pictures[frame.stream] : undefined;
        if (text === undefined) throw new PluginError('ITEM_UNWANTED', `expected a camera listed under pictures`);
        await takeItem(frame, 'picture', text);
      });
    }

    ctx.onRequest('call', async (request) => {
      const asked = parseRequest(request);
      if ('settle' in asked) {
        const { topic, ...outcome } = await calls.settle(asked.settle, asked.confirmed);
        return { calls: [outcome], topic };
      }
      const offered = await offer();
      if (offered.functions.length === 0)
        throw new PluginError(
          'REQUEST_INVALID',
          'call: expected functions, declared under plugins.function-calls.config or registered by a plugin',
        );
      const { source, media, text, dryRun } = asked;
      const handle = async (calls: readonly Call[]): Promise<readonly Outcome[]> =>
        await handleAll(calls, { source, stream: null }, offered, dryRun, {
          now: async () => undefined,
          later: async () => undefined,
        });
      return responseOf(await converse(ctx, offered, { id: request.id, media, text }, handle));
    });

    for (const topic of new Set(functions.flatMap(({ result }) => (result === undefined ? [] : [result.topic]))))
      await ctx.subscribe(topic, (from, payload) => results.receive(from, payload));

    const timer = setInterval(() => {
      calls.expire().catch((error: unknown) => ctx.log.warn('an expired call was not told', { reason: String(error) }));
    }, expiryCheckMs);
    timer.unref();
    signal.addEventListener('abort', () => clearInterval(timer));
  },

  async stop() {
    await desk?.close();
  },
});

function responseOf({ rounds, answer }: Conversation): unknown {
  const outcomes = rounds.flatMap((round) => round.outcomes);
  const first = rounds.flatMap(({ calls }) => calls)[0] ?? null;
  const last = answer ?? rounds.at(-1)?.result;
  return {
    call: first,
    topic: outcomes.find(({ topic }) => topic !== null)?.topic ?? null,
    calls: outcomes.map(({ topic: _topic, ...outcome }) => outcome),
    ...(answer !== undefined && { answer: answer.text.trim() }),
    tokens: last?.tokens,
    slice: last?.slice,
    governor: last?.choice,
  };
}
