/** Models on the command line, without a daemon. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCli } from '../../../daemon/cli';
import { loadConfig } from '../../../daemon/config';
import { firstChoice } from '../../../daemon/models/model-choice';
import { ModelStore } from '../../../daemon/models/model-store';
import { type ModelServer, sha256, startModelServer } from '../../helpers/model-server';

jest.setTimeout(120_000);

const nano = readFileSync('daemon/demo/model/nano.gguf');
const junk = Buffer.from('<html>Not found</html>');

let server: ModelServer;
let directory: string;

beforeEach(async () => {
  server = await startModelServer();
  server.files.set('/nano.gguf', nano).set('/junk.gguf', junk);
  directory = mkdtempSync(join(tmpdir(), 'hearth-models-cli-'));
  const sources = {
    tiny: { url: `${server.url}/nano.gguf`, sha256: sha256(nano), version: '1.0' },
    junk: { url: `${server.url}/junk.gguf`, sha256: sha256(junk) },
    wrong: { url: `${server.url}/nano.gguf`, sha256: sha256(junk), version: '9' },
  };
  writeFileSync(join(directory, 'hearth.json'), JSON.stringify({ model: { sources }, stateDirectory: directory }));
});

afterEach(async () => {
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

async function hearth(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const written = { out: '', err: '' };
  const spies = (['out', 'err'] as const).map((name) =>
    jest.spyOn(process[`std${name}`], 'write').mockImplementation((chunk) => {
      written[name] += String(chunk);
      return true;
    }),
  );
  try {
    return { code: await runCli(['model', ...args, '--config', join(directory, 'hearth.json')]), ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

test('pull, list, use and remove', async () => {
  expect((await hearth('list')).out).toMatch(/^available tiny 1\.0\navailable junk [0-9a-f]{12}\navailable wrong 9\n$/);
  const pulled = await hearth('pull', 'tiny');
  expect(pulled).toMatchObject({ code: 0, out: 'installed tiny 1.0\n' });
  expect(pulled.err).toMatch(/^downloading 0 of 14 MB\n(downloading \d+ of 14 MB\n)*(verifying 13 of 14 MB\n)+$/);
  expect((await hearth('list')).out).toMatch(/^installed tiny 1\.0: 14 MB\navailable junk/);

  expect(await hearth('use', 'tiny')).toMatchObject({ code: 0, out: '' });
  const config = loadConfig({ file: join(directory, 'hearth.json'), env: {} });
  // Nothing is configured: it is all there is.
  expect(firstChoice(config, new ModelStore(join(directory, 'models'))).use).toEqual({
    source: 'tiny',
    version: '1.0',
  });
  expect((await hearth('list')).out).toMatch(/^chosen {4}tiny 1\.0/);
  expect(await hearth('remove', 'tiny')).toMatchObject({
    code: 75,
    err: 'MODEL_BUSY: expected a model that is not used, tiny is; hearth model use lets go of it\n',
  });

  expect((await hearth('use')).code).toBe(0);
  expect(await hearth('remove', 'tiny')).toMatchObject({ code: 0, out: 'removed tiny 1.0\n' });
  expect(readdirSync(join(directory, 'models'))).toEqual(['.pull']);
});

test('what goes wrong has its code', async () => {
  expect(await hearth('pull', 'other')).toMatchObject({
    err: 'MODEL_UNKNOWN: model: expected an entry of model.sources (tiny, junk, wrong), received "other"\n',
  });
  expect((await hearth('pull', 'junk')).err).toMatch(/GGUF_MALFORMED: junk\.gguf: not a GGUF file/);
  expect(await hearth('pull', 'wrong')).toMatchObject({
    code: 65,
    err: expect.stringContaining('MODEL_HASH_MISMATCH: ') as string,
  });
  expect((await hearth('use', 'tiny')).err).toBe(
    'MODEL_UNKNOWN: expected a model that was pulled (there is none), received "tiny"\n',
  );
  expect(readdirSync(join(directory, 'models'))).toEqual(['.pull']);
});
