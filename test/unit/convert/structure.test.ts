/** Shapes of timm's `mobilenetv5_300m_enc`, the tower of the released models, against what the converter expects. */
import { readFileSync } from 'node:fs';
import { mapTensor } from '../../../daemon/models/convert/names';
import { type Part, Structure } from '../../../daemon/models/convert/structure';
import { claimVision } from '../../../daemon/models/convert/vision-structure';

const shapes = JSON.parse(readFileSync('test/fixtures/checkpoints/mobilenetv5_300m_enc.json', 'utf8')) as Record<
  string,
  number[]
>;

function parts(): Map<string, Part> {
  return new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const source = `model.vision_tower.timm_model.${name}`;
      return [mapTensor(source)?.name ?? `unmapped ${name}`, { source, shape }];
    }),
  );
}

function check(tower: ReadonlyMap<string, Part>): void {
  const structure = new Structure(tower);
  claimVision(structure, 2048);
  structure.finish();
}

/** The code of what `check` throws, if it does. */
function outcome(tower: ReadonlyMap<string, Part>): string {
  try {
    check(tower);
    return 'fits';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

describe('the vision tower of the released models', () => {
  test('fits as it is', () => {
    expect(parts().size).toBe(Object.keys(shapes).length);
    expect(() => check(parts())).not.toThrow();
  });

  test('does not fit without any one of its tensors, but for bias and layer scale', () => {
    const spare: string[] = [];
    for (const name of parts().keys()) {
      const tower = parts();
      tower.delete(name);
      if (outcome(tower) === 'fits') spare.push(name);
      else expect(outcome(tower)).toMatch(/^CHECKPOINT_(INCOMPLETE|MALFORMED)$/);
    }
    expect(spare.filter((name) => !/^v\.blk\.\d+\.\d+\.layer_scale\.gamma$/.test(name))).toEqual([
      'v.conv_stem.conv.bias',
    ]);
  });

  test('does not fit with any one shape changed', () => {
    for (const name of parts().keys()) {
      for (const change of [
        (shape: number[]) => [...shape, 1],
        (shape: number[]) => shape.with(0, (shape[0] ?? 0) + 1),
        () => [0],
      ]) {
        const tower = parts();
        const part = tower.get(name) as Part;
        tower.set(name, { ...part, shape: change([...part.shape]) });
        expect([name, outcome(tower)]).toEqual([name, 'CHECKPOINT_MALFORMED']);
      }
    }
  });

  test.each(['v.blk.0.0.conv_exp.bias', 'v.blk.4.0.conv_exp.weight', 'v.msfa.norm.bias'])(
    'does not fit with %s',
    (name) => {
      const tower = parts();
      tower.set(name, { source: name, shape: [64] });
      expect(outcome(tower)).toBe('CHECKPOINT_MALFORMED');
    },
  );
});
