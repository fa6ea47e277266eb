import { readFileSync } from 'node:fs';
import { parseModelConfig } from '../../../daemon/models/convert/model-config';
import { type Piece, parseSentencePiece } from '../../../daemon/models/convert/sentencepiece';
import { buildVocabulary, type Vocabulary } from '../../../daemon/models/convert/vocabulary';

const dir = 'test/fixtures/checkpoints/nano';
const json = (): Record<string, unknown> =>
  JSON.parse(readFileSync(`${dir}/config.json`, 'utf8')) as Record<string, unknown>;
const pieces = parseSentencePiece(readFileSync(`${dir}/tokenizer.model`));

function vocabulary(changed: Record<string, unknown> = {}, from: readonly Piece[] = pieces): Vocabulary {
  return buildVocabulary(from, parseModelConfig({ ...json(), ...changed }));
}

const entry = ({ tokens, types }: Vocabulary, id: number): unknown => [tokens[id], types[id]];

describe('the vocabulary of a file', () => {
  test('has a piece for every id, each with its score and type', () => {
    const { tokens, scores, types } = vocabulary();
    expect([tokens.length, scores.length, types.length]).toEqual([1280, 1280, 1280]);
    expect(new Set(tokens).size).toBe(1280);
    for (let id = 9; id < 1024; id++) {
      expect([tokens[id], scores[id], types[id]]).toEqual([pieces[id]?.text, pieces[id]?.score, pieces[id]?.type]);
    }
  });

  test('makes whatever structures a prompt a control piece, which text from outside is never tokenised to', () => {
    const words = vocabulary();
    const control = words.tokens.filter((_, id) => words.types[id] === 3);
    expect(control).toEqual([
      '<pad>',
      '<eos>',
      '<bos>',
      '<start_of_turn>',
      '<end_of_turn>',
      '<start_of_image>',
      '<start_of_audio>',
      '<end_of_image>',
      '<image_soft_token>',
      '<end_of_audio>',
      '<audio_soft_token>',
    ]);
    expect(entry(words, 3)).toEqual(['<unk>', 2]);
    expect(entry(words, 8)).toEqual(['\n', 4]);
    expect(entry(words, 1025)).toEqual(['<image_soft_token>', 3]);
    expect(entry(words, 1026)).toEqual(['<unused_id_1026>', 5]);
  });

  test("names an id as the configuration has it where the tokenizer's own piece is out of date", () => {
    const old = pieces.map((piece, id) => (id === 7 ? { ...piece, text: '<end_of_image>' } : piece));
    const words = vocabulary({}, old);
    expect(entry(words, 7)).toEqual(['<start_of_audio>', 3]);
    expect(entry(words, 1024)).toEqual(['<end_of_image>', 3]);
    const spare = pieces.map((piece, id) => (id === 900 ? { ...piece, text: '<end_of_image>', type: 4 } : piece));
    expect(entry(vocabulary({}, spare), 900)).toEqual(['<unused_id_900>', 5]);
  });

  test.each([
    ['an id that is text', { boi_token_id: 500 }, pieces],
    ['an id past the end', { image_token_id: 1280 }, pieces],
    ['two roles with one id', { image_token_id: 1024 }, pieces],
    [
      'more pieces than ids',
      {},
      [...pieces, ...Array.from({ length: 257 }, (_, i): Piece => ({ text: `x${i}`, score: 0, type: 1 }))],
    ],
    [
      'a piece that is there twice',
      {},
      pieces.map((piece, id) => (id === 900 ? { ...piece, text: pieces[901]?.text ?? '' } : piece)),
    ],
  ])('is refused for %s', (_what, changed, from) => {
    expect(() => vocabulary(changed, from)).toThrow(expect.objectContaining({ code: 'CHECKPOINT_MALFORMED' }));
  });
});
