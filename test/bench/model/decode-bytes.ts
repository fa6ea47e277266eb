/** How many bytes of weights it takes to decode one token: what the read bandwidth is divided by. */
import { blockFormats } from '../../../daemon/models/convert/block-formats';
import type { TextConfig } from '../../../daemon/models/convert/model-config';
import type { TensorPlan } from './layout';

export interface Reads {
  /** Of the neurons of a sparse layer, the share whose up row and down column are read. 1: all of them. */
  readonly sparseShare: number;
  /** Only the upper three bits of a Q8_0 head's codes are read; what is looked at again after that does not count. */
  readonly screenedHead: boolean;
}

/** The share of neurons a gate of sparsity 0.95 leaves. */
const live = 0.05;

/** What a decoder may leave out. */
export const readings = {
  dense: { sparseShare: 1, screenedHead: false },
  sparse: { sparseShare: live, screenedHead: false },
  screened: { sparseShare: live, screenedHead: true },
} as const satisfies Readonly<Record<string, Reads>>;
export type Reading = keyof typeof readings;

/** What hearth's decoder does: change it together with the decoder. */
export const hearthReading: Reading = 'screened';

/**
 * Tables are read a row a token, the head whole; K and V of layers that share a cache are not read at all. Keys and
 * values themselves, which grow with the context, are not counted.
 */
export function decodeBytes(text: TextConfig, layout: readonly TensorPlan[], reads: Reads): number {
  return layout.reduce((sum, plan) => sum + bytesRead(text, plan, reads), 0);
}

function bytesRead(text: TextConfig, { info, type }: TensorPlan, { sparseShare, screenedHead }: Reads): number {
  const { valuesPerBlock, bytesPerBlock } = blockFormats[type];
  const rowBytes = ((info.dims[0] as number) / valuesPerBlock) * bytesPerBlock;
  // As the head it is read whole; the token's own row of it comes on top.
  if (info.name === 'token_embd.weight')
    return (screenedHead && type === 'q8_0' ? info.bytes * (14 / 34) : info.bytes) + rowBytes;
  if (info.name === 'per_layer_token_embd.weight') return rowBytes;
  const [, layer, part] = /^blk\.(\d+)\.(\w+)\./.exec(info.name) ?? [];
  if (layer === undefined || part === undefined) return info.bytes;
  const index = Number(layer);
  if (index >= text.layers - text.sharedKvLayers && /^attn_(k|v|k_norm)$/.test(part)) return 0;
  const sparse = (text.sparsity[index] as number) > 0 && /^ffn_(up|down)$/.test(part);
  return sparse ? info.bytes * sparseShare : info.bytes;
}
