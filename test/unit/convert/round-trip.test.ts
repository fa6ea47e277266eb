/** A checkpoint made of a converted file converts back into that file, byte for byte. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertCheckpoint } from '../../../daemon/models/convert/convert';
import { readGguf } from '../../helpers/gguf-reader';
import { type Bf16Tensor, checkpointTensors, writeBf16Safetensors, writeShards } from '../../helpers/hugging-face';

const fixtures = 'test/fixtures/checkpoints';

function checkpointOf(directory: string, name: string, tensors: readonly Bf16Tensor[], shards: number): string {
  const checkpointDir = join(directory, `${name}-checkpoint`);
  mkdirSync(checkpointDir);
  for (const file of readdirSync(join(fixtures, name)))
    copyFileSync(join(fixtures, name, file), join(checkpointDir, file));
  copyFileSync(join(fixtures, 'nano/tokenizer.model'), join(checkpointDir, 'tokenizer.model'));
  if (shards > 1) writeShards(checkpointDir, tensors, shards);
  else writeBf16Safetensors(join(checkpointDir, 'model.safetensors'), tensors);
  return checkpointDir;
}

describe('from a file to a checkpoint and back', () => {
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'hearth-convert-'));
  });

  afterAll(() => rmSync(directory, { recursive: true }));

  test.each(['e2b-narrow', 'e4b-narrow'])('%s, text only, in one file', async (name) => {
    const original = `test/fixtures/models/${name}.gguf`;
    const checkpointDir = checkpointOf(directory, name, checkpointTensors(original, 'model.', 1024), 1);
    const outPath = join(directory, `${name}.gguf`);
    expect(await convertCheckpoint({ checkpointDir, outPath, type: 'bf16' })).toEqual({
      textPath: outPath,
      multimodalPath: undefined,
    });
    expect(readFileSync(outPath).equals(readFileSync(original))).toBe(true);
  });

  test('nano with both towers; shards change nothing but the order of the tensors', async () => {
    const originals = ['daemon/demo/model/nano.gguf', 'daemon/demo/model/mmproj-nano.gguf'] as const;
    const tensors = originals.flatMap((path) => checkpointTensors(path, 'model.language_model.', 1024));
    const checkpointDir = checkpointOf(directory, 'nano', tensors, 3);
    const progress: number[] = [];
    const result = await convertCheckpoint({
      checkpointDir,
      outPath: join(directory, 'nano.gguf'),
      type: 'bf16',
      onProgress: (done, total) => progress.push(done / total),
    });
    expect(result).toEqual({
      textPath: join(directory, 'nano.gguf'),
      multimodalPath: join(directory, 'mmproj-nano.gguf'),
    });
    for (const [i, path] of [result.textPath, result.multimodalPath ?? ''].entries()) {
      const [actual, expected] = [readGguf(path), readGguf(originals[i] as string)];
      expect(actual.keys).toEqual(expected.keys);
      expect([...actual.tensors.keys()].sort()).toEqual([...expected.tensors.keys()].sort());
      for (const [name, tensor] of expected.tensors) {
        const { dims, typeId, bytes } = actual.tensors.get(name) ?? tensor;
        expect([name, dims, typeId, bytes.equals(tensor.bytes)]).toEqual([name, tensor.dims, tensor.typeId, true]);
      }
    }
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.at(-1)).toBe(1);
    expect(readdirSync(directory).filter((file) => file.endsWith('.part'))).toEqual([]);
  });

  test('nano in blocks: matrices take the type, rows that blocks do not divide give way to F16, the rest stays float32', async () => {
    const checkpointDir = join(directory, 'nano-checkpoint');
    await convertCheckpoint({
      checkpointDir,
      outPath: join(directory, 'blocks.gguf'),
      type: 'q4_0',
      headType: 'q8_0',
      pleType: 'f16',
    });
    const text = readGguf(join(directory, 'blocks.gguf')).tensors;
    const towers = readGguf(join(directory, 'mmproj-blocks.gguf')).tensors;
    const typeAndDims = (tensors: typeof text, name: string): unknown => [
      tensors.get(name)?.typeId,
      tensors.get(name)?.dims,
    ];
    expect(typeAndDims(text, 'token_embd.weight')).toEqual([8, [192, 1280]]);
    expect(typeAndDims(text, 'per_layer_token_embd.weight')).toEqual([1, [320, 1280]]);
    expect(typeAndDims(text, 'altup_proj.weight')).toEqual([2, [192, 192, 3]]);
    expect(typeAndDims(text, 'blk.9.ffn_down.weight')).toEqual([2, [768, 192]]);
    expect(typeAndDims(text, 'blk.9.ffn_norm.weight')).toEqual([0, [192]]);
    expect(typeAndDims(text, 'blk.9.altup_predict_coef.weight')).toEqual([0, [4, 16]]);
    expect(typeAndDims(towers, 'v.blk.0.0.conv_exp.weight')).toEqual([1, [3, 3, 32, 128]]);
    expect(typeAndDims(towers, 'v.blk.0.0.conv_pwl.weight')).toEqual([2, [128, 32]]);
    expect(typeAndDims(towers, 'v.blk.1.0.layer_scale.gamma')).toEqual([0, [1, 1, 64, 1]]);
    expect(typeAndDims(towers, 'v.conv_stem.conv.bias')).toEqual([0, [1, 1, 32, 1]]);
    expect(typeAndDims(towers, 'a.blk.0.conv_dw.weight')).toEqual([0, [5, 128]]);
    expect(typeAndDims(towers, 'a.conv1d.1.weight')).toEqual([1, [3, 3, 32, 16]]);
    expect(typeAndDims(towers, 'a.blk.3.ffn_up_1.weight')).toEqual([2, [128, 512]]);
  });
});
