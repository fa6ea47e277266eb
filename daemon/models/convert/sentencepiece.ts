/**
 * The pieces of a SentencePiece `tokenizer.model`, which is a protocol buffer:
 * ModelProto { repeated SentencePiece pieces = 1; ... }, SentencePiece { string piece = 1; float score = 2; Type type = 3; }.
 * Fields that are not needed are stepped over.
 */
import { HearthError } from '../../errors';

/** The same numbers in SentencePiece and in GGUF's `tokenizer.ggml.token_type`. */
export const pieceTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface Piece {
  readonly text: string;
  readonly score: number;
  readonly type: number;
}

const maxPieces = 1 << 20;

class Reader {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get done(): boolean {
    return this.at >= this.bytes.length;
  }

  varint(): number {
    let result = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.bytes[this.at++];
      if (byte === undefined) break;
      result += (byte & 127) * 2 ** shift;
      if (byte < 128) return result;
    }
    throw new HearthError('CHECKPOINT_MALFORMED', 'tokenizer.model: a number has no end');
  }

  take(length: number): Uint8Array {
    if (length > this.bytes.length - this.at) {
      throw new HearthError('CHECKPOINT_MALFORMED', `tokenizer.model: a field of ${length} bytes, ${this.bytes.length - this.at} are left`);
    }
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** The next field's number and its value: a number for types 0, 1 and 5, bytes for type 2. */
  field(): { number: number; value: number | Uint8Array } {
    const tag = this.varint();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        return { number, value: this.varint() };
      case 1:
        return { number, value: this.view(8).getFloat64(0, true) };
      case 2:
        return { number, value: this.take(this.varint()) };
      case 5:
        return { number, value: this.view(4).getFloat32(0, true) };
      default:
        throw new HearthError('CHECKPOINT_MALFORMED', `tokenizer.model: a field of wire type ${tag % 8}`);
    }
  }

  private view(length: number): DataView {
    const bytes = this.take(length);
    return new DataView(bytes.buffer, bytes.byteOffset, length);
  }
}

function parsePiece(bytes: Uint8Array): Piece {
  const reader = new Reader(bytes);
  let text = '';
  let score = 0;
  let type: number = pieceTypes.normal;
  while (!reader.done) {
    const { number, value } = reader.field();
    if (number === 1 && value instanceof Uint8Array) text = Buffer.from(value).toString('utf8');
    else if (number === 2 && typeof value === 'number') score = value;
    else if (number === 3 && typeof value === 'number') type = value;
  }
  return { text, score, type };
}

export function parseSentencePiece(bytes: Uint8Array): Piece[] {
  const reader = new Reader(bytes);
  const pieces: Piece[] = [];
  while (!reader.done) {
    const { number, value } = reader.field();
    if (number !== 1 || !(value instanceof Uint8Array)) continue;
    if (pieces.length === maxPieces) throw new HearthError('CHECKPOINT_MALFORMED', `tokenizer.model: more than ${maxPieces} pieces`);
    pieces.push(parsePiece(value));
  }
  if (pieces.length === 0) throw new HearthError('CHECKPOINT_MALFORMED', 'tokenizer.model: no pieces in it');
  return pieces;
}
