import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { contentOf, startPlugin } from '@hearth/testkit';
import frigate from '../../../plugins/frigate';
import { parseEvent, streamOf } from '../../../plugins/frigate/events';
import { getSnapshot, type HttpOptions, setDescription } from '../../../plugins/frigate/http';

interface Message {
  readonly type: string;
  readonly after: Readonly<Record<string, unknown>>;
}
const [created, updated, ended] = JSON.parse(
  readFileSync(join(process.cwd(), 'test/fixtures/home/frigate-events.json'), 'utf8'),
) as [Message, Message, Message];
const png = readFileSync(join(process.cwd(), 'test/fixtures/media/tree.png'));
const id = '1795500300.114502-k3f9qz';

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const options = (url: string, more: Partial<HttpOptions> = {}): HttpOptions => ({
  url,
  timeoutMs: 5000,
  maxBytes: 1000,
  retryDelayMs: 1,
  signal: new AbortController().signal,
  ...more,
});

describe('an event', () => {
  const read = (value: unknown) => parseEvent(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)));

  test('of the shape Frigate sends', () => {
    expect([created, updated, ended].map(read)).toEqual(
      [
        ['new', false],
        ['update', true],
        ['end', true],
      ].map(([type, hasSnapshot]) => ({
        type,
        id,
        camera: 'front_door',
        label: 'car',
        hasSnapshot,
        falsePositive: false,
      })),
    );
  });

  test.each([
    '',
    'null',
    '[]',
    '{}',
    { type: 'gone', after: ended.after },
    { type: 'end' },
    { type: 'end', after: [] },
    ...['', '..', '../x', 'a/b', 'a?b', 'a b', 'x'.repeat(200), 5, null].map((bad) => ({
      type: 'end',
      after: { ...ended.after, id: bad },
    })),
    { type: 'end', after: { ...ended.after, camera: '' } },
    { type: 'end', after: { ...ended.after, camera: 5 } },
    { type: 'end', after: { ...ended.after, label: {} } },
    `{"type": "${'x'.repeat(2 << 20)}"}`,
  ])('that is none: %#', (value) => {
    expect(() => read(value)).toThrow(expect.objectContaining({ code: 'MESSAGE_INVALID' }));
  });

  test('the stream of a camera', () => {
    expect(['front_door', 'Back Yard', 'Straße/1'].map(streamOf)).toEqual(['front_door', 'back_yard', 'stra_e_1']);
  });
});

describe('over HTTP', () => {
  test('an answer that is not there yet is waited for, four times', async () => {
    const seen: string[] = [];
    const url = await serve((request, response) => {
      seen.push(`${request.method} ${request.url}`);
      response.writeHead(seen.length < 4 ? 404 : 200).end('jpeg');
    });
    expect(Buffer.from(await getSnapshot(options(`${url}/`), id)).toString()).toBe('jpeg');
    expect(seen).toEqual(Array(4).fill(`GET /api/events/${id}/snapshot.jpg?bbox=0&timestamp=0`));
    seen.length = 0;
    await serve((_request, response) => {
      seen.push('x');
      response.writeHead(503).end();
    }).then(async (other) =>
      expect(getSnapshot(options(other), id)).rejects.toMatchObject({
        code: 'WEB_REQUEST_FAILED',
        retryable: true,
        message: expect.stringContaining('expected status 200, received 503'),
      }),
    );
    expect(seen).toHaveLength(4);
  });

  test.each([
    ['a refusal', (response: Parameters<RequestListener>[1]) => response.writeHead(401).end(), 'received 401'],
    [
      'more bytes than allowed',
      (response: Parameters<RequestListener>[1]) => response.end('x'.repeat(1001)),
      'at most 1000 bytes',
    ],
    [
      'more bytes than it says',
      (response: Parameters<RequestListener>[1]) => {
        response.writeHead(200, { 'transfer-encoding': 'chunked' });
        for (let i = 0; i < 100; i++) response.write('x'.repeat(100));
        response.end();
      },
      'at most 1000 bytes',
    ],
  ])('%s is final', async (_what, answer, message) => {
    let asked = 0;
    const url = await serve((_request, response) => {
      asked++;
      answer(response);
    });
    await expect(getSnapshot(options(url), id)).rejects.toMatchObject({
      code: 'WEB_REQUEST_FAILED',
      retryable: false,
      message: expect.stringContaining(message),
    });
    expect(asked).toBe(1);
  });

  test('nobody there, no answer, a redirect to elsewhere', async () => {
    await expect(getSnapshot(options('http://127.0.0.1:1'), id)).rejects.toMatchObject({ code: 'WEB_REQUEST_FAILED' });
    const silent = await serve(() => undefined);
    await expect(getSnapshot(options(silent, { timeoutMs: 20 }), id)).rejects.toMatchObject({
      message: expect.stringContaining('nothing within 20 ms'),
    });
    const elsewhere = await serve((_request, response) =>
      response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    );
    await expect(getSnapshot(options(elsewhere), id)).rejects.toMatchObject({ code: 'WEB_REQUEST_FAILED' });
  });

  test('a description is JSON', async () => {
    let body = '';
    const url = await serve((request, response) => {
      request.on('data', (chunk) => (body += String(chunk)));
      request.on('end', () => response.end(JSON.stringify({ success: true, type: request.headers['content-type'] })));
    });
    await setDescription(options(url), id, 'A "red" car.');
    expect(JSON.parse(body)).toEqual({ description: 'A "red" car.' });
  });
});

