/** The vocabulary a file gets: the tokenizer's pieces, and a name for every id past them. */
import { malformed } from './checkpoint-files';
import type { ModelConfig } from './model-config';
import { type Piece, pieceTypes } from './sentencepiece';

/**
 * Pieces that structure a prompt. They become control pieces whatever the checkpoint's tokenizer calls them: text from
 * outside is tokenised without control pieces, so it cannot open a turn.
 */
const structural: ReadonlySet<string> = new Set([
  '<start_of_turn>',
  '<end_of_turn>',
  '<start_of_image>',
  '<end_of_image>',
  '<image_soft_token>',
  '<start_of_audio>',
  '<end_of_audio>',
  '<audio_soft_token>',
]);

/** Columns of one table, by id. */
export interface Vocabulary {
  readonly tokens: readonly string[];
  readonly scores: readonly number[];
  readonly types: readonly number[];
}

/** Text is made of these: an id that structures a prompt can be none of them. */
function isText(piece: Piece): boolean {
  return piece.type === pieceTypes.normal || piece.type === pieceTypes.byte || piece.type === pieceTypes.unknown;
}

function checkMarker(piece: Piece | undefined, id: number, role: string): void {
  if (piece !== undefined && isText(piece) && !structural.has(piece.text)) {
    throw malformed(
      'config.json',
      `${role}: expected an id that is not text, found ${id}, which is the piece ${JSON.stringify(piece.text)}`,
    );
  }
}

/** Throws `CHECKPOINT_MALFORMED` where the tokenizer and the configuration contradict each other. */
export function buildVocabulary(pieces: readonly Piece[], config: ModelConfig): Vocabulary {
  const { vocabSize, bos, eos, pad } = config.text;
  if (pieces.length > vocabSize)
    throw malformed(
      'tokenizer.model',
      `expected at most ${vocabSize} pieces, the size of the vocabulary, found ${pieces.length}`,
    );
  const table = Array.from(
    { length: vocabSize },
    (_, id): Piece => pieces[id] ?? { text: `<unused_id_${id}>`, score: 0, type: pieceTypes.unused },
  );
  for (const [id, text] of config.namedIds) {
    checkMarker(pieces[id], id, text);
    table[id] = { text, score: 0, type: pieceTypes.control };
  }
  for (const [role, id] of Object.entries({ bos_token_id: bos, eos_token_id: eos, pad_token_id: pad })) {
    checkMarker(pieces[id], id, role);
    table[id] = { ...(table[id] as Piece), type: pieceTypes.control };
  }
  const seen = new Map<string, number>();
  for (const [id, piece] of table.entries()) {
    const first = seen.get(piece.text);
    seen.set(piece.text, first ?? id);
    if (structural.has(piece.text)) table[id] = { ...piece, type: pieceTypes.control };
    if (first === undefined) continue;
    // Markers are found by their text. Where the configuration moved one to another id, the old id is out of use.
    const named = config.namedIds.get(id) === piece.text || config.namedIds.get(first) === piece.text;
    if (!named) throw malformed('tokenizer.model', `pieces ${first} and ${id} are both ${JSON.stringify(piece.text)}`);
    const old = config.namedIds.get(id) === piece.text ? first : id;
    table[old] = { text: `<unused_id_${old}>`, score: 0, type: pieceTypes.unused };
  }
  return {
    tokens: table.map(({ text }) => text),
    scores: table.map(({ score }) => score),
    types: table.map(({ type }) => type),
  };
}
