import { HearthError } from '../../../daemon/errors';
import { buildPrompt, type PromptTokenizer } from '../../../daemon/inference/prompt';
import type { Message, RgbImage } from '../../../daemon/inference/types';

const special = {
  bos: 2,
  eos: 1,
  startOfTurn: 105,
  endOfTurn: 106,
  startOfImage: 200,
  imageSoftToken: 201,
  endOfImage: 202,
  startOfAudio: 300,
  audioSoftToken: 301,
  endOfAudio: 302,
};

/** Each stretch of text becomes one id, from 1000 on: the test sees what was tokenised together. */
class Recorder implements PromptTokenizer {
  readonly texts: string[] = [];
  readonly info = { special, imageSoftTokens: 3, audioSoftTokens: 2, vision: true, audio: true };

  tokenize(text: string): Int32Array {
    this.texts.push(text);
    return Int32Array.of(999 + this.texts.length);
  }
}

const image: RgbImage = { width: 1, height: 1, data: new Uint8Array(3) };
const grey = (value: number): RgbImage => ({ width: 32, height: 32, data: new Uint8Array(32 * 32 * 3).fill(value) });
const audio = { samples: new Float32Array(16_000) };
const user = (...parts: Message['parts']): Message => ({ role: 'user', parts });

describe('buildPrompt', () => {
  test('a text turn, as Gemma was trained to see it', () => {
    const tokenizer = new Recorder();
    const prompt = buildPrompt(tokenizer, [user({ type: 'text', text: ' Hello. ' })]);
    expect(tokenizer.texts).toEqual(['user\nHello.', '\n', 'model\n']);
    expect([...prompt.ids]).toEqual([2, 105, 1000, 106, 1001, 105, 1002]);
    expect(prompt.media).toEqual([]);
  });

  test('pictures and sounds become soft tokens between their markers; text around them is tokenised whole', () => {
    const tokenizer = new Recorder();
    const prompt = buildPrompt(tokenizer, [
      user({ type: 'image', image }, { type: 'audio', audio }, { type: 'text', text: 'What?' }),
    ]);
    expect(tokenizer.texts).toEqual(['user\n\n\n', '\n\n\n\n', '\n\nWhat?', '\n', 'model\n']);
    expect([...prompt.ids]).toEqual([
      2, 105, 1000, 200, 201, 201, 201, 202, 1001, 300, 301, 301, 302, 1002, 106, 1003, 105, 1004,
    ]);
    expect(prompt.media.map(({ type }) => type)).toEqual(['image', 'audio']);
  });

  test('a system message goes before the first user turn; turns alternate', () => {
    const tokenizer = new Recorder();
    buildPrompt(tokenizer, [
      { role: 'system', parts: [{ type: 'text', text: 'Be brief.' }] },
      user({ type: 'text', text: 'Hi' }),
      { role: 'model', parts: [{ type: 'text', text: 'Hello' }] },
      user({ type: 'text', text: 'Bye' }),
    ]);
    expect(tokenizer.texts).toEqual([
      'user\nBe brief.\n\nHi',
      // Once more, for how much of it the system message has by itself.
      'user\nBe brief.\n\n',
      '\n',
      'model\nHello',
      '\n',
      'user\nBye',
      '\n',
      'model\n',
    ]);
  });

  describe('checkpoints', () => {
    /** A token a character; but "!?" is one. */
    const characters: PromptTokenizer = {
      info: { special, imageSoftTokens: 3, audioSoftTokens: 2, vision: true, audio: true },
      tokenize: (text) => Int32Array.from(text.match(/!\?|./gs) ?? [], (piece) => piece.charCodeAt(piece.length - 1)),
    };
    const checkpoints = (...messages: Message[]): readonly number[] => buildPrompt(characters, messages).checkpoints;
    const text = (words: string) => ({ type: 'text', text: words }) as const;
    // <bos><start_of_turn>, "user\n" and what ends a prompt.
    const head = 2 + 5;
    const tail = 1 + 1 + 1 + 6;

    test('the end of the prompt', () => {
      expect(checkpoints(user(text('Hello')))).toEqual([head + 5 + tail]);
    });

    test('the end of the system message, as far as it does not depend on what follows', () => {
      const system: Message = { role: 'system', parts: [text('Be brief.')] };
      expect(checkpoints(system, user(text('Hello')))).toEqual([head + 11, head + 11 + 5 + tail]);
      const joined: PromptTokenizer = {
        ...characters,
        tokenize: (words) => characters.tokenize(words.replaceAll('\n\n', '!')).map((id) => id),
      };
      expect(buildPrompt(joined, [system, user(text('?'))]).checkpoints).toEqual([head + 9, head + 9 + 1 + tail]);
    });

    test('the end of the last picture or sound', () => {
      const prompt = buildPrompt(characters, [
        user({ type: 'image', image }, { type: 'audio', audio }, text('What?')),
        { role: 'model', parts: [text('A')] },
        user(text('Sure?')),
      ]);
      expect(prompt.checkpoints).toEqual([prompt.ids.indexOf(302) + 1, prompt.ids.length]);
    });
  });

  test('a video is its frames and sounds in time order', () => {
    const frames = [3, 1, 0].map((second) => ({ image: grey(50 * second), timeMs: second * 1000 }));
    const sounds = [1000, 2000].map((timeMs) => ({ audio, timeMs }));
    const { media } = buildPrompt(new Recorder(), [user({ type: 'video', frames, sounds })]);
    expect(media.map((part) => (part.type === 'image' ? part.image.data[0] : part.type))).toEqual([
      0,
      50,
      'audio',
      'audio',
      150,
    ]);
  });

  test.each<[string, Message[]]>([
    ['no message', []],
    ['no user message', [{ role: 'system', parts: [] }]],
    ['a model message first', [{ role: 'model', parts: [] }]],
    ['a model message last', [user(), { role: 'model', parts: [] }]],
    ['a video without frames', [user({ type: 'video', frames: [] })]],
    ['a video with a budget of nothing', [user({ type: 'video', frames: [{ image, timeMs: 0 }], maxTokens: 0 })]],
  ])('%s is PROMPT_INVALID', (_what, messages) => {
    expect(() => buildPrompt(new Recorder(), messages)).toThrow(expect.objectContaining({ code: 'PROMPT_INVALID' }));
  });

  test('media the model has no encoder for is MODEL_UNSUPPORTED', () => {
    const tokenizer = {
      ...new Recorder(),
      info: { special, imageSoftTokens: 0, audioSoftTokens: 0, vision: false, audio: false },
      tokenize: () => Int32Array.of(1),
    };
    for (const part of [{ type: 'image', image } as const, { type: 'audio', audio } as const]) {
      expect(() => buildPrompt(tokenizer, [user(part)])).toThrow(HearthError);
      expect(() => buildPrompt(tokenizer, [user(part)])).toThrow(
        expect.objectContaining({ code: 'MODEL_UNSUPPORTED' }),
      );
    }
  });
});
