/** Models that come and go while hearthd runs: downloaded, loaded, gone back from, and held at a slice. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Hearthd, startHearthd } from '../../helpers/hearthd';
import { begin, type ModelServer, sha256, startModelServer } from '../../helpers/model-server';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';

jest.setTimeout(240_000);

const nano = readFileSync('daemon/demo/model/nano.gguf');
const encoders = readFileSync('daemon/demo/model/mmproj-nano.gguf');
const broken = Buffer.concat([Buffer.from('GGUF'), Buffer.alloc(4096, 0xff)]);
const matFormer = join(process.cwd(), 'test/fixtures/models/e4b-narrow.gguf');

let server: ModelServer;
let broker: Mosquitto;
let peer: Peer;
let stateDirectory: string;
let hearthd: Hearthd | undefined;

beforeEach(async () => {
  server = await startModelServer();
  server.files.set('/nano.gguf', nano).set('/mmproj.gguf', encoders).set('/broken.gguf', broken);
  broker = await startMosquitto();
  peer = await connectPeer(broker.url, ['hearth/#']);
  stateDirectory = mkdtempSync(join(tmpdir(), 'hearth-models-'));
});

afterEach(async () => {
  await hearthd?.stop();
  hearthd = undefined;
  await peer.close();
  await broker.stop();
  await server.close();
  rmSync(stateDirectory, { recursive: true, force: true });
});

/** With the model of random weights; the trained one is to be downloaded. */
async function start(model: object = {}): Promise<void> {
  peer.heard.length = 0;
  hearthd = await startHearthd(broker.url, peer, {
    stateDirectory,
    plugins: Object.fromEntries(
      ['captions', 'transcribe', 'translate', 'function-calls'].map((name) => [name, { enabled: false }]),
    ),
    model: {
      path: matFormer,
      threads: 1,
      sources: {
        tiny: {
          url: `${server.url}/nano.gguf`,
          sha256: sha256(nano),
          bytes: nano.length,
          version: '2.0',
          title: 'Tiny',
          mmproj: { url: `${server.url}/mmproj.gguf`, sha256: sha256(encoders), bytes: encoders.length },
        },
        broken: { url: `${server.url}/broken.gguf`, sha256: sha256(broken) },
      },
      ...model,
    },
  });
}

async function send(verb: string, payload: Record<string, unknown>): Promise<void> {
  await peer.client.publishAsync(`hearth/pi5/request/${verb}`, JSON.stringify(payload), { qos: 1 });
}

async function answer(verb: string, id: string): Promise<Record<string, unknown>> {
  return await peer.json(`hearth/pi5/response/${verb}`, (response: { id: string }) => response.id === id);
}

async function ask(verb: string, payload: Record<string, unknown>): Promise<Record<string, unknown>> {
  await send(verb, payload);
  return await answer(verb, String(payload['id']));
}

interface Update {
  readonly installed_version: string | null;
  readonly in_progress: boolean;
  readonly update_percentage: number | null;
}

const update = async (fits: (update: Update) => boolean): Promise<Record<string, unknown>> =>
  await peer.json('hearth/pi5/model/update', fits);

const updates = (): Update[] =>
  peer.heard
    .filter(({ topic }) => topic === 'hearth/pi5/model/update')
    .map(({ payload }) => JSON.parse(payload.toString()) as Update);

const picture = readFileSync('daemon/demo/media/000.png').toString('base64');
const question = { prompt: 'Describe the image.', image: picture, temperature: 0 };
const tree = { ok: true, data: { text: 'A tree in the snow.' } };

const installed = (): string[] =>
  existsSync(join(stateDirectory, 'models'))
    ? readdirSync(join(stateDirectory, 'models')).filter((name) => name !== '.pull')
    : [];

/** The first half comes; the rest does not. */
function stopHalfway(): void {
  server.answers.push(begin(nano.length / 2, () => undefined));
}

