/** From what was said to calls, from their results to further calls, and in the end to an answer in words. */
import {
  callPrompt,
  fillCallPrompt,
  type PluginContext,
  type PluginMessage,
  type PluginPart,
  type PluginResult,
  resultText,
} from '../../daemon/plugins/api';
import type { Config } from './config-schema';
import type { Outcome } from './desk';
import type { Call } from './functions';
import type { Offer } from './offer';

export interface Round {
  /** The model's reply with the calls. */
  readonly result: PluginResult;
  readonly calls: readonly Call[];
  readonly outcomes: readonly Outcome[];
}

export interface Conversation {
  readonly rounds: readonly Round[];
  /** Where a call gave a result. */
  readonly answer?: PluginResult;
}

interface Asked {
  /** The item or request in hand. */
  readonly id: string;
  readonly media: readonly PluginPart[];
  readonly text: string;
}

const maxResultCharacters = 4096;

function told({ name, status, result, reason }: Outcome): string {
  const text = result === undefined ? { status, ...(reason !== undefined && { reason }) } : result;
  const content = typeof text === 'string' ? text : JSON.stringify(text);
  return resultText(name, content.slice(0, maxResultCharacters));
}

/** `handle` gets the calls of a reply and resolves to what became of them. */
export async function converse(
  ctx: PluginContext<Config>,
  offer: Offer,
  { id, media, text }: Asked,
  handle: (calls: readonly Call[], result: PluginResult) => Promise<readonly Outcome[]>,
): Promise<Conversation> {
  const { config, model } = ctx;
  const { maxCalls, maxTokens } = config;
  const asking = (words: string): string =>
    config.prompt === null
      ? callPrompt(model.prompts, offer.functions, words, maxCalls)
      : fillCallPrompt(config.prompt, offer.functions, words, maxCalls);
  const common = { item: { id }, maxTokens, sampling: { temperature: 0 } } as const;
  const said = (words: string): PluginMessage => ({ role: 'user', parts: [{ type: 'text', text: words }] });

  const before: PluginMessage[] = [];
  let question: PluginMessage = { role: 'user', parts: [...media, { type: 'text', text: asking(text) }] };
  let results = '';
  const rounds: Round[] = [];
  while (rounds.length < config.maxRounds) {
    const result = await ctx.generate({
      ...common,
      messages: [...before, question],
      schema: offer.schema,
      // What was asked for is done although someone speaks on.
      bargeIn: false,
    });
    const calls = offer.parse(result.text, result.finishReason === 'length');
    const outcomes = await handle(calls, result);
    rounds.push({ result, calls, outcomes });
    if (outcomes.every((outcome) => outcome.result === undefined)) break;
    before.push(question, { role: 'model', parts: [{ type: 'text', text: result.text }] });
    results = outcomes.map(told).join('\n');
    question = said(asking(results));
  }
  if (results === '') return { rounds };
  const answer = await ctx.generate({ ...common, messages: [...before, said(`${results}\n${config.answerPrompt}`)] });
  return { rounds, answer };
}
