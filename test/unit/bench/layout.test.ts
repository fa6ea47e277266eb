/** The tensors of the random models are those the converter demands of a checkpoint, in the sizes of the released ones. */
import { blockFormats } from '../../../daemon/models/convert/block-formats';
import { Structure } from '../../../daemon/models/convert/structure';
import { claimText } from '../../../daemon/models/convert/text-structure';
import { decodeBytes, readings } from '../../bench/model/decode-bytes';
import { textLayout } from '../../bench/model/layout';
import { recipeOf } from '../../bench/model/random-model';
import { modelConfig, modelNames } from '../../bench/model/shapes';

const layoutOf = (name: (typeof modelNames)[number]) => textLayout(modelConfig(name).text);

test.each(modelNames)('%s: every tensor of the text model and no other, each in its shape', (name) => {
  const parts = layoutOf(name).map(({ info }) => {
    const stacked = /^altup_(unembd_)?proj/.test(info.name);
    return [
      info.name,
      { source: info.name, shape: (stacked ? info.dims.slice(0, 2) : info.dims).toReversed() },
    ] as const;
  });
  const structure = new Structure(new Map(parts));
  expect(() => {
    claimText(structure, modelConfig(name).text);
    structure.finish();
  }).not.toThrow();
});

test.each([
  ['e2b', 30, 8192, 2_778_995_072],
  ['e4b', 35, 16_384, 4_135_540_672],
] as const)('%s: the released shapes and types', (name, layers, ffn, bytes) => {
  const layout = new Map(layoutOf(name).map((plan) => [plan.info.name, plan]));
  const shapeOf = (tensor: string): unknown => [layout.get(tensor)?.info.dims, layout.get(tensor)?.type];
  expect(shapeOf('token_embd.weight')).toEqual([[2048, 262_400], 'q8_0']);
  expect(shapeOf('per_layer_token_embd.weight')).toEqual([[256 * layers, 262_400], 'q4_0']);
  expect(shapeOf('altup_proj.weight')).toEqual([[2048, 2048, 3], 'q4_0']);
  expect(shapeOf(`blk.${layers - 1}.ffn_gate.weight`)).toEqual([[2048, ffn], 'q4_0']);
  expect(shapeOf('blk.0.ffn_down.weight')).toEqual([[ffn, 2048], 'q4_0']);
  expect(shapeOf('blk.0.attn_k.weight')).toEqual([[2048, 512], 'q4_0']);
  expect(shapeOf('blk.0.laurel_r.weight')).toEqual([[64, 2048], 'q4_0']);
  expect(shapeOf('blk.0.altup_predict_coef.weight')).toEqual([[4, 16], 'f32']);
  expect(layout.has(`blk.${layers}.attn_norm.weight`)).toBe(false);
  expect([...layout.values()].reduce((sum, { info }) => sum + info.bytes, 0)).toBe(bytes);
});

test('types are those that are asked for; rows that no block divides are refused', () => {
  const { text } = modelConfig('tiny');
  const layout = textLayout(text, { matrices: 'q8_0', head: 'q4_0', ple: 'f32' });
  const typeIds = new Map(layout.map(({ info }) => [info.name, info.typeId]));
  expect(typeIds.get('token_embd.weight')).toBe(blockFormats.q4_0.id);
  expect(typeIds.get('per_layer_token_embd.weight')).toBe(blockFormats.f32.id);
  expect(typeIds.get('blk.0.attn_q.weight')).toBe(blockFormats.q8_0.id);
  expect(() => textLayout({ ...text, hidden: 40 })).toThrow('rows of 40 values');
});

test('a recipe changes with the shapes', () => {
  const config = modelConfig('tiny');
  const narrower = { ...config, text: { ...config.text, laurelRank: 32 } };
  const recipe = recipeOf(config, textLayout(config.text));
  expect(recipe).toBe(recipeOf(config, textLayout(config.text)));
  expect(recipeOf(narrower, textLayout(narrower.text))).not.toBe(recipe);
});

test('bytes a decoded token reads: no table but the head, no K and V that are shared, few neurons where the gate is sparse', () => {
  const { text } = modelConfig('e2b');
  const layout = textLayout(text);
  const bytesOf = (pattern: RegExp): number =>
    layout.reduce((sum, { info }) => sum + (pattern.test(info.name) ? info.bytes : 0), 0);
  const dense = decodeBytes(text, layout, readings.dense);
  const rows = (2048 / 32) * 34 + (7680 / 32) * 18;
  expect(dense).toBe(
    bytesOf(/./) - bytesOf(/^per_layer_token_embd/) - bytesOf(/^blk\.2\d\.attn_(k|v|k_norm)\./) + rows,
  );
  expect(dense / 1e9).toBeCloseTo(1.63, 2);
  const sparse = decodeBytes(text, layout, readings.sparse);
  expect(dense - sparse).toBeCloseTo(0.95 * bytesOf(/^blk\.\d\.ffn_(up|down)\./), -1);
  // A head of 34 bytes a block, of which 18 are looked at.
  const screened = decodeBytes(text, layout, readings.screened);
  expect(sparse - screened).toBeCloseTo((20 / 34) * bytesOf(/^token_embd/), -1);
  expect(screened / 1e9).toBeCloseTo(1.12, 2);
});