test('a model is downloaded, loaded and asked; the next start has it, too; and there is a way back', async () => {
  await start();
  expect(await update(({ installed_version }) => installed_version !== null)).toEqual({
    installed_version: 'e4b-narrow.gguf',
    latest_version: '2.0',
    title: 'Tiny',
    in_progress: false,
    update_percentage: null,
  });
  expect(await ask('model/load', { id: 'early', name: 'tiny' })).toMatchObject({
    ok: false,
    error: {
      code: 'MODEL_UNKNOWN',
      message: 'model/load: expected a model that was pulled (there is none), received "tiny"',
    },
  });

  expect(await ask('model/pull', { id: 'p', name: 'tiny' })).toEqual({
    id: 'p',
    ok: true,
    data: { model: 'tiny', version: '2.0', size_bytes: nano.length + encoders.length, loaded: false },
  });
  expect(installed()).toEqual([expect.stringMatching(/^tiny-[0-9a-f]{12}$/)]);
  expect(updates().some(({ in_progress, update_percentage }) => in_progress && update_percentage !== null)).toBe(true);
  expect((await ask('generate', { id: 'before', ...question })) as object).toMatchObject({
    ok: false,
    error: { code: 'MODEL_UNSUPPORTED' },
  });

  await send('model/load', { id: 'l', name: 'tiny' });
  // It waits for the model.
  expect(await ask('generate', { id: 'after', ...question })).toMatchObject(tree);
  expect(await answer('model/load', 'l')).toEqual({
    id: 'l',
    ok: true,
    data: { model: 'nano', version: '2.0', slice: 'full', slices: ['full', 'half', 'full-tail'] },
  });
  expect(await update(({ installed_version }) => installed_version === '2.0')).toMatchObject({ latest_version: '2.0' });
  await peer.json('hearth/pi5/info', ({ model }: { model: { name: string } | null }) => model?.name === 'nano');

  expect(await hearthd?.stop()).toBe(0);
  await start();
  expect(await ask('generate', { id: 'again', ...question })).toMatchObject(tree);

  expect(await ask('model/load', { id: 'back', configured: true })).toMatchObject({
    ok: true,
    data: { model: 'e4b-narrow', version: 'e4b-narrow.gguf' },
  });
  expect(existsSync(join(stateDirectory, 'model.json'))).toBe(false);
});

