/** Which tensors a checkpoint has to have, and which it may not. */
import { claimAudio } from './audio-structure';
import type { ModelConfig } from './model-config';
import { type Part, Structure } from './structure';
import { claimText } from './text-structure';
import { claimVision } from './vision-structure';

function claimEmbedder(structure: Structure, prefix: string, vocab: number, width: number, textHidden: number): void {
  structure.claim(`${prefix}embedding.weight`, [vocab, width]);
  structure.claim(`${prefix}input_projection.weight`, [textHidden, width]);
  structure.claim(`${prefix}hard_emb_norm.weight`, [width]);
  structure.claim(`${prefix}soft_emb_norm.weight`, [width]);
}

/** The configuration without the sections of towers the checkpoint has no tensor of. */
export function withoutMissingTowers(config: ModelConfig, names: Iterable<string>): ModelConfig {
  const all = [...names];
  const audio = all.some((name) => name.startsWith('a.') || name.startsWith('mm.a.'));
  const vision = all.some((name) => name.startsWith('v.') || (name.startsWith('mm.') && !name.startsWith('mm.a.')));
  return { ...config, vision: vision ? config.vision : undefined, audio: audio ? config.audio : undefined };
}

/** Throws `CHECKPOINT_INCOMPLETE` or `CHECKPOINT_MALFORMED`. Of stacked tensors, `parts` has the first. */
export function checkStructure(parts: ReadonlyMap<string, Part>, config: ModelConfig): void {
  const structure = new Structure(parts);
  claimText(structure, config.text);
  if (config.vision !== undefined) {
    claimEmbedder(structure, 'mm.', config.vision.vocabSize, config.vision.hidden, config.text.hidden);
    claimVision(structure, config.vision.hidden);
  }
  if (config.audio !== undefined) {
    claimEmbedder(structure, 'mm.a.', config.audio.vocabSize, config.audio.hidden, config.text.hidden);
    claimAudio(structure, config.audio);
  }
  structure.finish();
}
