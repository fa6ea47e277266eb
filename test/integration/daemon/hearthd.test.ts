/** The daemon as a process, with a real model and a real broker, and what is left of it when parts of it are killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { childrenOf } from '../../helpers/children-of';
import { receiveDatagrams } from '../../helpers/datagram-receiver';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';

jest.setTimeout(60_000);

const modelPath = join(process.cwd(), 'test/fixtures/models/e2b-narrow.gguf');
const hearthd = join(__dirname, '../../../daemon/hearthd.js');

let broker: Mosquitto;
let peer: Peer;
let child: ChildProcess;
let output: string;
let stateDirectory: string;

beforeEach(async () => {
  broker = await startMosquitto();
  peer = await connectPeer(broker.url, ['hearth/#']);
  stateDirectory = mkdtempSync(join(tmpdir(), 'hearth-state-'));
  output = '';
});

afterEach(async () => {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await peer.close();
  await broker.stop();
  rmSync(stateDirectory, { recursive: true, force: true });
});

async function start(env: Readonly<Record<string, string>> = {}): Promise<void> {
  child = spawn(
    process.execPath,
    [
      hearthd,
      '--node-id',
      'pi5',
      '--model-path',
      modelPath,
      '--model-threads',
      '1',
      '--state-directory',
      stateDirectory,
      '--mqtt-url',
      broker.url,
      '--http-port',
      '0',
    ],
    {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await peer
    .json('hearth/pi5/info', ({ model }: { model: unknown }) => model !== null)
    .catch((error: unknown) => {
      throw new Error(`hearthd did not come up: ${String(error)}\n${output}`);
    });
}

async function exit(): Promise<{ code: number | null; signal: string | null }> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return { code: child.exitCode, signal: child.signalCode };
}

async function ask(verb: string, payload: Record<string, unknown>): Promise<Record<string, unknown>> {
  await peer.client.publishAsync(`hearth/pi5/request/${verb}`, JSON.stringify(payload), { qos: 1 });
  return await peer.json(`hearth/pi5/response/${verb}`, ({ id }: { id: string }) => id === payload['id']);
}

const offline = async (): Promise<unknown> =>
  await peer.json('hearth/pi5/state', ({ state }: { state: string }) => state === 'offline');

test('is online, says what it is and how it is, answers, and ends with exit code 0 and offline on SIGTERM', async () => {
  await start();
  expect(await peer.json('hearth/pi5/state')).toEqual({ state: 'online' });
  const info = await peer.json('hearth/pi5/info', ({ model }: { model: unknown }) => model !== null);
  expect(info).toMatchObject({
    node: 'pi5',
    model: {
      name: 'e2b-narrow',
      layers: 30,
      slices: ['full', 'half', 'full-tail'],
      loaded_slice: 'full',
      memory: { kv_type: 'f16', sessions: 4 },
    },
    modalities: ['text'],
    limits: { maxFrameBytes: 2 << 20 },
  });
  expect(JSON.stringify(info)).not.toContain(modelPath);

  const health = await ask('health', { id: 'h' });
  expect(health).toMatchObject({
    ok: true,
    data: { queue: { depth: 0 }, slice: 'full', runner: { phase: 'ready', restarts: 0 } },
  });
  expect(await peer.json('hearth/pi5/health')).toHaveProperty('memory.daemon_rss_bytes');

  const first = await ask('generate', { id: 'g1', prompt: 'Hello', maxTokens: 4, temperature: 0 });
  expect(first).toMatchObject({ ok: true, data: { tokens: { completion: expect.any(Number) as number } } });
  const again = await ask('generate', { id: 'g2', prompt: 'Hello', maxTokens: 4, temperature: 0 });
  expect((again['data'] as { text: string }).text).toBe((first['data'] as { text: string }).text);

  child.kill('SIGTERM');
  expect(await exit()).toEqual({ code: 0, signal: null });
  expect(await offline()).toEqual({ state: 'offline' });
  expect(output).not.toMatch(/"level":"(error|fatal)"/);
});

test('an urgent request is answered while others run, cancelled ones harm nobody, and a prompt that begins as another is reused', async () => {
  await start();
  const system = 'You are the house. You say what is on your mind, at length and with all the words you have.';
  const schema = { type: 'array', items: { enum: ['yes', 'no'] }, minItems: 500, maxItems: 500 };
  const long = ['one', 'two', 'three'].map((id) =>
    ask('generate', { id, system, prompt: `I am ${id}`, maxTokens: 3000, schema, priority: 1 }),
  );
  const busy = await ask('health', { id: 'busy' });
  expect(busy).toMatchObject({ data: { queue: { running: 3, depth: 0 } } });
  const urgent = await ask('generate', { id: 'urgent', system, prompt: 'Ring!', maxTokens: 3, priority: 9 });
  expect(urgent).toMatchObject({ ok: true, data: { tokens: { completion: expect.any(Number) as number } } });
  const answered = peer.heard.filter(({ topic }) => topic === 'hearth/pi5/response/generate');
  expect(answered).toHaveLength(1);
  for (const id of ['one', 'two', 'three']) {
    expect(await ask('cancel', { id: `cancel-${id}`, request: id })).toMatchObject({ data: { cancelled: true } });
  }
  for (const job of long) expect(await job).toMatchObject({ ok: false, error: { code: 'ENGINE_CANCELLED' } });
  const next = await ask('generate', { id: 'next', system, prompt: 'Ring again!', maxTokens: 3 });
  expect((next['data'] as { tokens: { cached: number } }).tokens.cached).toBeGreaterThan(16);
  // The runner reports once a second.
  let saved: unknown;
  for (let attempt = 0; attempt < 100 && saved === undefined; attempt++) {
    const { data } = (await ask('health', { id: `saved-${attempt}` })) as { data: { prefix_cache: { hits: number } } };
    if (data.prefix_cache.hits > 0) saved = data;
    else await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(saved).toMatchObject({
    queue: { running: 0 },
    memory: { kv_bytes: expect.any(Number) as number },
    prefix_cache: { max_bytes: 256 << 20, entries: expect.any(Number) as number, evicted: 0 },
  });
});

test('the built-in plugins run, and a frame of a model without an encoder is skipped as unsupported', async () => {
  await start();
  for (const name of ['captions', 'transcribe', 'translate']) {
    await peer.json(`hearth/pi5/plugin/${name}/state`, ({ state }: { state: string }) => state === 'running');
  }
  const info = await peer.json('hearth/pi5/info', ({ plugins }: { plugins: { verbs: string[] }[] }) =>
    plugins.some(({ verbs }) => verbs.length > 0),
  );
  expect(info['plugins']).toContainEqual({ name: 'translate', version: '1.0.0', verbs: ['translate'] });
  await peer.client.publishAsync('hearth/in/door/frame', 'x', { qos: 1 });
  expect(await peer.json('hearth/pi5/out/door/skipped')).toMatchObject({ stream: 'door', reason: 'unsupported' });
  expect(await ask('stream/set', { id: 's', stream: 'door', minIntervalMs: 5 })).toMatchObject({
    ok: true,
    data: { minIntervalMs: 5 },
  });
  expect(await ask('plugin/restart', { id: 'p', plugin: 'captions' })).toMatchObject({ ok: true });
});

test('the service manager hears that it starts, is ready, lives and stops', async () => {
  const manager = await receiveDatagrams(join(stateDirectory, 'notify'));
  await start({ NOTIFY_SOCKET: join(stateDirectory, 'notify'), WATCHDOG_USEC: '300000' });
  const is = (prefix: string) => (message: string) => message.startsWith(prefix);
  await manager.next(is('READY=1\n'));
  await manager.next(is('WATCHDOG=1'));
  const fed = manager.messages.filter(is('WATCHDOG=1')).length;
  const starting = manager.messages.slice(0, manager.messages.findIndex(is('READY=1')));
  for (const message of starting) expect(message).toMatch(/^EXTEND_TIMEOUT_USEC=\d+\nSTATUS=model: /);
  expect(starting).toContainEqual(expect.stringMatching(/STATUS=model: loading, \d+ %$/));
  expect(manager.messages.findIndex(is('WATCHDOG=1'))).toBeGreaterThan(manager.messages.findIndex(is('READY=1')));
  expect(fed).toBeGreaterThan(0);
  child.kill('SIGTERM');
  await manager.next(is('STOPPING=1'));
  expect(await exit()).toEqual({ code: 0, signal: null });
  expect(manager.messages.at(-1)).toBe('STOPPING=1');
  await manager.close();
});

test('of a model that is loaded in part only that part is offered, with keys and values as configured', async () => {
  await start({ HEARTH_MODEL_LOAD_SLICE: 'half', HEARTH_MODEL_KV_TYPE: 'f16', HEARTH_MODEL_MEMORY_LIMIT: '2GB' });
  const { model } = await peer.json(
    'hearth/pi5/info',
    (info: { model: Record<string, unknown> | null }) => info.model !== null,
  );
  expect(model).toMatchObject({ slices: ['half'], slice: 'half', loaded_slice: 'half' });
  const { kv_bytes, kv_bytes_f16 } = (model as { memory: Record<string, number> }).memory;
  expect(kv_bytes).toBe(kv_bytes_f16);
  expect(await ask('health', { id: 'h' })).toMatchObject({ ok: true, data: { slice: 'half' } });
  expect(await ask('generate', { id: 'g1', prompt: 'Hello', maxTokens: 2 })).toMatchObject({
    ok: true,
    data: { slice: 'half' },
  });
  expect(await ask('generate', { id: 'g2', prompt: 'Hello', maxTokens: 2, slice: 'full' })).toMatchObject({
    ok: false,
    error: {
      code: 'SLICE_INVALID',
      message: expect.stringContaining('only what slice half needs was loaded') as string,
    },
  });
});

test('killed outright, it is offline by its last will', async () => {
  await start();
  child.kill('SIGKILL');
  expect(await offline()).toEqual({ state: 'offline' });
  await exit();
});

test('a killed runner fails its job with a code and comes back; the daemon and its connection live on', async () => {
  await start();
  const [runner] = childrenOf(child.pid ?? 0);
  // Stopped, it cannot be done with the job before it is killed.
  process.kill(runner ?? 0, 'SIGSTOP');
  const job = ask('generate', { id: 'long', prompt: 'Hello', maxTokens: 2000, temperature: 1 });
  await peer.client.publishAsync('hearth/pi5/request/health', '{"id":"busy"}', { qos: 1 });
  await peer.json(
    'hearth/pi5/response/health',
    ({ data }: { data: { queue: { running: number } } }) => data.queue.running === 1,
  );
  process.kill(runner ?? 0, 'SIGKILL');
  expect(await job).toMatchObject({ ok: false, error: { code: 'ENGINE_RESTARTED' } });
  let restarted: Record<string, unknown> | undefined;
  for (let attempt = 0; attempt < 100; attempt++) {
    const reply = await ask('generate', { id: `retry-${attempt}`, prompt: 'Hello', maxTokens: 2, temperature: 0 });
    if (reply['ok'] === true) {
      restarted = reply;
      break;
    }
    expect(reply).toMatchObject({ error: { code: 'ENGINE_NOT_READY' } });
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(restarted).toMatchObject({ ok: true });
  expect(
    peer.heard.filter(({ topic, payload }) => topic === 'hearth/pi5/state' && payload.toString().includes('offline')),
  ).toEqual([]);
  expect(childrenOf(child.pid ?? 0)).not.toContain(runner);
});

/** Its reply cannot end before its 2000 tokens do: seconds, with scalar kernels. */
const longJob = JSON.stringify({
  id: 'long',
  prompt: 'Hello',
  maxTokens: 2000,
  schema: { type: 'array', items: { type: 'boolean' }, minItems: 2000 },
});

