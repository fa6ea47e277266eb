/** Quantised weights as float32: what a kernel computes can then be told from what quantising costs. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { blockFormats } from '../../daemon/models/convert/block-formats';
import { fromFloat16 } from '../../daemon/models/convert/float-formats';
import { writeSafetensors } from './checkpoint';
import { floats, type ReadTensor, readGguf } from './gguf-reader';
import { toCheckpoint } from './hugging-face';

export function decodeBlocks(type: 'q8_0' | 'q4_0', bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { bytesPerBlock } = blockFormats[type];
  const values = new Float32Array((bytes.length / bytesPerBlock) * 32);
  for (let block = 0; block < bytes.length / bytesPerBlock; block++) {
    const at = block * bytesPerBlock;
    const scale = fromFloat16(view.getUint16(at, true));
    for (let i = 0; i < 32; i++) {
      const code =
        type === 'q8_0' ? view.getInt8(at + 2 + i) : ((view.getUint8(at + 2 + (i % 16)) >> (i < 16 ? 0 : 4)) & 15) - 8;
      values[block * 32 + i] = scale * code;
    }
  }
  return values;
}

function decode(name: string, tensor: ReadTensor): Float32Array {
  if (tensor.typeId === blockFormats.f32.id) return floats(tensor);
  if (tensor.typeId === blockFormats.q8_0.id) return decodeBlocks('q8_0', tensor.bytes);
  if (tensor.typeId === blockFormats.q4_0.id) return decodeBlocks('q4_0', tensor.bytes);
  throw new Error(`${name}: type ${tensor.typeId} is not decoded here`);
}

/** Writes the checkpoint, in float32, that a text file of Q4_0, Q8_0 and F32 tensors would be exact for. */
export function writeDequantised(path: string, checkpointDir: string, textVocab: number, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const file of ['config.json', 'tokenizer.model'])
    writeFileSync(join(to, file), readFileSync(join(checkpointDir, file)));
  const tensors = [...readGguf(path).tensors].flatMap(([name, tensor]) => {
    const values = decode(name, tensor);
    const rows = name === 'per_layer_token_embd.weight' ? textVocab : undefined;
    let at = 0;
    return toCheckpoint(name, tensor.dims, 'model.', rows).map(({ name: part, shape }) => {
      const begin = at;
      at += shape.reduce((product, size) => product * size, 1);
      return { name: part, shape, values: values.slice(begin, at) };
    });
  });
  writeSafetensors(join(to, 'model.safetensors'), tensors);
}
