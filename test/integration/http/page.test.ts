/** The page without a browser: who gets it, what it may load, what is told over its event stream. */
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import sharp from 'sharp';
import { type ServingHearthd as Hearthd, serveHearthd } from '../../helpers/hearthd';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';

jest.setTimeout(120_000);

const token = 'correct-horse-battery';
const json = { 'content-type': 'application/json' };
const picture = readFileSync('daemon/demo/media/014.png');

interface State {
  readonly last_id: string;
  readonly status: { readonly streams: readonly { readonly name: string; readonly picture: boolean }[] };
  readonly events: readonly { readonly kind: string; readonly text: string }[];
}

async function post(hearthd: Hearthd, path: string, body: object = {}, headers: Record<string, string> = {}) {
  return await fetch(`${hearthd.url}${path}`, {
    method: 'POST',
    headers: { ...json, ...headers },
    body: JSON.stringify(body),
  });
}

const stateOf = async (hearthd: Hearthd): Promise<State> =>
  (await (await fetch(`${hearthd.url}/ui/state`)).json()) as State;

/** The head of an answer; `fetch` would tidy up the path, and ask caches not to be used. */
async function headOf(hearthd: Hearthd, path: string, headers: readonly string[] = []): Promise<string> {
  const socket = connect(hearthd.port, '127.0.0.1');
  socket.write([`GET ${path} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...headers, '', ''].join('\r\n'));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return answer.toString();
}

/** Reads server-sent events until their text has `expected` in it. */
async function eventsUntil(hearthd: Hearthd, headers: Record<string, string>, expected: string): Promise<string> {
  const abort = new AbortController();
  const response = await fetch(`${hearthd.url}/ui/events`, { headers, signal: abort.signal });
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (text.includes(expected)) break;
  }
  abort.abort();
  return text;
}

describe('with a token', () => {
  let hearthd: Hearthd;
  beforeAll(async () => {
    hearthd = await serveHearthd({ http: { token } });
  });
  afterAll(async () => await hearthd.stop());

  test('the files are for anyone, with a policy that lets nothing in from elsewhere', async () => {
    const response = await fetch(`${hearthd.url}/`);
    expect(response.status).toBe(200);
    const policy = response.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'self'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    const markup = await response.text();
    expect(markup).not.toMatch(/<script(?![^>]*\bsrc="js)|<style|\sstyle=|\son[a-z]+=|https?:/);
  });

  test('a file that has not changed is not sent again', async () => {
    const first = await fetch(`${hearthd.url}/js/main.mjs`);
    expect(first.headers.get('content-type')).toMatch(/^(text|application)\/javascript/);
    expect(first.headers.get('cache-control')).toBe('no-cache');
    const etag = first.headers.get('etag') ?? '';
    expect(etag).not.toBe('');
    expect(await headOf(hearthd, '/js/main.mjs', [`If-None-Match: ${etag}`])).toMatch(/^HTTP\/1\.1 304 /);
  });

  test.each(['/../package.json', '/%2e%2e/web-page.ts', '/js/../../types.d.ts', '/js', '/tsconfig.json'])(
    'nothing but the files of the page is served: %s',
    async (path) => expect(await headOf(hearthd, path)).toMatch(/^HTTP\/1\.1 40[0134] /),
  );

  test('what the page shows and does asks for the token, or for the cookie it was changed for', async () => {
    const paths = ['/ui/state', '/ui/events', '/ui/pictures/front_door'];
    for (const path of paths) expect((await fetch(`${hearthd.url}${path}`)).status).toBe(401);
    expect((await post(hearthd, '/ui/ask', { prompt: 'x' })).status).toBe(401);
    expect((await post(hearthd, '/ui/plugins/captions/restart')).status).toBe(401);

    const origin = hearthd.url;
    const login = await post(hearthd, '/ui/login', { token }, { origin });
    expect(login.status).toBe(200);
    const cookie = (login.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
    expect((await fetch(`${hearthd.url}/ui/state`, { headers: { cookie } })).status).toBe(200);
    expect((await post(hearthd, '/ui/plugins/captions/restart', {}, { cookie, origin })).status).toBe(200);
    // Nothing else of the daemon takes it.
    for (const path of ['/metrics', '/v1/models', '/api/tags'])
      expect((await fetch(`${hearthd.url}${path}`, { headers: { cookie } })).status).toBe(401);
    // What a page of another site could have a browser send.
    for (const foreign of [
      { cookie },
      { cookie, origin: 'https://evil.example' },
      { cookie, 'sec-fetch-site': 'same-site' },
    ])
      expect((await post(hearthd, '/ui/plugins/captions/restart', {}, foreign as Record<string, string>)).status).toBe(
        403,
      );
    const form = { method: 'POST', headers: { cookie, origin, 'content-type': 'text/plain' }, body: '{}' };
    expect((await fetch(`${hearthd.url}/ui/plugins/captions/restart`, form)).status).toBe(400);
    const ended = await post(hearthd, '/ui/logout', {}, { cookie, origin });
    expect(ended.headers.get('set-cookie')).toContain('Max-Age=0');
  });

  test('guesses are few, and then even the right token waits', async () => {
    for (let i = 0; i < 5; i++) {
      const wrong = await post(hearthd, '/ui/login', { token: `wrong-token-number-${i}` });
      expect([wrong.status, wrong.headers.get('set-cookie')]).toEqual([401, null]);
    }
    const right = await post(hearthd, '/ui/login', { token });
    expect(right.status).toBe(429);
    expect(await right.json()).toMatchObject({ error: { code: 'HTTP_TOO_MANY_GUESSES' } });
  });
});

describe('on loopback', () => {
  let mosquitto: Mosquitto;
  let peer: Peer;
  let hearthd: Hearthd;
  beforeAll(async () => {
    mosquitto = await startMosquitto();
    peer = await connectPeer(mosquitto.url, ['hearth/#']);
    hearthd = await serveHearthd({
      mqtt: { url: mosquitto.url },
      http: { pictures: true },
      streams: { bedroom: { kind: 'camera', showPicture: false } },
    });
  });
  afterAll(async () => {
    expect(await hearthd.stop()).toBe(0);
    expect(hearthd.output()).not.toMatch(/"level":"(error|fatal)"/);
    await peer.close();
    await mosquitto.stop();
  });

  const caption = async (stream: string): Promise<void> => {
    await peer.client.publishAsync(`hearth/in/${stream}/frame`, picture);
    await peer.json(`hearth/pi5/out/${stream}/caption`);
  };

  test('a result is told as it happens; after a loss of the connection what was missed is told once', async () => {
    const { last_id: before } = await stateOf(hearthd);
    const heard = eventsUntil(hearthd, { 'last-event-id': before }, '"kind":"caption"');
    await caption('front_door');
    expect(await heard).toContain('A car on the street.');
    const missed = await eventsUntil(hearthd, { 'last-event-id': before }, '"kind":"caption"');
    expect(missed).not.toContain('event: reset');
    expect(missed.match(/"kind":"caption"/g)).toHaveLength(1);
    expect(await eventsUntil(hearthd, { 'last-event-id': 'another-9' }, '\ndata')).toContain('event: reset');
    const { events } = await stateOf(hearthd);
    expect(events).toMatchObject([{ kind: 'caption', text: 'A car on the street.' }]);
  });

  test('a camera shows its last picture unless it is told not to, and it is stored nowhere', async () => {
    await caption('bedroom');
    await caption('street');
    const response = await fetch(`${hearthd.url}/ui/pictures/street`);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('cross-origin-resource-policy')).toBe('same-origin');
    const { format, width } = await sharp(Buffer.from(await response.arrayBuffer())).metadata();
    expect([format, width]).toEqual(['jpeg', (await sharp(picture).metadata()).width]);
    const hidden = await fetch(`${hearthd.url}/ui/pictures/bedroom`);
    expect(hidden.status).toBe(404);
    expect(await hidden.json()).toMatchObject({ error: { code: 'PICTURE_UNAVAILABLE' } });
    const { status } = await stateOf(hearthd);
    expect(Object.fromEntries(status.streams.map(({ name, picture: shown }) => [name, shown]))).toMatchObject({
      bedroom: false,
      street: true,
    });
  });

  test('a question about what a camera sees is answered as that picture is', async () => {
    await caption('yard');
    const { engine } = (await stateOf(hearthd)) as unknown as { engine: { model: { question: string } } };
    const response = await post(hearthd, '/ui/ask', { prompt: engine.model.question, camera: 'yard' });
    const lines = (await response.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { text?: string; end?: string });
    expect(lines.map(({ text = '' }) => text).join('')).toBe('A car on the street.');
    expect(lines.at(-1)).toMatchObject({ end: 'stop', slice: 'full' });
  });

  test.each([
    [{}, 'prompt'],
    [{ prompt: '' }, 'prompt'],
    [{ prompt: 'x', camera: 'nowhere' }, 'looked at'],
    [{ prompt: 'x', camera: '__proto__' }, 'looked at'],
    [{ prompt: 'x', camera: 'yard', image: 'AAAA' }, 'both'],
    [{ prompt: 'x', image: 'AAAA' }, 'JPEG'],
    [{ prompt: 'x', system: 'y' }, 'additional'],
  ])('the question %j is refused', async (question, expected) => {
    const response = await post(hearthd, '/ui/ask', question);
    expect(response.status).toBe(400);
    expect(JSON.stringify(await response.json())).toContain(expected);
  });

  test('more than 16 pages that watch are refused, and their places are free again when they go', async () => {
    const abort = new AbortController();
    const open = async (): Promise<number> =>
      (await fetch(`${hearthd.url}/ui/events`, { signal: abort.signal })).status;
    expect(await Promise.all(Array.from({ length: 16 }, open))).toEqual(Array(16).fill(200));
    expect(await open()).toBe(503);
    abort.abort();
    for (;;) {
      const response = await fetch(`${hearthd.url}/ui/events`);
      await response.body?.cancel();
      if (response.status === 200) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
});

test('by itself it shows no pictures, and with http.page: false there is none', async () => {
  const closed = await serveHearthd({ http: { page: false } });
  expect((await fetch(`${closed.url}/`)).status).toBe(404);
  expect((await fetch(`${closed.url}/ui/state`)).status).toBe(404);
  expect((await fetch(`${closed.url}/healthz`)).status).toBe(200);
  await closed.stop();
  const plain = await serveHearthd({}, { ready: false });
  expect((await fetch(`${plain.url}/ui/pictures/front_door`)).status).toBe(404);
  expect(await stateOf(plain)).toMatchObject({ engine: { phase: expect.any(String) } });
  await plain.stop();
});

test('the files that are served are the ones the service is installed with', () => {
  expect(readFileSync('systemd/install.sh', 'utf8')).toContain('daemon/web/static');
  expect(existsSync('daemon/web/static/index.html')).toBe(true);
  expect(readdirSync('daemon/web/static').sort()).toEqual(['icon.svg', 'index.html', 'js', 'parts.css', 'style.css']);
});
