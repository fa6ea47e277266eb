/** Another model, another slice: in which order, and what is left when it fails. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { loadConfig } from '../../../daemon/config';
import { HearthError } from '../../../daemon/errors';
import type { Pin } from '../../../daemon/governor/governor';
import type { RunnerModel } from '../../../daemon/inference/runner-engine';
import type { ModelInfo } from '../../../daemon/inference/types';
import { firstChoice } from '../../../daemon/models/model-choice';
import { ModelStore } from '../../../daemon/models/model-store';
import { checkPin, ModelSwitch } from '../../../daemon/models/model-switch';
import { readSelection, writeSelection } from '../../../daemon/models/selection';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-switch-'));
  for (const name of ['configured.gguf', 'a.gguf', 'b.gguf']) writeFileSync(join(directory, name), name);
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const slice = (name: string, kvGroup = 0) => ({ name, kvGroup, decodeMacs: 1, prefillMacs: 1, published: true });
const infoOf = (name: string): ModelInfo => {
  const sliceInfos = name === 'a' ? [slice('full'), slice('half', 1), slice('full-tail')] : [slice('full')];
  return { name, slices: sliceInfos.map((info) => info.name), sliceInfos, loadedSlice: 'full' } as unknown as ModelInfo;
};
const nameOf = (path: string): string => path.replace(/^.*\/|\.gguf$/g, '');

/** A daemon in which everything is remembered that happens to it. */
function daemon(settings: Record<string, string> = {}) {
  const flags = {
    'model-path': join(directory, 'configured.gguf'),
    'model-directory': directory,
    'state-directory': directory,
    ...settings,
  };
  const config = loadConfig({ flags, env: {} });
  const store = new ModelStore(directory);
  const first = firstChoice(config, store);
  const did: string[] = [];
  const broken = new Map<string, HearthError>();
  let refusedByGovernor: string | undefined;
  let info: ModelInfo | undefined = infoOf(nameOf(first.runner.modelPath));
  let drained: Promise<void> = Promise.resolve();
  let pinned: Pin | null = first.pin;
  const change = new ModelSwitch({
    config,
    store,
    first,
    model: () => info,
    queue: {
      pause: async () => {
        did.push('pause');
        await drained;
      },
      resume: () => did.push('resume'),
    },
    runner: {
      model: first.runner,
      load: async ({ modelPath, loadSlice }: RunnerModel) => {
        const name = nameOf(modelPath);
        did.push(`load ${name}${loadSlice === undefined ? '' : ` as ${loadSlice}`}`);
        const error = broken.get(name);
        if (error !== undefined) throw error;
        info = infoOf(name);
        return info;
      },
    },
    governor: {
      get pinned() {
        return pinned;
      },
      pin: (pin) => {
        pinned = pin;
        did.push(`pin ${pin?.slice ?? 'auto'}`);
      },
      useModel: (model, pin = null) => {
        if (model.name === refusedByGovernor)
          throw new HearthError('CONFIG_INVALID', 'governor.slices: expected others');
        pinned = pin;
        did.push(`use ${model.name} ${pin?.slice ?? 'auto'}`);
      },
    },
    onChange: () => did.push('changed'),
    log: pino({ level: 'silent' }),
    drainMs: 20,
  });
  return {
    change,
    did,
    broken,
    refuse: (name: string) => (refusedByGovernor = name),
    hang: () => (drained = new Promise(() => undefined)),
  };
}

const path = (name: string) => ({ kind: 'path', path: `${name}.gguf` }) as const;

test('jobs end first, and the choice holds for the next start', async () => {
  const { change, did } = daemon();
  expect(await change.load(path('a'), { slice: 'half', loadSlice: 'full' })).toEqual({
    model: 'a',
    version: 'a.gguf',
    slice: 'half',
    slices: ['full', 'half', 'full-tail'],
  });
  expect(did).toEqual(['pause', 'load a as full', 'use a half', 'changed', 'resume']);
  expect(readSelection(directory)).toEqual({ model: path('a'), loadSlice: 'full', pin: { slice: 'half' } });
  expect(daemon().change.inForce).toMatchObject({ runner: { loadSlice: 'full' }, pin: { slice: 'half' } });
  await change.load(null);
  expect(readSelection(directory).model).toBeNull();
});

test('what cannot be loaded changes nothing', async () => {
  const { change, did, broken } = daemon();
  broken.set('b', new HearthError('GGUF_MALFORMED', `${join(directory, 'b.gguf')}: not a GGUF file`));
  // The engine has loaded the one before again by itself.
  await expect(change.load(path('b'))).rejects.toMatchObject({
    code: 'GGUF_MALFORMED',
    message: 'b.gguf: not a GGUF file',
  });
  expect(did).toEqual(['pause', 'load b', 'resume']);
  expect(change.inForce.use.version).toBe('configured.gguf');
});

