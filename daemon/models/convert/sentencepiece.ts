/**
 * The pieces of a SentencePiece `tokenizer.model`, which is a protocol buffer:
 * ModelProto { repeated SentencePiece pieces = 1; TrainerSpec trainer_spec = 2; NormalizerSpec normalizer_spec = 3; ... },
 * SentencePiece { string piece = 1; float score = 2; Type type = 3; }.
 * Fields that are not needed are stepped over.
 */
import { HearthError } from '../../errors';
import { malformed } from './checkpoint-files';

const file = 'tokenizer.model';

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
    throw malformed(file, 'a number has no end');
  }

  take(length: number): Uint8Array {
    if (length > this.bytes.length - this.at) {
      throw malformed(file, `a field of ${length} bytes, ${this.bytes.length - this.at} are left`);
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
        throw malformed(file, `a field of wire type ${tag % 8}`);
    }
  }

  private view(length: number): DataView {
    const bytes = this.take(length);
    return new DataView(bytes.buffer, bytes.byteOffset, length);
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function parsePiece(bytes: Uint8Array, id: number): Piece {
  const reader = new Reader(bytes);
  let text = '';
  let score = 0;
  let type: number = pieceTypes.normal;
  while (!reader.done) {
    const { number, value } = reader.field();
    if (number === 1 && value instanceof Uint8Array) {
      try {
        text = utf8.decode(value);
      } catch (cause) {
        throw malformed(file, `piece ${id}: expected UTF-8`, cause);
      }
    } else if (number === 2 && typeof value === 'number') score = value;
    else if (number === 3 && typeof value === 'number') type = value;
  }
  if (text === '') throw malformed(file, `piece ${id} is empty`);
  if (!Number.isFinite(score)) throw malformed(file, `piece ${id}: expected a finite score, found ${score}`);
  if (!(type >= pieceTypes.normal && type <= pieceTypes.byte))
    throw malformed(file, `piece ${id}: expected a type from 1 to 6, found ${type}`);
  return { text, score, type };
}

/** A message's number fields, the last of each; `otherwise` for absent ones. */
function numberFields(bytes: Uint8Array, otherwise: Readonly<Record<number, number>>): Record<number, number> {
  const found = { ...otherwise };
  const reader = new Reader(bytes);
  while (!reader.done) {
    const { number, value } = reader.field();
    if (typeof value === 'number' && number in otherwise) found[number] = value;
  }
  return found;
}

function unsupported(what: string): HearthError {
  return new HearthError('CHECKPOINT_UNSUPPORTED', `${file}: ${what}`);
}

/** TrainerSpec { ModelType model_type = 3; } with BPE = 2. */
function checkTrainer(bytes: Uint8Array): void {
  const { 3: type } = numberFields(bytes, { 3: 1 });
  if (type !== 2) throw unsupported(`expected a BPE model (type 2), found type ${type}`);
}

/** NormalizerSpec { bytes precompiled_charsmap = 2; bool add_dummy_prefix = 3; bool remove_extra_whitespaces = 4; bool escape_whitespaces = 5; } */
function checkNormalizer(bytes: Uint8Array): void {
  const { 3: prefix, 4: squeezed, 5: escaped } = numberFields(bytes, { 3: 1, 4: 1, 5: 1 });
  if (prefix !== 0 || squeezed !== 0 || escaped !== 1) {
    throw unsupported('expected text to be taken as it is (no dummy prefix, no removed white space, escaped spaces)');
  }
  const reader = new Reader(bytes);
  while (!reader.done) {
    const { number, value } = reader.field();
    if (number === 2 && value instanceof Uint8Array && value.length > 0)
      throw unsupported('expected no character map, found one');
  }
}

/** Throws `CHECKPOINT_MALFORMED`, or `CHECKPOINT_UNSUPPORTED` for a model that is not tokenised as Gemma's is. */
export function parseSentencePiece(bytes: Uint8Array): Piece[] {
  const reader = new Reader(bytes);
  const pieces: Piece[] = [];
  while (!reader.done) {
    const { number, value } = reader.field();
    if (!(value instanceof Uint8Array)) continue;
    if (number === 2) checkTrainer(value);
    else if (number === 3) checkNormalizer(value);
    if (number !== 1) continue;
    if (pieces.length === maxPieces) throw malformed(file, `more than ${maxPieces} pieces`);
    pieces.push(parsePiece(value, pieces.length));
  }
  if (pieces.length === 0) throw malformed(file, 'no pieces in it');
  return pieces;
}
