/** Plugins as the person sees them who runs the daemon: installed from a package, switched, reloaded, watched; and foreign ones. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { apiVersion } from '../../../daemon/plugins/api';
import { type Hearthd, startHearthd } from '../../helpers/hearthd';
import { freePort, type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';

let broker: Mosquitto;
let peer: Peer;
let directory: string;
let httpPort: number;
let daemon: Hearthd | undefined;
const children: ChildProcess[] = [];

beforeEach(async () => {
  broker = await startMosquitto();
  peer = await connectPeer(broker.url, ['hearth/#', 'home/#', 'examples/#']);
  directory = mkdtempSync(join(tmpdir(), 'hearth-plugins-'));
  httpPort = await freePort();
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await daemon?.stop();
  daemon = undefined;
  await peer.close();
  await broker.stop();
  rmSync(directory, { recursive: true, force: true });
});

const hearth = (...args: string[]): { readonly status: number | null; readonly out: string; readonly err: string } => {
  const cli = join(process.cwd(), 'dist/daemon/cli.js');
  const flags = ['--config', daemon?.file ?? join(directory, 'hearth.yaml'), '--state-directory', directory];
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args, ...flags], {
    encoding: 'utf8',
    env: {},
  });
  return { status, out: stdout, err: stderr };
};

let requests = 0;
async function ask(verb: string, payload: Readonly<Record<string, unknown>> = {}): Promise<Record<string, unknown>> {
  const id = `ask-${requests++}`;
  await peer.client.publishAsync(`hearth/pi5/request/${verb}`, JSON.stringify({ id, ...payload }), { qos: 1 });
  return await peer.json(`hearth/pi5/response/${verb}`, (answer: { id: string }) => answer.id === id);
}

/** Packs a package and installs it into the daemon's plugin directory, as `npm install hearth-plugin-chime` would. */
function install(word: string, apiVersion = '^1.1.0'): void {
  const source = mkdtempSync(join(directory, 'source-'));
  const manifest = { name: 'chime', version: '1.0.0', apiVersion, description: 'Rings.', verbs: ['chime'] };
  writeFileSync(
    join(source, 'package.json'),
    JSON.stringify({
      name: 'hearth-plugin-chime',
      version: '1.0.0',
      type: 'module',
      exports: { '.': { import: './chime.js' } },
    }),
  );
  writeFileSync(
    join(source, 'chime.js'),
    `export default { manifest: ${JSON.stringify(manifest)}, start(ctx) {
      const rings = ctx.metrics.counter('rings_total', 'Times it rang.');
      ctx.onRequest('chime', async () => {
        const times = ((await ctx.storage.get('times')) ?? 0) + 1;
        await ctx.storage.set('times', times);
        rings.inc();
        ctx.log.info('it rings', { times });
        return { word: ${JSON.stringify(word)}, times };
      });
    } };`,
  );
  const npm = (...args: string[]): string =>
    execFileSync('npm', [...args, '--offline', '--no-audit', '--no-fund', '--ignore-scripts', '--silent'], {
      cwd: source,
      encoding: 'utf8',
    });
  const tarball = npm('pack').trim().split('\n').at(-1) ?? '';
  mkdirSync(join(directory, 'plugins'), { recursive: true });
  npm('install', '--prefix', join(directory, 'plugins'), join(source, tarball));
}

async function start(): Promise<void> {
  daemon = await startHearthd(broker.url, peer, {
    stateDirectory: directory,
    http: { port: httpPort },
    defaults: { microphone: { audio: { mode: 'push-to-talk' } } },
    plugins: { captions: { enabled: false }, translate: { enabled: false }, 'function-calls': { enabled: false } },
  });
}

