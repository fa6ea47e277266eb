/** When a reply goes on with its tail, against a clock that is told what time it is; and that it does, with a real model. */
import { generate } from '../../../daemon/inference/generate';
import { NativeEngine, type NativeSession } from '../../../daemon/inference/native';
import { buildPrompt } from '../../../daemon/inference/prompt';
import { TailSwitch, type TailSwitchOptions } from '../../../daemon/inference/tail-switch';
import type { GenerateRequest, GenerateResult, Message } from '../../../daemon/inference/types';
import { Nano, pictureOf } from '../../helpers/nano';

/** After how many tokens of 10 ms each it changes; undefined when it does not. */
function switchesAfter(options: Partial<TailSwitchOptions>, tokens = 100): number | undefined {
  let now = 1000;
  const slices: unknown[] = [];
  const session = {
    setSlice: (slice: unknown): void => void slices.push(slice),
    get sliceName(): string {
      return String(slices.at(-1));
    },
  };
  const base = {
    slice: 'full',
    tailSlice: 'full-tail',
    deadlineAt: undefined,
    expectedTokens: undefined,
    maxTokens: 100,
  };
  const ending = new TailSwitch(session, { ...base, hurry: undefined, now: () => now, ...options });
  for (let token = 1; token < tokens; token++) {
    ending.before(token);
    if (ending.tail !== undefined) {
      expect(ending.tail).toEqual({ slice: 'full-tail', afterTokens: token });
      // Tried before the reply, taken back, and taken for good.
      expect(slices).toEqual(['full-tail', 'full', 'full-tail']);
      return token;
    }
    now += 10;
  }
  return undefined;
}

test('nothing changes without a tail, without a deadline, or with time enough', () => {
  expect(switchesAfter({ tailSlice: undefined, deadlineAt: 0 })).toBeUndefined();
  expect(switchesAfter({})).toBeUndefined();
  expect(switchesAfter({ deadlineAt: 1000 + 1000 })).toBeUndefined();
});

test('the reply changes as soon as it would be late at the speed it has', () => {
  // One token takes 10 ms, all of them 990: known after the second.
  expect(switchesAfter({ deadlineAt: 1000 + 900 })).toBe(2);
  // Past the deadline at the start.
  expect(switchesAfter({ deadlineAt: 900 })).toBe(1);
});

test('a reply that is expected to be short is given its time; one that outgrows what was expected is not', () => {
  const deadlineAt = 1000 + 600;
  expect(switchesAfter({ deadlineAt, expectedTokens: 40 }, 40)).toBeUndefined();
  // After 41 tokens half as many more are expected: 400 ms and 21 tokens.
  expect(switchesAfter({ deadlineAt, expectedTokens: 40 })).toBe(41);
});

test('haste needs no deadline', () => {
  expect(switchesAfter({ hurry: AbortSignal.abort() })).toBe(1);
  expect(switchesAfter({ hurry: AbortSignal.abort(), tailSlice: undefined })).toBeUndefined();
});

describe('with a model of E4B’s shape', () => {
  const messages: Message[] = [{ role: 'user', parts: [{ type: 'text', text: 'Hello there' }] }];
  let engine: NativeEngine;
  let session: NativeSession;

  beforeAll(async () => {
    engine = await NativeEngine.open({
      modelPath: 'test/fixtures/models/e4b-narrow.gguf',
      threads: 2,
      prefixCacheBytes: 0,
    });
    session = engine.newSession();
  });

  async function reply(
    request: Partial<GenerateRequest>,
    hurryAfter = Number.POSITIVE_INFINITY,
  ): Promise<GenerateResult> {
    const hurry = new AbortController();
    let steps = 0;
    return await generate(
      engine,
      session,
      // A token a step.
      { messages, maxTokens: 12, speculation: 'off', ...request },
      { slice: 'full', imageSize: 0 },
      {
        onText: () => undefined,
        step: async (work) => {
          const value = await work();
          // Two are the prefill's.
          if (++steps > hurryAfter + 1) hurry.abort();
          return value;
        },
        pace: { hurry: hurry.signal },
      },
    );
  }

  test('the tail takes over between two tokens, without a prefill, and what was written stays', async () => {
    const whole = await reply({});
    expect(whole).toMatchObject({ slice: 'full', tokens: { completion: 12 } });
    expect(whole).not.toHaveProperty('tail');
    const changed = await reply({ tailSlice: 'full-tail' }, 5);
    expect(changed).toMatchObject({ slice: 'full', tail: { slice: 'full-tail', afterTokens: 6 } });
    expect(session.sliceName).toBe('full-tail');
    // Six tokens of the whole file stand before the change.
    const first = (await reply({ maxTokens: 6 })).text;
    expect(whole.text.startsWith(first)).toBe(true);
    expect(changed.text.startsWith(first)).toBe(true);
    expect(changed.text).not.toBe(whole.text);
    // The next job begins with the whole file again.
    expect((await reply({})).text).toBe(whole.text);
  });

  test('keys and values after a change are those of the whole file: no logit of what follows differs', async () => {
    const tokens: number[] = [];
    const decode = session.decode.bind(session);
    const spy = jest.spyOn(session, 'decode').mockImplementation(async (...options) => {
      const decoded = await decode(...options);
      tokens.push(...decoded.sampled.map(({ token }) => token));
      return decoded;
    });
    // Prefilled as a whole, as the other one below.
    session.rewind(0);
    await reply({ tailSlice: 'full-tail' }, 5);
    spy.mockRestore();
    expect(tokens).toHaveLength(12);
    session.setSlice('full');
    expect(await session.advance(1)).toBe(0);

    // The same tokens on the whole file alone, one at a time as they were decoded.
    const replayed = engine.newSession();
    replayed.append(buildPrompt(engine, messages).ids);
    expect(await replayed.advance(128)).toBe(0);
    for (const token of tokens) {
      replayed.append(Int32Array.of(token));
      expect(await replayed.advance(1)).toBe(0);
    }
    expect(replayed.position).toBe(session.position);
    expect(Array.from(session.logits())).toEqual(Array.from(replayed.logits()));
  });

  test('a tail may be widths; one that would change keys and values is refused before a token is written', async () => {
    const widths = engine.info.ffnWidths.map((width, layer) => (layer < 20 ? width : width / 2));
    const custom = await reply({ tailSlice: { ffnWidths: widths, skippedLayers: [20, 21, 22, 23, 24] } }, 5);
    expect(custom.tail).toEqual({ slice: 'custom', afterTokens: 6 });
    expect(custom.text).toBe((await reply({ tailSlice: 'e4b-tail' }, 5)).text);
    await expect(reply({ tailSlice: 'e2b' })).rejects.toMatchObject({ code: 'SLICE_INVALID' });
    await expect(reply({ slice: 'e2b', tailSlice: 'full-tail' })).rejects.toMatchObject({ code: 'SLICE_INVALID' });
    await expect(reply({ tailSlice: 'no-tail' })).rejects.toMatchObject({ code: 'SLICE_INVALID' });
  });
});

test('the trained model still answers about a picture when its reply ends on the tail', async () => {
  const nano = await Nano.open();
  const picture = await pictureOf('daemon/demo/media/000.png');
  const whole = await nano.ask([picture], 'Describe the image.');
  const changed = await nano.ask([picture], 'Describe the image.', { tailSlice: 'full-tail' }, { deadlineAt: 0 });
  expect(changed).toMatchObject({ slice: 'full', tail: { slice: 'full-tail', afterTokens: 1 }, imageSize: 256 });
  expect(changed.text).toBe(whole.text);
});
