/** The governor in the daemon: the small trained model and a real broker, on a board whose temperature the test sets. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BoardTree } from '../../helpers/board-tree';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';

jest.setTimeout(60_000);

interface Health {
  slice: string;
  governor: { level: number; reasons: string[] };
}

const picture = readFileSync(join(process.cwd(), 'daemon/demo/media/000.png'));

let broker: Mosquitto;
let peer: Peer;
let board: BoardTree;
let child: ChildProcess;
let output: string;
let stateDirectory: string;

beforeEach(async () => {
  broker = await startMosquitto();
  peer = await connectPeer(broker.url, ['hearth/#']);
  board = new BoardTree();
  board.zone(0, 'cpu-thermal', 45);
  board.memory(8192, 6000);
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
  board.remove();
  rmSync(stateDirectory, { recursive: true, force: true });
});

function spawnDaemon(...flags: string[]): void {
  const model = join(process.cwd(), 'daemon/demo/model/nano.gguf');
  const script = join(__dirname, '../../helpers/hearthd-on-board.js');
  const common = [
    '--node-id',
    'pi5',
    '--model-path',
    model,
    '--model-threads',
    '1',
    '--mqtt-url',
    broker.url,
    '--http-port',
    '0',
  ];
  const { sys, proc } = board.roots;
  child = spawn(process.execPath, [script, sys, proc, ...common, '--state-directory', stateDirectory, ...flags], {
    env: {},
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
}

async function start(...flags: string[]): Promise<void> {
  spawnDaemon(...flags);
  await peer
    .json('hearth/pi5/plugin/captions/state', ({ state }: { state: string }) => state === 'running')
    .catch((error: unknown) => {
      throw new Error(`hearthd did not come up: ${String(error)}\n${output}`);
    });
}

async function ask(payload: Record<string, unknown>): Promise<Record<string, unknown>> {
  await peer.client.publishAsync('hearth/pi5/request/generate', JSON.stringify(payload), { qos: 1 });
  const response = await peer.json('hearth/pi5/response/generate', ({ id }: { id: string }) => id === payload['id']);
  expect(response).toMatchObject({ ok: true });
  return response['data'] as Record<string, unknown>;
}

test('a hot board: a smaller slice, published with its reason in health, in results and in the log; cool again, the larger', async () => {
  await start('--governor-slices', 'full,half,full-tail', '--governor-hold-seconds', '0');
  const cool = await peer.json('hearth/pi5/health', ({ governor }: Health) => governor.reasons.length > 0);
  expect(cool).toMatchObject({
    slice: 'full',
    image_size: 256,
    governor: { enabled: true, level: 0, reasons: ['nominal'] },
  });
  // Another picture than later: one that is asked about again would be kept in its slice's group.
  const other = readFileSync(join(process.cwd(), 'daemon/demo/media/004.png'));
  expect(await ask({ id: 'cool', prompt: 'Describe the image.', image: other.toString('base64') })).toMatchObject({
    slice: 'full',
    image_size: 256,
    governor: { reasons: ['nominal'], why: 'nothing speaks against it' },
  });

  board.zone(0, 'cpu-thermal', 83.4);
  const why = 'the SoC is at 83.4 °C (hot from 80 °C)';
  const hot = await peer.json('hearth/pi5/health', ({ slice }: Health) => slice === 'half');
  expect(hot).toMatchObject({
    soc_temperature_c: 83.4,
    governor: { enabled: true, level: 2, reasons: ['temperature'], why },
  });
  expect(hot).toHaveProperty('memory.available_bytes', 6000 * 2 ** 20);
  expect(await ask({ id: 'hot', prompt: 'Describe the image.', image: picture.toString('base64') })).toMatchObject({
    slice: 'half',
    governor: { reasons: ['temperature'], why },
  });
  await peer.client.publishAsync('hearth/in/door/frame', picture, { qos: 1 });
  expect(await peer.json('hearth/pi5/out/door/caption')).toMatchObject({
    slice: 'half',
    image_size: 256,
    governor: { reasons: ['temperature'], why },
  });
  // What a request names wins.
  expect(await ask({ id: 'named', prompt: 'Describe the image.', slice: 'full' })).toMatchObject({
    slice: 'full',
    governor: { reasons: ['request'] },
  });

  board.zone(0, 'cpu-thermal', 45);
  await peer.json('hearth/pi5/health', ({ governor }: Health) => governor.level === 1);
  await peer.json('hearth/pi5/log', ({ msg }: { msg: string }) => msg.startsWith('changes to slice full'));
  const told = peer.heard
    .filter(({ topic }) => topic === 'hearth/pi5/log')
    .map(({ payload }) => JSON.parse(payload.toString()) as { ns: string; msg: string })
    .filter(({ ns }) => ns === 'governor')
    .map(({ msg }) => msg);
  expect(told).toEqual([
    'starts with slice full, pictures at 256 px: nothing speaks against it',
    `changes to slice half, pictures at 256 px: ${why}`,
    `changes to slice half, pictures at 256 px: ${why}, not long ago`,
    'changes to slice full, pictures at 256 px: nothing speaks against it',
  ]);
});

test('a reply that would be late goes on with its tail, and says after how many tokens', async () => {
  await start('--governor-slices', 'full,full-tail');
  const other = readFileSync(join(process.cwd(), 'daemon/demo/media/004.png')).toString('base64');
  // Teaches how long a picture takes.
  await ask({ id: 'first', prompt: 'Describe the image.', image: other });
  const request = { prompt: 'Describe the image.', image: picture.toString('base64'), maxTokens: 32 };
  const changed = await ask({ ...request, id: 'late', deadlineMs: 20 });
  expect(changed).toMatchObject({
    slice: 'full',
    tail: { slice: 'full-tail', after_tokens: 1 },
    governor: { reasons: ['deadline'], why: expect.stringMatching(/^nothing is fast enough for \d+ ms$/) as string },
  });
  const whole = await ask({ ...request, id: 'whole', deadlineMs: 60_000 });
  expect(whole).not.toHaveProperty('tail');
  expect(changed['text']).toBe(whole['text']);
});

test('a pinned slice stays', async () => {
  board.zone(0, 'cpu-thermal', 95);
  await start('--model-slice', 'half');
  expect(await ask({ id: 'a', prompt: 'Translate into German: A dog.' })).toMatchObject({
    slice: 'half',
    governor: { reasons: ['pinned'] },
  });
});

test('switched off, it chooses nothing and says so', async () => {
  board.zone(0, 'cpu-thermal', 95);
  await start('--governor-enabled', 'false');
  const result = await ask({ id: 'b', prompt: 'Translate into German: A dog.' });
  expect(result).toMatchObject({ slice: 'full' });
  expect(result).not.toHaveProperty('governor');
  expect(
    await peer.json('hearth/pi5/health', ({ governor }: { governor: { enabled: boolean } }) => !governor.enabled),
  ).toMatchObject({ slice: 'full', governor: { level: 0, why: 'switched off' } });
});

test('slices the model does not have end it with what there is', async () => {
  spawnDaemon('--governor-slices', 'full,e2b');
  await once(child, 'exit');
  expect(output).toContain('CONFIG_INVALID: governor.slices: expected one of full, half, full-tail, received "e2b"\n');
});
