/** Downloads of the catalogue: who shares one, what is checked before it counts, and what is left of others. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { HearthError } from '../../../daemon/errors';
import { catalogueOf } from '../../../daemon/models/catalogue';
import { ModelPuller } from '../../../daemon/models/model-puller';
import { ModelStore } from '../../../daemon/models/model-store';
import { asModelUpdate, type ModelInUse, ModelUpdates, type Progress } from '../../../daemon/models/model-update';
import { takePullLock } from '../../../daemon/models/pull-lock';
import { begin, type ModelServer, sha256, startModelServer } from '../../helpers/model-server';

jest.setTimeout(60_000);

const text = Buffer.alloc(200_000, 'text');
const encoders = Buffer.alloc(100_000, 'encoders');

let server: ModelServer;
let directory: string;
let store: ModelStore;

beforeEach(async () => {
  server = await startModelServer();
  server.files.set('/text', text).set('/encoders', encoders);
  directory = mkdtempSync(join(tmpdir(), 'hearth-pull-'));
  store = new ModelStore(directory);
});

afterEach(async () => {
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

function source(content: Buffer, more: object = {}) {
  const common = { bytes: content.length, version: null, title: null, tokenFile: null };
  const mmproj = { url: null, sha256: null, bytes: null };
  return { url: `${server.url}/text`, sha256: sha256(content), ...common, mmproj, ...more };
}

const both = () => ({ mmproj: { url: `${server.url}/encoders`, sha256: sha256(encoders), bytes: encoders.length } });

function pullerOf(sources: object, check: () => Promise<void> = async () => undefined) {
  const seen: Progress[] = [];
  const ends: (string | null)[] = [];
  const puller = new ModelPuller({
    catalogue: catalogueOf({ model: { sources } as never }),
    store,
    check,
    onProgress: (_source, progress) => seen.push(progress),
    onEnd: (error) => ends.push(error?.code ?? null),
    inUse: () => false,
    log: pino({ level: 'silent' }),
    tuning: { retryDelayMs: 1, freeBytes: async () => 1e9 },
  });
  return { puller, seen, ends };
}

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  await promise.then(
    () => 'none',
    (error: unknown) => (error as HearthError).code,
  );

test('both files are one model, with one progress', async () => {
  const { puller, seen, ends } = pullerOf({ tiny: source(text, both()) });
  const model = await puller.pull('tiny:latest', { id: 'a' });
  expect(model).toMatchObject({ name: 'tiny', title: 'tiny', sizeBytes: 300_000 });
  expect(readFileSync(model.files.modelPath).equals(text)).toBe(true);
  expect(readFileSync(model.files.multimodalPath ?? '').equals(encoders)).toBe(true);
  expect(seen[0]).toEqual({ phase: 'downloading', receivedBytes: 0, totalBytes: 300_000 });
  expect(seen.at(-1)).toEqual({ phase: 'verifying', receivedBytes: 300_000, totalBytes: 300_000 });
  expect(ends).toEqual([null]);
  expect(store.find('tiny')).toEqual(model);
  expect(readdirSync(join(directory, '.pull'))).toEqual([]);
});

test('who asks for what is under way waits for it; it ends when nobody wants it any more', async () => {
  const { puller, ends } = pullerOf({ tiny: source(text), other: source(encoders) });
  server.answers.push(begin(1000, () => undefined));
  const first = codeOf(puller.pull('tiny', { id: 'a' }));
  const second = codeOf(puller.pull('tiny', { id: 'b', load: true }));
  expect(await codeOf(puller.pull('other', { id: 'c' }))).toBe('MODEL_BUSY');
  expect(puller.interrupted()).toEqual({ name: 'tiny', ids: ['a', 'b'], load: true });
  expect(puller.cancel('c')).toBe(false);
  expect(puller.cancel('a')).toBe(true);
  expect(puller.interrupted()).toMatchObject({ ids: ['b'] });
  expect(puller.cancel('b')).toBe(true);
  expect(await Promise.all([first, second])).toEqual(['CANCELLED', 'CANCELLED']);
  expect(ends).toEqual(['CANCELLED']);
  expect(puller.interrupted()).toBeUndefined();
});

test('who asks again after it was cancelled gets a download of its own', async () => {
  const { puller } = pullerOf({ tiny: source(text) });
  const first = codeOf(puller.pull('tiny', { id: 'a' }));
  expect(puller.cancel('a')).toBe(true);
  const again = codeOf(puller.pull('tiny', { id: 'b' }));
  expect(await Promise.all([first, again])).toEqual(['CANCELLED', 'none']);
});

test('what the runtime refuses is neither installed nor kept', async () => {
  const { puller } = pullerOf({ tiny: source(text) }, async () => {
    throw new HearthError('GGUF_MALFORMED', 'not a GGUF file');
  });
  expect(await codeOf(puller.pull('tiny', { id: 'a' }))).toBe('GGUF_MALFORMED');
  expect(readdirSync(directory)).toEqual(['.pull']);
  expect(readdirSync(join(directory, '.pull'))).toEqual([]);
});

test('the end of the daemon leaves what is needed to go on', async () => {
  const { puller } = pullerOf({ tiny: source(text) });
  server.answers.push(begin(1000, () => undefined));
  const waiting = codeOf(puller.pull('tiny', { id: 'a', load: true }));
  await puller.stop();
  expect(await waiting).toBe('SHUTDOWN');
  const { puller: next } = pullerOf({ tiny: source(text) });
  expect(next.interrupted()).toEqual({ name: 'tiny', ids: ['a'], load: true });
  // Not where the entry is another by now.
  expect(pullerOf({ tiny: source(encoders) }).puller.interrupted()).toBeUndefined();
  expect(pullerOf({}).puller.interrupted()).toBeUndefined();
});

test('the version before the newest stays, older ones go', async () => {
  for (const content of ['one', 'two', 'three'].map((word) => Buffer.from(word))) {
    server.files.set('/text', content);
    await pullerOf({ tiny: source(content) }).puller.pull('tiny', { id: 'a' });
  }
  expect(store.installed().map(({ files }) => readFileSync(files.modelPath, 'utf8'))).toEqual(['three', 'two']);
});

test('a token comes from its file, and goes nowhere else', async () => {
  const tokenFile = join(directory, 'token');
  const { puller } = pullerOf({ tiny: source(text, { tokenFile }) });
  expect(await codeOf(puller.pull('tiny', { id: 'a' }))).toBe('FILE_UNREADABLE');
  writeFileSync(tokenFile, 'secret-token\n');
  await puller.pull('tiny', { id: 'a' });
  expect(server.asked.map(({ headers }) => headers.authorization)).toEqual(['Bearer secret-token']);
});

test('a lock is of the living', async () => {
  const path = join(directory, 'lock');
  // The first process of the machine lives as long as it does.
  writeFileSync(path, '1');
  expect(() => takePullLock(path)).toThrow('expected no other download, process 1 is busy with one');
  writeFileSync(path, '4194303');
  takePullLock(path)();
  // A link to nothing is there and can't be read.
  symlinkSync('nowhere', path);
  takePullLock(path)();
  expect(existsSync(path)).toBe(false);
});

describe('files of the directory', () => {
  test.each([
    '../outside.gguf',
    '/etc/outside.gguf',
    'own.bin',
    'link.gguf',
    'directory.gguf',
    'missing.gguf',
    'a\0.gguf',
    '.gguf/..',
  ])('%j is none', (path) => {
    writeFileSync(join(directory, '..', 'hearth-outside.gguf'), 'x');
    symlinkSync(join(directory, '..', 'hearth-outside.gguf'), join(directory, 'link.gguf'));
    mkdirSync(join(directory, 'directory.gguf'));
    expect(() => store.locate(path)).toThrow('expected a .gguf file in the model directory');
    rmSync(join(directory, '..', 'hearth-outside.gguf'));
  });

  test('are found with the encoders beside them', () => {
    mkdirSync(join(directory, 'mine'));
    writeFileSync(join(directory, 'mine/a.gguf'), 'x');
    writeFileSync(join(directory, 'mine/mmproj-a.gguf'), 'x');
    expect(store.locate('mine/a.gguf')).toEqual({
      modelPath: join(directory, 'mine/a.gguf'),
      multimodalPath: join(directory, 'mine/mmproj-a.gguf'),
    });
  });

  test('what is broken in it is no model', () => {
    mkdirSync(join(directory, 'tiny-0123'));
    for (const manifest of [
      '',
      '{',
      '[]',
      '{"v":1,"name":"../x","title":"","version":"","key":"0123","installedMs":1}',
    ]) {
      writeFileSync(join(directory, 'tiny-0123/model.json'), manifest);
      expect(store.installed()).toEqual([]);
    }
  });
});

describe('the state of updates', () => {
  const catalogue = () =>
    catalogueOf({ model: { sources: { tiny: source(text, { version: '2', title: 'Tiny' }) } } as never });

  test('has the keys of Home Assistant, and knows what is newer', () => {
    let inUse: ModelInUse | undefined;
    const updates = new ModelUpdates(catalogue(), () => inUse);
    const seen: (number | null)[] = [];
    updates.change$.subscribe(({ update_percentage }) => seen.push(update_percentage));
    expect(updates.state()).toMatchObject({ installed_version: null, latest_version: '2', in_progress: false });
    inUse = { source: 'tiny', version: '1' };
    updates.refresh();
    const tiny = updates.subject;
    if (tiny === undefined) throw new Error('there is one');
    updates.progress(tiny, { phase: 'downloading', receivedBytes: 50, totalBytes: 200 });
    expect(asModelUpdate(updates.state())).toEqual({
      installed_version: '1',
      latest_version: '2',
      title: 'Tiny',
      in_progress: true,
      update_percentage: 25,
    });
    updates.pulled(new HearthError('DISK_FULL', 'no room'));
    expect(updates.state()).toMatchObject({
      in_progress: false,
      phase: 'idle',
      error: { code: 'DISK_FULL', message: 'no room' },
    });
    updates.loading();
    expect(updates.state()).toMatchObject({ in_progress: true, update_percentage: null, phase: 'loading' });
    updates.ended();
    expect(updates.state()).toMatchObject({ in_progress: false, error: null });
    expect(seen).toEqual([null, null, 25, null, null, null]);
  });

  test('without a catalogue nothing is newer', () => {
    const updates = new ModelUpdates(new Map(), () => ({ source: null, version: 'nano.gguf' }));
    expect(updates.state()).toMatchObject({
      installed_version: 'nano.gguf',
      latest_version: 'nano.gguf',
      source: null,
    });
    expect(updates.subject).toBeUndefined();
  });
});