describe('the plugin', () => {
  const jpeg = (): Promise<string> =>
    serve((request, response) => {
      asked.push(`${request.method} ${request.url?.split('?')[0]}`);
      // The picture, and what answers the description.
      response.end(request.method === 'GET' ? png : '{}');
    });
  const asked: string[] = [];
  beforeEach(() => asked.splice(0));

  test('describes an end with a snapshot once, and writes it back', async () => {
    const plugin = await startPlugin(frigate, {
      config: { url: await jpeg(), prompt: 'What is the {label} at {camera} doing?' },
      replies: [{ text: ' It parks.\n' }],
    });
    for (const message of [created, updated, ended, ended]) await plugin.receive('frigate/events', message);
    expect(contentOf(plugin.jobs[0])).toEqual({
      texts: ['What is the car at front_door doing?'],
      refs: [expect.any(String)],
    });
    expect(plugin.emitted).toMatchObject([
      { kind: 'caption', text: 'It parks.', item: { stream: 'front_door', topic: 'frigate/events' } },
    ]);
    expect(asked).toEqual([`GET /api/events/${id}/snapshot.jpg`, `POST /api/events/${id}/description`]);
  });

  test('only what is asked for: types, cameras, labels, no false positives, nothing without a snapshot', async () => {
    const plugin = await startPlugin(frigate, {
      config: {
        url: await jpeg(),
        topicPrefix: 'nvr/a',
        when: ['new', 'end'],
        labels: ['car'],
        cameras: ['front_door'],
        writeBack: false,
      },
      replies: [{ text: 'a' }, { text: 'b' }],
    });
    const changed = (more: object) => ({ ...ended, after: { ...ended.after, ...more } });
    for (const message of [
      created,
      updated,
      changed({ label: 'person' }),
      changed({ camera: 'yard' }),
      changed({ false_positive: true }),
      changed({ has_snapshot: false }),
      { ...created, after: { ...created.after, has_snapshot: true } },
      ended,
    ])
      await plugin.receive('nvr/a/events', message);
    expect(plugin.emitted.map(({ text }) => text)).toEqual(['a', 'b']);
    expect(asked).toEqual(Array(2).fill(`GET /api/events/${id}/snapshot.jpg`));
  });

  test('one that fails is the end of that one only', async () => {
    const plugin = await startPlugin(frigate, { config: { url: 'http://127.0.0.1:1', retryDelayMs: 1 } });
    await expect(plugin.receive('frigate/events', ended)).rejects.toMatchObject({ code: 'WEB_REQUEST_FAILED' });
    expect(plugin.failures).toMatchObject([{ code: 'WEB_REQUEST_FAILED' }]);
    await expect(plugin.receive('frigate/events', 'x')).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
  });

  test.each([
    { url: 'ftp://x' },
    { url: 'http://user:secret@host' },
    { url: 'http://h?x' },
    { when: [] },
    { topicPrefix: 'a/#' },
  ])('the configuration %j is refused', async (config) => {
    await expect(startPlugin(frigate, { config })).rejects.toMatchObject({ code: 'PLUGIN_CONFIG_INVALID' });
  });
});