test.each([
  ['a slice it does not have', 'half', undefined, 'SLICE_INVALID'],
  ['bounds of the governor it does not fit', undefined, 'b', 'CONFIG_INVALID'],
])('one that is loaded and then refused for %s is gone back from', async (_what, wanted, refused, code) => {
  const { change, did, refuse } = daemon();
  if (refused !== undefined) refuse(refused);
  await expect(change.load(path('b'), { slice: wanted })).rejects.toMatchObject({ code });
  expect(did).toEqual(['pause', 'load b', 'load configured', 'use configured auto', 'changed', 'resume']);
  expect(readSelection(directory).model).toBeNull();
});

test('one change at a time; jobs that do not end keep the model', async () => {
  const { change, did, hang } = daemon();
  hang();
  const first = change.load(path('a'));
  await expect(change.load(path('b'))).rejects.toMatchObject({ code: 'MODEL_BUSY' });
  await expect(change.pin('auto')).rejects.toMatchObject({ code: 'MODEL_BUSY' });
  await expect(first).rejects.toMatchObject({
    code: 'MODEL_BUSY',
    message: 'expected the jobs under way to end within 20 ms',
  });
  expect(did).toEqual(['pause', 'resume']);
});

test('a pin is of the model it was made for; the one of the configuration is of its own', async () => {
  const { change } = daemon({ 'model-slice': 'full' });
  expect(change.inForce.pin).toEqual({ slice: 'full' });
  await change.load(path('a'));
  expect(change.inForce.pin).toBeNull();
  expect(await change.pin({ slice: 'half' })).toMatchObject({ slice: 'half' });
  await change.load(null);
  expect(change.inForce.pin).toEqual({ slice: 'full' });
  await change.pin('auto');
  expect(daemon({ 'model-slice': 'full' }).change.inForce.pin).toBeNull();
});

describe('at the start', () => {
  test('a chosen model that cannot be loaded makes way for that of the configuration', async () => {
    writeSelection(directory, { model: path('b'), loadSlice: null, pin: null });
    const { change, did } = daemon();
    await change.begin(Promise.reject(new HearthError('MODEL_TOO_LARGE', 'too large')));
    expect(did).toEqual(['load configured', 'use configured auto', 'resume', 'changed']);
    expect(change.inForce.use.version).toBe('configured.gguf');
  });

  test('nothing else is loaded meanwhile', async () => {
    const { change } = daemon();
    let loaded = (_info: ModelInfo): void => undefined;
    const beginning = change.begin(new Promise((resolve) => (loaded = resolve)));
    await expect(change.load(path('a'))).rejects.toMatchObject({ code: 'MODEL_BUSY' });
    loaded(infoOf('configured'));
    await beginning;
    expect(await change.load(path('a'))).toMatchObject({ model: 'a' });
  });

  test('that of the configuration has no other behind it', async () => {
    const { change } = daemon();
    await expect(change.begin(Promise.reject(new HearthError('MODEL_TOO_LARGE', 'x')))).rejects.toThrow('x');
  });

  test('a chosen model that is gone, or a choice that is broken, counts for nothing', () => {
    writeSelection(directory, { model: path('missing'), loadSlice: null, pin: null });
    expect(daemon().change.inForce.use.version).toBe('configured.gguf');
    for (const text of ['', '{', '{"model":{"kind":"path"},"loadSlice":null,"pin":null}', '{"model":1}']) {
      writeFileSync(join(directory, 'model.json'), text);
      expect(daemon().change.inForce.use.version).toBe('configured.gguf');
    }
    expect(readFileSync(join(directory, 'model.json'), 'utf8')).toBe('{"model":1}');
  });

  test('a pinned slice the file does not have any more is not used', async () => {
    writeSelection(directory, { model: null, loadSlice: null, pin: { slice: 'e2b' } });
    const { change, did } = daemon();
    await change.begin(Promise.resolve(infoOf('configured')));
    expect(did).toEqual(['use configured auto', 'resume', 'changed']);
  });
});

test('a tail leaves the same keys and values behind', () => {
  const info = infoOf('a');
  expect(() => checkPin({ slice: 'full', tailSlice: 'full-tail' }, info)).not.toThrow();
  expect(() => checkPin({ slice: 'full', tailSlice: 'half' }, info)).toThrow(
    'tailSlice: expected one that leaves the same keys and values as full (full, full-tail), received half',
  );
  expect(() => checkPin({ slice: 'e9b' }, info)).toThrow(
    'slice: expected one of full, half, full-tail, received "e9b"',
  );
});
