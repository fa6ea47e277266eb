/**
 * Drafting tokens changes nothing in a reply: the trained model on its evaluation set, token by token and drafted, with
 * and without a schema; and how much of what is drafted is right.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { replySchema } from '../../daemon/calls';
import { type GenerateHooks, generate } from '../../daemon/inference/generate';
import { type DraftOptions, NativeEngine, type NativeSession, type SoftTokens } from '../../daemon/inference/native';
import { buildPrompt } from '../../daemon/inference/prompt';
import { StepScheduler } from '../../daemon/inference/step-scheduler';
import type { GenerateRequest, GenerateResult, Part } from '../../daemon/inference/types';
import { convertCheckpoint } from '../../daemon/models/convert/convert';
import { randomCheckpoint } from '../helpers/checkpoint';
import { demoFunctions } from '../helpers/demo-functions';
import { Nano, pictureOf, soundOf } from '../helpers/nano';
import { availableIsas } from '../helpers/native';

interface EvalItem {
  readonly kind: 'image' | 'audio' | 'text';
  readonly file: string | null;
  readonly prompt: string;
  readonly reference: string;
}

interface Prompt {
  readonly ids: Int32Array;
  readonly soft: readonly SoftTokens[];
}

type Options = Omit<GenerateRequest, 'messages'>;

interface Counts {
  tokens: number;
  steps: number;
  drafted: number;
  accepted: number;
}

const modelPath = 'daemon/demo/model/nano.gguf';
const evalDir = 'test/fixtures/nano-eval';
const items = JSON.parse(readFileSync(join(evalDir, 'eval.json'), 'utf8')) as EvalItem[];
const isCall = ({ prompt }: EvalItem): boolean => prompt.startsWith('Answer with one JSON function call');
const callSchema = replySchema(demoFunctions.map(({ publish: _publish, ...declared }) => declared));
/** They change nothing, and one is quicker than two that wait for each other where other tests run. */
const threads = 1;
const mostTokens = 64;
/** Whatever can be guessed is drafted, however unlikely it is. */
const eager = 1e-12;

async function mediaOf({ kind, file }: EvalItem): Promise<Part[]> {
  if (file === null) return [];
  const path = join(evalDir, file);
  return [kind === 'image' ? await pictureOf(path) : await soundOf(path)];
}

async function promptOf(engine: NativeEngine, item: EvalItem): Promise<Prompt> {
  const parts: Part[] = [...(await mediaOf(item)), { type: 'text', text: item.prompt }];
  const { ids, media } = buildPrompt(engine, [{ role: 'user', parts }]);
  const soft: SoftTokens[] = [];
  for (const part of media) {
    soft.push(
      part.type === 'image' ? await engine.encodeImage(part.image, 0) : await engine.encodeAudio(part.audio.samples),
    );
  }
  return { ids, soft };
}

async function start(session: NativeSession, { ids, soft }: Prompt, schema: string | null): Promise<void> {
  session.rewind(0);
  session.setGrammar(schema);
  session.append(ids, soft);
  while ((await session.advance(256)) > 0);
}

/** As decoding was before there were drafts. */
async function oneByOne(session: NativeSession): Promise<number[]> {
  const tokens: number[] = [];
  while (tokens.length < mostTokens) {
    const { token, end } = session.sample({});
    tokens.push(token);
    if (end) break;
    await session.advance(1);
  }
  return tokens;
}

async function drafted(session: NativeSession, draft: DraftOptions, counts?: Counts): Promise<number[]> {
  const tokens: number[] = [];
  let end = false;
  while (tokens.length < mostTokens && !end) {
    const decoded = await session.decode({}, mostTokens - tokens.length, draft);
    tokens.push(...decoded.sampled.map(({ token }) => token));
    end = decoded.sampled.at(-1)?.end === true;
    if (counts === undefined) continue;
    counts.steps++;
    counts.drafted += decoded.drafted;
    counts.accepted += decoded.accepted;
  }
  if (counts !== undefined) counts.tokens += tokens.length;
  return tokens;
}