test('a download that was interrupted by the end of the daemon goes on with the next one, and loads what was to be loaded', async () => {
  await start();
  stopHalfway();
  await send('model/pull', { id: 'p', load: true });
  await update(({ update_percentage }) => (update_percentage ?? 0) > 5);
  await hearthd?.kill();
  const [part] = readdirSync(join(stateDirectory, 'models/.pull'), { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.part'));
  expect(part).toBeDefined();

  await start();
  await update(({ installed_version, in_progress }) => installed_version === '2.0' && !in_progress);
  expect(server.asked.filter(({ path }) => path === '/nano.gguf').map(({ headers }) => headers.range)).toEqual([
    undefined,
    expect.stringMatching(/^bytes=\d{6,}-$/),
  ]);
  expect(await ask('generate', { id: 'q', ...question })).toMatchObject(tree);
});

test('one download at a time; cancelled by the id of its request', async () => {
  await start();
  stopHalfway();
  await send('model/pull', { id: 'p', name: 'tiny' });
  await update(({ in_progress }) => in_progress);
  expect(await ask('model/pull', { id: 'other', name: 'broken' })).toMatchObject({
    ok: false,
    error: { code: 'MODEL_BUSY', message: 'model/pull: expected no other download, tiny is being downloaded' },
  });
  expect(await ask('cancel', { id: 'c', request: 'p' })).toMatchObject({ ok: true, data: { cancelled: true } });
  expect(await answer('model/pull', 'p')).toMatchObject({ ok: false, error: { code: 'CANCELLED' } });
  expect(await ask('cancel', { id: 'd', request: 'p' })).toMatchObject({ ok: true, data: { cancelled: false } });
  expect(installed()).toEqual([]);
});

test('what is no model is not installed, and one that cannot be loaded is gone back from', async () => {
  await start();
  expect(await ask('model/pull', { id: 'p', name: 'broken' })).toMatchObject({
    ok: false,
    error: { code: expect.stringMatching(/^GGUF_/) as string },
  });
  expect(installed()).toEqual([]);

  writeFileSync(join(stateDirectory, 'models', 'own.gguf'), broken);
  // A job under way ends first, well.
  await send('generate', { id: 'long', prompt: 'Hello', maxTokens: 200, temperature: 1, seed: 1 });
  await send('model/load', { id: 'l', path: 'own.gguf' });
  expect(await answer('generate', 'long')).toMatchObject({ ok: true });
  const refused = await answer('model/load', 'l');
  expect(refused).toMatchObject({ ok: false, error: { code: expect.stringMatching(/^GGUF_/) as string } });
  expect(JSON.stringify(refused)).not.toContain(stateDirectory);
  const health = await ask('health', { id: 'h' });
  expect(health).toMatchObject({ data: { runner: { phase: 'ready' } } });
  expect(await ask('generate', { id: 'q', prompt: 'Hello', maxTokens: 2 })).toMatchObject({ ok: true });
  // It is not kept either.
  expect(existsSync(join(stateDirectory, 'model.json'))).toBe(false);
});

test('a chosen model that is broken by now does not keep the daemon from starting', async () => {
  mkdirSync(join(stateDirectory, 'models'));
  writeFileSync(join(stateDirectory, 'models', 'own.gguf'), broken);
  const model = { kind: 'path', path: 'own.gguf' };
  writeFileSync(join(stateDirectory, 'model.json'), JSON.stringify({ model, loadSlice: null, pin: null }));
  await start();
  expect(await ask('generate', { id: 'q', prompt: 'Hello', maxTokens: 2 })).toMatchObject({ ok: true });
  expect(await update(({ installed_version }) => installed_version !== null)).toMatchObject({
    installed_version: 'e4b-narrow.gguf',
  });
  expect(hearthd?.output()).toContain('the chosen model cannot be loaded; that of the configuration is');
});

test.each([
  ['model/pull', { name: 'other' }, 'MODEL_UNKNOWN'],
  ['model/pull', { url: 'http://192.168.1.1/' }, 'REQUEST_INVALID'],
  ['model/load', {}, 'REQUEST_INVALID'],
  ['model/load', { name: 'tiny', path: 'x.gguf' }, 'REQUEST_INVALID'],
  ['model/load', { path: '../../etc/passwd' }, 'FILE_UNREADABLE'],
  ['model/load', { path: '/etc/model.gguf' }, 'FILE_UNREADABLE'],
  ['model/slice', { slice: 'e9b' }, 'SLICE_INVALID'],
  ['model/slice', { slice: 'e4b', tailSlice: 'e2b' }, 'SLICE_INVALID'],
  ['model/slice', { slice: 'auto', tailSlice: 'e2b' }, 'REQUEST_INVALID'],
])('%s refuses %j', async (verb, payload, code) => {
  await start();
  expect(await ask(verb, { id: 'r', ...payload })).toMatchObject({ ok: false, error: { code } });
  expect(server.asked).toEqual([]);
});

test('a slice is pinned for all jobs that name none, over a restart, until it is given up', async () => {
  interface Health {
    readonly slice: string;
    readonly governor: { readonly reasons: readonly string[] };
  }
  const pinned = ({ slice, governor }: Health): boolean => slice === 'e2b' && governor.reasons.includes('pinned');
  const hello = { prompt: 'Hello', maxTokens: 2, temperature: 0 };
  await start();
  expect(await ask('generate', { id: 'free', ...hello })).toMatchObject({ data: { slice: 'full' } });

  expect(await ask('model/slice', { id: 's', slice: 'e2b' })).toMatchObject({ ok: true, data: { slice: 'e2b' } });
  await peer.json('hearth/pi5/health', pinned);
  expect(await ask('generate', { id: 'pinned', ...hello })).toMatchObject({
    data: { slice: 'e2b', governor: { reasons: ['pinned'] } },
  });
  expect(await ask('generate', { id: 'named', ...hello, slice: 'e4b' })).toMatchObject({ data: { slice: 'e4b' } });

  expect(await hearthd?.stop()).toBe(0);
  await start();
  expect(await ask('generate', { id: 'still', ...hello })).toMatchObject({ data: { slice: 'e2b' } });
  expect(await ask('model/slice', { id: 'a', slice: 'auto' })).toMatchObject({ ok: true, data: { slice: 'full' } });
  expect(await ask('generate', { id: 'freed', ...hello })).toMatchObject({ data: { slice: 'full' } });
});
