/** The vision encoder's tensors: MobileNet-V5 as timm names them. */
import { HearthError } from '../../errors';
import type { Pattern, Structure } from './structure';

type Suffixes = readonly (readonly [suffix: string, pattern: Pattern])[];

const edgeResidual: Suffixes = [
  ['conv_exp.weight', ['mid', 'in', 'k', 'k']],
  ['bn1.weight', ['mid']],
  ['conv_pwl.weight', ['out', 'mid', 1, 1]],
  ['bn2.weight', ['out']],
];

const invertedResidual: Suffixes = [
  ['dw_start.conv.weight', ['in', 1, 'k1', 'k1']],
  ['dw_start.bn.weight', ['in']],
  ['pw_exp.conv.weight', ['mid', 'in', 1, 1]],
  ['pw_exp.bn.weight', ['mid']],
  ['dw_mid.conv.weight', ['mid', 1, 'k2', 'k2']],
  ['dw_mid.bn.weight', ['mid']],
  ['pw_proj.conv.weight', ['out', 'mid', 1, 1]],
  ['pw_proj.bn.weight', ['out']],
  ['layer_scale.gamma', ['out']],
];

const attention: Suffixes = [
  ['norm.weight', ['in']],
  ['attn.query.proj.weight', ['queries', 'in', 1, 1]],
  ['attn.key.down_conv.weight', ['in', 1, 'k', 'k']],
  ['attn.key.norm.weight', ['in']],
  ['attn.key.proj.weight', ['head', 'in', 1, 1]],
  ['attn.value.down_conv.weight', ['in', 1, 'k', 'k']],
  ['attn.value.norm.weight', ['in']],
  ['attn.value.proj.weight', ['head', 'in', 1, 1]],
  ['attn.output.proj.weight', ['in', 'queries', 1, 1]],
  ['layer_scale.gamma', ['in']],
];

/** By the tensor that no other kind has. */
const kinds: readonly (readonly [mark: string, suffixes: Suffixes])[] = [
  ['conv_exp.weight', edgeResidual],
  ['attn.query.proj.weight', attention],
  ['pw_exp.conv.weight', invertedResidual],
];

/** Parts a block may do without. */
const optional = /^(dw_start\.conv|dw_mid\.conv|layer_scale|attn\.(key|value)\.down_conv)\./;
/** Norms that are there exactly where the part before them is. */
const follower = /^(dw_start\.bn|dw_mid\.bn|attn\.(key|value)\.norm)\./;

function claimBlock(structure: Structure, prefix: string, suffixes: Suffixes, channelsIn: number): number {
  const sizes = new Map([['in', channelsIn]]);
  let present = true;
  for (const [suffix, pattern] of suffixes) {
    if (!follower.test(suffix)) present = !optional.test(suffix) || structure.has(prefix + suffix);
    if (present) structure.claim(prefix + suffix, pattern, sizes);
  }
  return sizes.get('out') ?? channelsIn;
}

/** MobileNet-V5: the kind of a block is told by its tensors, their number by how many there are. */
export function claimVision(structure: Structure, hidden: number): void {
  const stem = new Map<string, number>();
  structure.claim('v.conv_stem.conv.weight', ['out', 3, 3, 3], stem);
  if (structure.has('v.conv_stem.conv.bias')) structure.claim('v.conv_stem.conv.bias', ['out'], stem);
  structure.claim('v.conv_stem.bn.weight', ['out'], stem);
  let channels = stem.get('out') as number;
  const stageOut: number[] = [];
  for (let stage = 0; ; stage++) {
    let block = 0;
    for (; ; block++) {
      const prefix = `v.blk.${stage}.${block}.`;
      const kind = kinds.find(([mark]) => structure.has(prefix + mark));
      if (kind === undefined) break;
      channels = claimBlock(structure, prefix, kind[1], channels);
    }
    if (block === 0) break;
    stageOut.push(channels);
  }
  if (stageOut.length < 2)
    throw new HearthError(
      'CHECKPOINT_INCOMPLETE',
      `the vision tower: expected at least 2 stages of blocks, found ${stageOut.length}`,
    );
  const fused = stageOut.slice(-2).reduce((sum, size) => sum + size, 0);
  const out = claimBlock(structure, 'v.msfa.ffn.', invertedResidual, fused);
  if (out !== hidden)
    throw new HearthError(
      'CHECKPOINT_MALFORMED',
      `the vision tower: expected ${hidden} channels in the end, found ${out}`,
    );
  structure.claim('v.msfa.norm.weight', [hidden]);
}
