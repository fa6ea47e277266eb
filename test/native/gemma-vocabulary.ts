/**
 * Writes Gemma's own vocabulary into a GGUF file the native tests read: `node dist/test/native/gemma-vocabulary.js OUT`.
 * The file is not kept: it is made for a test run.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type GgufValue, GgufWriter } from '../../daemon/models/convert/gguf-writer';
import { gemmaPieces } from '../helpers/gemma-pieces';

/** Text, vision and audio ids. */
const vocab = 262_400;

function main(out: string): void {
  const pieces = gemmaPieces(vocab);
  const metadata = new Map<string, GgufValue>([
    ['tokenizer.ggml.model', { type: 'string', value: 'llama' }],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: pieces.map(({ text }) => text) }],
    ['tokenizer.ggml.scores', { type: 'array', of: 'f32', value: pieces.map(({ score }) => score) }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'i32', value: pieces.map(({ type }) => type) }],
    ['tokenizer.ggml.bos_token_id', { type: 'u32', value: 2 }],
    ['tokenizer.ggml.eos_token_id', { type: 'u32', value: 1 }],
  ]);
  mkdirSync(dirname(out), { recursive: true });
  new GgufWriter(out, metadata, []).finish();
}

main(process.argv[2] ?? 'build/gemma-vocabulary.gguf');