describe('drafted and token by token', () => {
  /** One session for each way, so that what it drafts from is all that came before. */
  async function expectSame(engine: NativeEngine, chosen: readonly EvalItem[], drafts: readonly DraftOptions[]) {
    const plain = engine.newSession();
    const sessions = drafts.map((draft) => ({ draft, session: engine.newSession() }));
    let total = 0;
    const wrong: string[] = [];
    for (const item of chosen) {
      const prompt = await promptOf(engine, item);
      for (const schema of isCall(item) ? [null, JSON.stringify(callSchema)] : [null]) {
        await start(plain, prompt, schema);
        const expected = await oneByOne(plain);
        for (const { draft, session } of sessions) {
          const counts: Counts = { tokens: 0, steps: 0, drafted: 0, accepted: 0 };
          await start(session, prompt, schema);
          const actual = await drafted(session, draft, counts);
          total += counts.drafted;
          if (actual.join() !== expected.join()) {
            wrong.push(`${item.file ?? item.prompt}, ${JSON.stringify(draft)}: ${actual} instead of ${expected}`);
          }
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(total).toBeGreaterThan(5 * chosen.length);
  }

  const ofKind = (kind: EvalItem['kind']): EvalItem[] => items.filter((item) => item.kind === kind);

  test.each(['image', 'audio'] as const)(
    '%s: the same tokens of 50 items',
    async (kind) => {
      const { engine } = await Nano.open({ threads });
      await expectSame(engine, ofKind(kind), [{}, { maxTokens: 8, rowCost: eager }, { maxTokens: 3, rowCost: eager }]);
    },
    120_000,
  );

  test('text: the same tokens of 50 items, with drafts of 1 to 8 tokens', async () => {
    const { engine } = await Nano.open({ threads });
    const drafts = [1, 2, 3, 4, 5, 6, 7, 8].map((maxTokens) => ({ maxTokens, rowCost: eager }));
    await expectSame(engine, ofKind('text'), [{}, ...drafts]);
  }, 120_000);

  test('text: the same tokens with every instruction set', async () => {
    for (const isa of await availableIsas(modelPath)) {
      const engine = await NativeEngine.open({ modelPath, isa, threads });
      await expectSame(engine, ofKind('text'), [{ maxTokens: 8, rowCost: eager }]);
    }
  }, 240_000);
});

describe('quantised, past the end of the ring of a sliding window', () => {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-speculation-'));
  const checkpoint = join(directory, 'checkpoint');
  // Words that come again: 600 tokens, of which a window's ring keeps 528.
  const prompt = Int32Array.from({ length: 600 }, (_, i) => (i === 0 ? 2 : 300 + (((i % 23) * 37) % 600)));

  beforeAll(() => void randomCheckpoint(checkpoint));
  afterAll(() => rmSync(directory, { recursive: true }));

  test.each(['q4_0', 'q8_0'] as const)(
    '%s: the same tokens, and the same logits bit for bit',
    async (type) => {
      const path = join(directory, `${type}.gguf`);
      await convertCheckpoint({ checkpointDir: checkpoint, outPath: path, type });
      for (const isa of await availableIsas(path)) {
        const engine = await NativeEngine.open({ modelPath: path, isa, threads });
        const plain = engine.newSession();
        await start(plain, { ids: prompt, soft: [] }, null);
        const expected = await oneByOne(plain);
        for (const maxTokens of [1, 2, 5, 8]) {
          const counts: Counts = { tokens: 0, steps: 0, drafted: 0, accepted: 0 };
          const session = engine.newSession();
          await start(session, { ids: prompt, soft: [] }, null);
          expect(await drafted(session, { maxTokens, rowCost: eager }, counts)).toEqual(expected);
          expect(counts.drafted).toBeGreaterThan(20);
          expect(session.position).toBe(prompt.length + mostTokens - 1);
          await session.advance(1);
          expect(Buffer.from(session.logits().buffer).equals(Buffer.from(plain.logits().buffer))).toBe(true);
        }
      }
    },
    60_000,
  );
});

describe('what is drafted is right', () => {
  // The figures of addon/README.md. `rowCost` stands for a machine that waits for its memory.
  const draft = { maxTokens: 8, rowCost: 0.2 };

  async function measure(chosen: readonly EvalItem[], schema: string | null, fresh: boolean): Promise<Counts> {
    const { engine } = await Nano.open({ threads });
    const counts: Counts = { tokens: 0, steps: 0, drafted: 0, accepted: 0 };
    let session = engine.newSession();
    for (const item of chosen) {
      if (fresh) session = engine.newSession();
      await start(session, await promptOf(engine, item), schema);
      await drafted(session, draft, counts);
    }
    return counts;
  }

  const shareRight = ({ drafted: all, accepted }: Counts): number => accepted / all;
  const tokensPerStep = ({ tokens, steps }: Counts): number => tokens / steps;

  test('function calls under their schema, each in a session of its own', async () => {
    const counts = await measure(items.filter(isCall), JSON.stringify(callSchema), true);
    expect(shareRight(counts)).toBeGreaterThan(0.9);
    expect(tokensPerStep(counts)).toBeGreaterThan(3.3);
  }, 60_000);

  test('function calls under their schema, one after the other', async () => {
    const counts = await measure(items.filter(isCall), JSON.stringify(callSchema), false);
    expect(shareRight(counts)).toBeGreaterThan(0.7);
    expect(tokensPerStep(counts)).toBeGreaterThan(3.7);
  }, 60_000);

  test('free text: what is drafted in vain is paid for by what is right', async () => {
    const counts = await measure(
      items.filter((item) => !isCall(item)),
      null,
      false,
    );
    expect(tokensPerStep(counts)).toBeGreaterThan(1.2);
    const cost = counts.steps + draft.rowCost * counts.drafted;
    expect(cost).toBeLessThan(counts.tokens);
  }, 120_000);
});

describe('generate', () => {
  const call = items.find((item) => isCall(item) && item.kind === 'text' && item.reference !== 'null') as EvalItem;
  let engine: NativeEngine;
  let session: NativeSession;
  let totalDrafted = 0;

  async function ask(options: Options, hooks: Partial<GenerateHooks> = {}): Promise<GenerateResult> {
    const result = await generate(
      engine,
      session,
      { messages: [{ role: 'user', parts: [{ type: 'text', text: call.prompt }] }], ...options },
      { slice: 'full', imageSize: 0 },
      { onText: () => undefined, step: async (work) => await work(), ...hooks },
    );
    totalDrafted += result.tokens.drafted ?? 0;
    return result;
  }

  const both = async (options: Options): Promise<[GenerateResult, GenerateResult]> => [
    await ask({ ...options, speculation: 'on' }),
    await ask({ ...options, speculation: 'off' }),
  ];

  beforeAll(async () => {
    ({ engine } = await Nano.open({ threads }));
    session = engine.newSession();
    // How much is drafted does not depend on how fast this machine is just now.
    const decode = session.decode.bind(session);
    session.decode = (sampling, most, draft) =>
      decode(sampling, most, draft?.maxTokens === 0 ? draft : { ...draft, rowCost: eager });
    // A reply to draft from.
    await ask({});
  });

  beforeEach(() => {
    totalDrafted = 0;
  });

  test('reports what was drafted, where it was on', async () => {
    const [on, off] = await both({ schema: callSchema });
    expect(on.text).toBe(call.reference);
    expect(off.text).toBe(call.reference);
    const { prompt, completion } = on.tokens;
    expect(off.tokens).toEqual({ prompt, completion, cached: prompt - 1 });
    expect(on.tokens.accepted).toBeGreaterThan(on.tokens.completion / 2);
    expect(on.tokens.drafted).toBeGreaterThanOrEqual(on.tokens.accepted ?? Number.NaN);
  });

  test('auto: replies that are greedy or have a schema', async () => {
    const isOn = async (options: Options): Promise<boolean> =>
      (await ask({ maxTokens: 4, ...options })).tokens.drafted !== undefined;
    expect(await isOn({})).toBe(true);
    expect(await isOn({ sampling: { temperature: 1 } })).toBe(false);
    expect(await isOn({ sampling: { temperature: 1 }, schema: callSchema })).toBe(true);
    expect(await isOn({ sampling: { temperature: 1 }, speculation: 'on' })).toBe(true);
    expect(await isOn({ speculation: 'off' })).toBe(false);
    await expect(isOn({ speculation: 'perhaps' as 'on' })).rejects.toMatchObject({ code: 'OPTION_INVALID' });
  });

  test('the same reply to the token, wherever maxTokens cuts it', async () => {
    for (let maxTokens = 1; maxTokens <= 26; maxTokens++) {
      for (const schema of [callSchema, undefined]) {
        const [on, off] = await both({ maxTokens, ...(schema !== undefined && { schema }) });
        expect([on.text, on.finishReason, on.tokens.completion]).toEqual([
          off.text,
          off.finishReason,
          off.tokens.completion,
        ]);
        expect(on.tokens.completion).toBeLessThanOrEqual(maxTokens);
      }
    }
    expect(totalDrafted).toBeGreaterThan(100);
  });

  test('the same reply to the token, wherever a stop text cuts it', async () => {
    for (const stop of [['"arguments"'], ['e'], [': {"r', 'zz'], ['}}'], ['}'], ['{'], ['nowhere']]) {
      const [on, off] = await both({ stop });
      expect([on.text, on.finishReason, on.tokens.completion]).toEqual([
        off.text,
        off.finishReason,
        off.tokens.completion,
      ]);
    }
    expect(totalDrafted).toBeGreaterThan(20);
  });

  test('with a temperature, the same tokens of a seed', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const [on, off] = await both({ sampling: { temperature: 1.2, topK: 40, seed } });
      expect(on.text).toBe(off.text);
    }
    expect(totalDrafted).toBeGreaterThan(10);
  });

  test('is cancelled between two steps, and the session goes on as if nothing had been', async () => {
    const before = await ask({ speculation: 'on' });
    for (const cancelAt of [1, 2, 3]) {
      const abort = new AbortController();
      let pieces = 0;
      const cancelled = ask(
        { speculation: 'on', schema: callSchema },
        {
          step: new StepScheduler().join(0, abort.signal).step,
          onText: () => {
            if (++pieces === cancelAt) abort.abort();
          },
        },
      );
      await expect(cancelled).rejects.toMatchObject({ code: 'ENGINE_CANCELLED' });
      // What had been accepted with the piece is still told; nothing is after that.
      expect(pieces).toBeLessThan(cancelAt + 9);
      const after = await ask({ speculation: 'on' });
      expect(after.text).toBe(before.text);
    }
  });

  test('a draft the addon does not take is refused', async () => {
    const other = engine.newSession();
    for (const draft of [
      { maxTokens: 9 },
      { maxTokens: -1 },
      { maxTokens: 1.5 },
      { rowCost: -1 },
      { rowCost: Number.NaN },
    ])
      await expect(other.decode({}, 1, draft)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    for (const maxTokens of [0, 2 ** 31, 0.5])
      await expect(other.decode({}, maxTokens)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    await expect(other.decode({}, 1)).rejects.toMatchObject({ code: 'PROMPT_INVALID' });
  });
});