test('SIGTERM in the middle of a long job fails the job and still ends with 0 and no runner left behind', async () => {
  await start({ HEARTH_MODEL_ISA: 'scalar' });
  const [runner] = childrenOf(child.pid ?? 0);
  await peer.client.publishAsync('hearth/pi5/request/generate', longJob, { qos: 1 });
  await peer.client.publishAsync('hearth/pi5/request/health', '{"id":"busy"}', { qos: 1 });
  await peer.json(
    'hearth/pi5/response/health',
    ({ data }: { data: { queue: { running: number } } }) => data.queue.running === 1,
  );
  child.kill('SIGTERM');
  expect(await exit()).toEqual({ code: 0, signal: null });
  const answer = await peer.json('hearth/pi5/response/generate');
  expect(answer).toMatchObject({ id: 'long' });
  await offline();
  expect(() => process.kill(runner ?? 0, 0)).toThrow('ESRCH');
});

test.each([
  ['runner', (runner: number) => process.kill(runner, 'SIGSTOP')],
  ['broker', () => broker.freeze()],
])('SIGTERM ends it with 0 although the %s hangs', async (_part, hang) => {
  await start({ HEARTH_MODEL_ISA: 'scalar' });
  const [runner = 0] = childrenOf(child.pid ?? 0);
  await peer.client.publishAsync('hearth/pi5/request/generate', longJob, { qos: 1 });
  await ask('health', { id: 'busy' });
  hang(runner);
  child.kill('SIGTERM');
  expect(await exit()).toEqual({ code: 0, signal: null });
  expect(() => process.kill(runner, 0)).toThrow('ESRCH');
  broker.thaw();
  await offline();
});

