/** Ollama's own client downloads a model, sees it, and does not take the loaded one away with it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ollama } from 'ollama';
import { type ServingHearthd, serveHearthd } from '../../helpers/hearthd';
import { begin, type ModelServer, sha256, startModelServer } from '../../helpers/model-server';
import { freePort } from '../../helpers/mosquitto';
import { connectPeer } from '../../helpers/mqtt-peer';

jest.setTimeout(120_000);

const nano = readFileSync('daemon/demo/model/nano.gguf');

let server: ModelServer;
let hearthd: ServingHearthd;
let client: Ollama;
let stateDirectory: string;
let brokerPort: number;

beforeAll(async () => {
  server = await startModelServer();
  server.files.set('/nano.gguf', nano);
  stateDirectory = mkdtempSync(join(tmpdir(), 'hearth-pull-'));
  brokerPort = await freePort();
  hearthd = await serveHearthd({
    stateDirectory,
    mqtt: { embedded: { port: brokerPort } },
    model: {
      path: join(process.cwd(), 'test/fixtures/models/e2b-narrow.gguf'),
      threads: 1,
      sources: { tiny: { url: `${server.url}/nano.gguf`, sha256: sha256(nano) } },
    },
  });
  client = new Ollama({ host: hearthd.url });
});

afterAll(async () => {
  expect(await hearthd.stop()).toBe(0);
  await server.close();
  rmSync(stateDirectory, { recursive: true, force: true });
});

const names = async (): Promise<string[]> => (await client.list()).models.map(({ name }) => name);
const ask = async (model: string): Promise<string> =>
  (await client.chat({ model, messages: [{ role: 'user', content: 'Hello' }], options: { num_predict: 1 } })).model;

test('what is not in the catalogue is refused, and asked of nobody', async () => {
  await expect(client.pull({ model: 'llama3' })).rejects.toThrow(
    'MODEL_UNKNOWN: model: expected an entry of model.sources (tiny), received "llama3"',
  );
  expect(server.asked).toEqual([]);
});

test('who hangs up ends the download', async () => {
  let left = (): void => undefined;
  const ended = new Promise<void>((resolve) => (left = resolve));
  server.answers.push(begin(1_000_000, (response) => response.once('close', left)));
  const abort = new AbortController();
  const response = await fetch(`${hearthd.url}/api/pull`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny' }),
    signal: abort.signal,
  });
  const reader = response.body?.getReader();
  let lines = '';
  while (!lines.includes('"completed"')) lines += Buffer.from((await reader?.read())?.value ?? []).toString();
  expect(lines).toMatch(/^{"status":"pulling manifest"}\n/);
  abort.abort();
  await ended;
  expect(await names()).toEqual(['e2b-narrow:latest']);
});

test('progress comes in lines; an installed model is listed, and refused until it is loaded', async () => {
  const lines = [];
  for await (const line of await client.pull({ model: 'tiny:latest', stream: true })) lines.push(line.status);
  expect(lines[0]).toBe('pulling manifest');
  expect(lines.at(-1)).toBe('success');
  expect(await names()).toEqual(['e2b-narrow:latest', 'tiny:latest']);
  expect(await ask('e2b-narrow')).toBe('e2b-narrow');
  await expect(ask('tiny')).rejects.toThrow(
    'MODEL_UNKNOWN: model: expected e2b-narrow, which is loaded; tiny is installed, and loaded by the request model/load',
  );

  const peer = await connectPeer(`mqtt://127.0.0.1:${brokerPort}`, ['hearth/#'], { protocolVersion: 4 });
  const topic = (await peer.waitFor(({ topic: heard }) => heard.endsWith('/state'))).topic.replace(/\/state$/, '');
  await peer.client.publishAsync(`${topic}/request/model/load`, '{"id": "l", "name": "tiny"}', { qos: 1 });
  expect(await peer.json(`${topic}/response/model/load`)).toMatchObject({ ok: true });
  await peer.close();
  // By the name in the file, and by the one it was pulled by.
  expect(await names()).toEqual(['nano:latest']);
  expect(await ask('tiny:half')).toBe('tiny:half');
  expect(await ask('nano')).toBe('nano');
});
