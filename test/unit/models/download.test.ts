/** One file over HTTP, from servers that break off, stall, lie and lead astray. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import type { HearthError } from '../../../daemon/errors';
import { type DownloadOptions, download } from '../../../daemon/models/download';
import { fetchSource, isPublicAddress } from '../../../daemon/models/fetch-source';
import { begin, etagOf, type ModelServer, serve, sha256, startModelServer } from '../../helpers/model-server';

jest.setTimeout(60_000);

const content = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7919) % 251));
const hash = sha256(content);

let server: ModelServer;
let directory: string;
let path: string;
let seen: [string, number, number][];
/** What happens once so many bytes have come. */
let then: { readonly at: number; readonly do: () => void } | undefined;

beforeEach(async () => {
  server = await startModelServer();
  server.files.set('/model.gguf', content);
  directory = mkdtempSync(join(tmpdir(), 'hearth-download-'));
  path = join(directory, 'model.gguf');
  seen = [];
  then = undefined;
});

afterEach(async () => {
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

async function get(
  file: { readonly sha256?: string; readonly bytes?: number; readonly url?: string } = {},
  options: Partial<DownloadOptions> = {},
): Promise<number> {
  return await download({ url: `${server.url}/model.gguf`, sha256: hash, bytes: null, ...file }, path, {
    signal: new AbortController().signal,
    log: pino({ level: 'silent' }),
    onProgress: (...progress) => {
      seen.push(progress);
      if (then === undefined || progress[1] < then.at) return;
      const { do: act } = then;
      then = undefined;
      act();
    },
    stallMs: 20_000,
    retryDelayMs: 1,
    freeBytes: async () => 1e9,
    ...options,
  });
}

async function refusal(...args: Parameters<typeof get>): Promise<{ code: string; message: string }> {
  const error = await get(...args).then(
    () => undefined,
    (thrown: unknown) => thrown as HearthError,
  );
  return { code: error?.code ?? 'none', message: error?.message ?? '' };
}

const cutAfter =
  (bytes: number): typeof serve =>
  (request, response, served) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    then = { at: from + bytes, do: () => response.destroy() };
    begin(bytes, () => undefined)(request, response, served);
  };

test('is there whole, alone, with its progress and its hash checked', async () => {
  expect(await get({ bytes: content.length })).toBe(content.length);
  expect(readFileSync(path).equals(content)).toBe(true);
  expect(readdirSync(directory)).toEqual(['model.gguf']);
  expect(seen[0]).toEqual(['downloading', 0, content.length]);
  expect(seen.at(-2)).toEqual(['downloading', content.length, content.length]);
  expect(seen.at(-1)).toEqual(['verifying', content.length, content.length]);
  // Asked for again, nothing is asked of the server.
  await get();
  expect(server.asked).toHaveLength(1);
});

test('goes on where connections broke off, as often as they bring something', async () => {
  server.answers.push(cutAfter(100_000), cutAfter(50_000), cutAfter(50_000), cutAfter(50_000));
  await get({}, { maxAttempts: 2 });
  expect(readFileSync(path).equals(content)).toBe(true);
  expect(server.asked.map(({ headers }) => headers.range)).toEqual([
    undefined,
    'bytes=100000-',
    'bytes=150000-',
    'bytes=200000-',
    'bytes=250000-',
  ]);
  expect(server.asked.slice(1).map(({ headers }) => headers['if-range'])).toEqual(Array(4).fill(etagOf(content)));
});

test('begins again where the file has changed on its server meanwhile', async () => {
  const old = Buffer.alloc(content.length, 7);
  server.files.set('/model.gguf', old);
  server.answers.push((request, response, served) => {
    cutAfter(100_000)(request, response, served);
    server.files.set('/model.gguf', content);
  });
  await get();
  expect(server.asked[1]?.headers['if-range']).toBe(etagOf(old));
  expect(readFileSync(path).equals(content)).toBe(true);
});

test('a connection that brings nothing is given up and made again', async () => {
  server.answers.push(begin(100_000, () => undefined));
  await get({}, { stallMs: 200 });
  expect(server.asked).toHaveLength(2);
  expect(readFileSync(path).equals(content)).toBe(true);
});

test('gives up after so many attempts that bring nothing, and keeps what came', async () => {
  server.answers.push(cutAfter(100_000));
  for (let attempt = 0; attempt < 3; attempt++)
    server.answers.push((_request, response) => void response.writeHead(503).end());
  expect(await refusal({}, { maxAttempts: 4 })).toEqual({
    code: 'WEB_REQUEST_FAILED',
    message: `${server.url}/model.gguf: expected the file, received status 503`,
  });
  expect(readdirSync(directory).sort()).toEqual(['model.gguf.part', 'model.gguf.part.json']);
  await get();
  expect(server.asked.at(-1)?.headers.range).toMatch(/^bytes=\d+-$/);
});

test('what was left of another file is found out by the hash, and fetched anew once', async () => {
  writeFileSync(`${path}.part`, Buffer.alloc(1000, 9));
  writeFileSync(`${path}.part.json`, JSON.stringify({ validator: etagOf(content), total: content.length }));
  await get();
  expect(server.asked.map(({ headers }) => headers.range)).toEqual(['bytes=1000-', undefined]);
  expect(readFileSync(path).equals(content)).toBe(true);
});

test('a signature in the query of a URL is in no error', async () => {
  server.files.set('/model.gguf?sig=opensesame', content);
  const url = `${server.url}/model.gguf?sig=opensesame`;
  const { code, message } = await refusal({ url, sha256: '0'.repeat(64) });
  expect(code).toBe('MODEL_HASH_MISMATCH');
  expect(message).toContain(`${server.url}/model.gguf: expected`);
  expect(message).not.toContain('opensesame');
});

test('a wrong hash leaves nothing behind', async () => {
  const expected = '0'.repeat(64);
  expect(await refusal({ sha256: expected })).toEqual({
    code: 'MODEL_HASH_MISMATCH',
    message: `${server.url}/model.gguf: expected a file with SHA-256 ${expected}, received one with ${hash}`,
  });
  expect(readdirSync(directory)).toEqual([]);
});

test.each([
  ['another size than configured', { bytes: 1000 }, serve, 'expected 1000 bytes, received 300000'],
  [
    'more than was announced',
    { bytes: 1000 },
    ((_request, response, served) => void response.writeHead(200).end(served)) as typeof serve,
    'expected 1000 bytes, received more',
  ],
  [
    'a size nobody says',
    {},
    ((_request, response, served) => void response.writeHead(200).end(served)) as typeof serve,
    'expected a server that says the size, or `bytes` in the configuration',
  ],
  [
    'a size beyond every bound',
    {},
    ((_request, response) => void response.writeHead(200, { 'content-length': 2 ** 37 }).write('x')) as typeof serve,
    'expected at most 68719476736 bytes, received 137438953472',
  ],
  [
    'an encoding',
    {},
    ((_request, response) =>
      void response
        .writeHead(200, { 'content-encoding': 'gzip', 'content-length': 10 })
        .end('0123456789')) as typeof serve,
    'expected the file as it is, received it as gzip',
  ],
  [
    'nothing at that path',
    {},
    ((_request, response) => void response.writeHead(404).end()) as typeof serve,
    'expected status 200 or 206, received 404',
  ],
])('%s is refused at once', async (_what, file, answer, message) => {
  server.answers.push(answer);
  expect(await refusal(file)).toEqual({
    code: 'MODEL_PULL_REFUSED',
    message: `${server.url}/model.gguf: ${message}`,
  });
  expect(server.asked).toHaveLength(1);
  expect(readdirSync(directory).filter((name) => name === 'model.gguf')).toEqual([]);
});

test('a disk that is too small is found out before anything is written', async () => {
  expect(await refusal({}, { freeBytes: async () => 1000 })).toEqual({
    code: 'DISK_FULL',
    message: `${server.url}/model.gguf: expected 300000 bytes free beside a reserve of 268435456, found 1000`,
  });
  expect(readdirSync(directory)).toEqual([]);
});

test('cancelled, it keeps what came and goes on from there', async () => {
  const abort = new AbortController();
  server.answers.push(begin(100_000, () => undefined));
  then = { at: 100_000, do: () => abort.abort() };
  expect(await refusal({}, { signal: abort.signal })).toMatchObject({ code: 'CANCELLED' });
  await get();
  expect(server.asked[1]?.headers.range).toBe('bytes=100000-');
  expect(readFileSync(path).equals(content)).toBe(true);
});

describe('redirects', () => {
  const to =
    (location: string): typeof serve =>
    (_request, response) =>
      void response.writeHead(302, { location }).end();

  test('are followed, with the token for the first server alone', async () => {
    const other = await startModelServer();
    try {
      other.files.set('/there', content);
      server.answers.push(to('/moved'), to(`${other.url}/there`));
      await get({}, { token: 'secret-token' });
      expect(server.asked.map(({ path: asked, headers }) => [asked, headers.authorization])).toEqual([
        ['/model.gguf', 'Bearer secret-token'],
        ['/moved', 'Bearer secret-token'],
      ]);
      expect(other.asked.map(({ headers }) => headers.authorization)).toEqual([undefined]);
    } finally {
      await other.close();
    }
  });

  test.each([
    ['round and round', '/model.gguf', 'expected at most 5 redirects'],
    [
      'to a file of this machine',
      'file:///etc/passwd',
      'expected a redirect to stay with https, received one to file:',
    ],
    ['to nowhere', 'http://', 'expected a redirect to say where to'],
    ['with a password', 'http://user:password@127.0.0.1/', 'expected a redirect without user and password'],
  ])('%s are refused', async (_what, location, message) => {
    for (let hop = 0; hop < 8; hop++) server.answers.push(to(location));
    expect(await refusal()).toEqual({ code: 'MODEL_PULL_REFUSED', message: `${server.url}: ${message}` });
  });

  test('from a public server do not lead into the network at home', async () => {
    server.answers.push(to('http://router.example/reboot'));
    const addresses: Record<string, string> = { '127.0.0.1': '93.184.215.14', 'router.example': '192.168.1.1' };
    // The server of this test has to pass for a public one, so it is asked for by a name.
    const url = server.url.replace('127.0.0.1', 'localhost');
    const lookup = async (name: string) => [{ address: addresses[name] ?? '93.184.215.14' }];
    const signal = new AbortController().signal;
    await expect(fetchSource(`${url}/model.gguf`, { headers: {}, signal, lookup })).rejects.toMatchObject({
      code: 'MODEL_PULL_REFUSED',
      message: `${url}: expected a redirect to a public host, received one to router.example`,
    });
  });

  test.each([
    ['127.0.0.1', false],
    ['10.0.0.0', false],
    ['172.16.0.0', false],
    ['169.254.169.254', false],
    ['192.168.0.1', false],
    ['100.64.0.1', false],
    ['0.0.0.0', false],
    ['224.0.0.1', false],
    ['::1', false],
    ['::ffff:192.168.0.1', false],
    ['fd00::1', false],
    ['fe80::1', false],
    ['93.184.215.14', true],
    ['172.32.0.1', true],
    ['2606:2800:21f:cb07::1', true],
  ])('%s is public: %s', (address, expected) => {
    expect(isPublicAddress(address)).toBe(expected);
  });
});