test('without a broker it brings its own, on loopback', async () => {
  child = spawn(
    process.execPath,
    [
      hearthd,
      '--node-id',
      'own',
      '--model-path',
      modelPath,
      '--mqtt-embedded-port',
      '0',
      '--http-port',
      '0',
      '--state-directory',
      stateDirectory,
    ],
    {
      env: {},
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  let port: string | undefined;
  for (let attempt = 0; attempt < 200 && port === undefined; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    port = /"port":(\d+),"msg":"embedded broker listens"/.exec(output)?.[1];
  }
  const own = await connectPeer(`mqtt://127.0.0.1:${port}`, ['hearth/own/#'], { protocolVersion: 4 });
  expect(await own.json('hearth/own/state')).toEqual({ state: 'online' });
  await own.json('hearth/own/info', ({ model }: { model: unknown }) => model !== null);
  child.kill('SIGTERM');
  expect(await exit()).toEqual({ code: 0, signal: null });
  await own.close();
});

test.each([
  [['--model-path', join(process.cwd(), 'package.json')], 'GGUF_MALFORMED', 65],
  [['--model-path', '/nonexistent.gguf'], 'FILE_UNREADABLE', 66],
  [['--queue-capacity', '0'], 'CONFIG_INVALID', 78],
  [['--mqtt-tls-ca-file', '/etc/hostname'], 'FILE_UNREADABLE', 66],
])('%j ends it with one line that begins with %s and exit code %i', async (args, code, exitCode) => {
  child = spawn(
    process.execPath,
    [
      hearthd,
      '--mqtt-url',
      broker.url,
      '--http-port',
      '0',
      '--model-path',
      modelPath,
      '--state-directory',
      stateDirectory,
      ...args,
    ],
    {
      env: {},
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  expect(await exit()).toEqual({ code: exitCode, signal: null });
  expect(output.trim().split('\n')).toEqual([expect.stringMatching(new RegExp(`^${code}: `))]);
});