test('a package that is installed runs, keeps what it stores through a reload, is measured and logged, and switched off for good', async () => {
  await start();
  expect(await ask('chime')).toMatchObject({ ok: false, error: { code: 'REQUEST_UNKNOWN_VERB' } });
  expect(hearth('plugin', 'enable', 'chime')).toMatchObject({
    status: 1,
    err: expect.stringMatching(/^PLUGIN_LOAD_FAILED: /) as string,
  });
  install('ding');
  expect(hearth('plugin', 'enable', 'chime')).toEqual({ status: 0, out: 'chime is enabled and running\n', err: '' });
  expect(await ask('chime')).toMatchObject({ ok: true, data: { word: 'ding', times: 1 } });
  await peer.json('hearth/pi5/info', ({ plugins }: { plugins: { name: string; version: string | null }[] }) =>
    plugins.some(({ name, version }) => name === 'chime' && version === '1.0.0'),
  );

  // SIGHUP: the files and the configuration as they are now.
  install('dong');
  process.kill(daemon?.pid ?? 0, 'SIGHUP');
  await peer.json(
    'hearth/pi5/log',
    ({ ns, msg }: { ns: string; msg: string }) => ns === 'plugin/chime' && msg.includes('takes over'),
  );
  expect(await ask('chime')).toMatchObject({ ok: true, data: { word: 'dong', times: 2 } });

  const metrics = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  expect(metrics.split('\n')).toEqual(
    expect.arrayContaining([
      'hearth_plugin_chime_rings_total{plugin="chime"} 2',
      'hearth_plugin_handled_total{plugin="chime"} 2',
      'hearth_plugin_errors_total{plugin="chime"} 0',
      'hearth_plugin_restarts_total{plugin="chime"} 0',
      'hearth_plugin_running{plugin="chime"} 1',
    ]),
  );
  expect(metrics).toMatch(/^hearth_plugin_handler_seconds_total\{plugin="chime"\} 0\.\d+$/m);
  expect(metrics).toMatch(/^hearth_plugin_heap_bytes\{plugin="chime"\} \d+$/m);

  const { out } = hearth('plugin', 'logs', 'chime', '--lines', '1');
  expect(out).toMatch(/^\d{4}-.*Z info {2}it rings times=2\n$/);
  const following = spawn(process.execPath, [
    join(process.cwd(), 'dist/daemon/cli.js'),
    ...[
      'plugin',
      'logs',
      'chime',
      '--lines',
      '0',
      '--follow',
      '--state-directory',
      directory,
      '--config',
      daemon?.file ?? '',
    ],
  ]);
  children.push(following);
  const followed = new Promise<string>((resolve) =>
    following.stdout.once('data', (text: Buffer) => resolve(text.toString())),
  );
  // It begins with what is logged from its start on, whenever that is.
  let heard = false;
  void followed.then(() => {
    heard = true;
  });
  while (!heard) await ask('chime');
  expect(await followed).toMatch(/ it rings times=\d+\n/);

  expect(hearth('plugin', 'list').out).toContain(
    `enabled  chime: ${join(directory, 'plugins/node_modules/hearth-plugin-chime')}`,
  );
  expect(hearth('plugin', 'disable', 'chime')).toEqual({ status: 0, out: 'chime is disabled and stopped\n', err: '' });
  expect(await ask('chime')).toMatchObject({ ok: false, error: { code: 'REQUEST_UNKNOWN_VERB' } });
  expect(hearth('plugin', 'list').out).toContain('disabled chime: ');
  await daemon?.stop();
  await peer.json('hearth/pi5/state', ({ state }: { state: string }) => state === 'offline');

  writeFileSync(join(directory, 'hearth.yaml'), `node: { id: pi5 }\nmqtt: { url: '${broker.url}' }\n`);
  daemon = undefined;
  expect(hearth('plugin', 'enable', 'chime').out).toContain('from the next start of hearthd on');
  expect(JSON.parse(readFileSync(join(directory, 'plugins.json'), 'utf8'))).toEqual({ chime: true });
});

test('a package for another version of the API says so, and does not run', async () => {
  await start();
  install('ding', '^2.0.0');
  expect(hearth('plugin', 'enable', 'chime').out).toMatch(/^chime is enabled and quarantined: PLUGIN_INCOMPATIBLE: /);
  const state = await peer.json(
    'hearth/pi5/plugin/chime/state',
    ({ state: now }: { state: string }) => now === 'quarantined',
  );
  expect(state['reason']).toBe(
    `PLUGIN_INCOMPATIBLE: manifest.apiVersion: chime 1.0.0 is made for version "^2.0.0" of the plugin API, and this is ${apiVersion}: expected a semver range with it`,
  );
});

describe('plugins in other languages, over MQTT', () => {
  const speech = readFileSync(join(process.cwd(), 'test/fixtures/nano-eval/audio/038.wav'));

  const speak = async (microphone: string): Promise<void> => {
    await peer.client.publishAsync(`hearth/in/${microphone}/audio`, speech, { qos: 1 });
    await peer.client.publishAsync(`hearth/in/${microphone}/audio/end`, '', { qos: 1 });
  };

  /** Starts an example and speaks until `heard`: it hears only what comes once it has subscribed. */
  async function run(command: string, script: string, heard: RegExp): Promise<Record<string, unknown>> {
    await start();
    const path = join(process.cwd(), 'plugins/examples', script);
    children.push(spawn(command, [path, '127.0.0.1', String(broker.port), 'pi5', 'German'], { stdio: 'ignore' }));
    const found = () => peer.heard.find(({ topic }) => heard.test(topic));
    for (let spoken = 0; found() === undefined; spoken++) {
      const microphone = `mic_${spoken}`;
      await speak(microphone);
      const transcript = await peer.json(`hearth/pi5/out/${microphone}/transcript`);
      expect(transcript['text']).toBe('Turn on the light in the bedroom.');
      for (let looks = 0; looks < 20 && found() === undefined; looks++)
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return JSON.parse(found()?.payload.toString() ?? '') as Record<string, unknown>;
  }

  test('the one in Python translates what is said and publishes it on a topic of its own', async () => {
    const translation = { ok: true, text: 'Schalte das Licht im Schlafzimmer ein.' };
    expect(await run('/usr/bin/python3', 'translate.py', /^home\/mic_\d+\/German$/)).toEqual(translation);
    // An answer that comes twice, as it may, does not end it.
    const answer = peer.heard.find(({ topic }) => topic.startsWith('examples/'));
    await peer.client.publishAsync(String(answer?.topic), String(answer?.payload), { qos: 1 });
    await speak('again');
    expect(await peer.json('home/again/German')).toEqual(translation);
  });

  test('the one in shell makes the daemon publish the translation as an event of the microphone', async () => {
    expect(await run('/bin/sh', 'translate.sh', /\/out\/mic_\d+\/answer$/)).toMatchObject({
      kind: 'answer',
      text: 'Schalte das Licht im Schlafzimmer ein.',
    });
  });

  test('each is at most 30 lines', () => {
    for (const script of ['translate.py', 'translate.sh']) {
      const text = readFileSync(join(process.cwd(), 'plugins/examples', script), 'utf8');
      expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(30);
    }
  });
});
