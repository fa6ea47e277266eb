/** Who may ask what, how much, and what happens to a job whose client goes away. */
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI, { APIError, APIUserAbortError, AuthenticationError } from 'openai';
import { type ServingHearthd as Hearthd, serveHearthd } from '../../helpers/hearthd';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';

jest.setTimeout(60_000);

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** `fetch` does not let a Host be chosen. */
async function ask(
  hearthd: Hearthd,
  path: string,
  { method = 'GET', headers = {}, body }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const outgoing = httpRequest(`${hearthd.url}${path}`, { method, headers });
  outgoing.end(body);
  const [response] = (await once(outgoing, 'response')) as [import('node:http').IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString() };
}

const json = { 'content-type': 'application/json' };
/** Hundreds of tokens, whatever the model would like to say. */
const long = { type: 'array', items: { enum: ['tree', 'snow'] }, minItems: 400, maxItems: 400 };
const longChat = {
  model: 'nano',
  messages: [{ role: 'user' as const, content: 'What is there?' }],
  response_format: { type: 'json_schema' as const, json_schema: { name: 'long', schema: long } },
};

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The text format, read strictly: every sample has been announced with its type and help, and none is there twice. */
function parseMetrics(text: string): Sample[] {
  const types = new Map<string, string>();
  const helped = new Set<string>();
  const seen = new Set<string>();
  return text.split('\n').flatMap((line): Sample[] => {
    if (line === '') return [];
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (comment !== null) {
      const [, kind, name = '', rest = ''] = comment;
      if (kind === 'TYPE') types.set(name, rest);
      else helped.add(name);
      return [];
    }
    const match = /^([a-z_]+)(?:\{((?:[a-z_]+="[^"\\\n]*",?)*)\})? (\S+)$/.exec(line);
    if (match === null) throw new Error(`no sample: ${line}`);
    const [, name = '', labels = '', value = ''] = match;
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '');
    if (!types.has(family) || !helped.has(family)) throw new Error(`not announced: ${line}`);
    if ((types.get(family) === 'counter') !== name.endsWith('_total')) throw new Error(`misnamed: ${line}`);
    if (seen.has(`${name}{${labels}}`)) throw new Error(`twice: ${line}`);
    seen.add(`${name}{${labels}}`);
    return [
      {
        name,
        labels: Object.fromEntries([...labels.matchAll(/([a-z_]+)="([^"]*)"/g)].map(([, key, given]) => [key, given])),
        value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value),
      },
    ];
  });
}

async function metric(hearthd: Hearthd, name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
  const { text } = await ask(hearthd, '/metrics');
  const found = parseMetrics(text).find(
    (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  );
  return found?.value ?? Number.NaN;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`it did not come to: ${what}`);
}

describe('on loopback', () => {
  let hearthd: Hearthd;

  beforeAll(async () => {
    hearthd = await serveHearthd({
      http: { maxBodyBytes: 100_000, allowedHosts: ['hearth.local'], allowedOrigins: ['https://chat.example'] },
      queue: { concurrency: 1, capacity: 1 },
    });
  });

  afterAll(async () => {
    expect(await hearthd.stop()).toBe(0);
  });

  test('it is reached by the names of loopback and those that are listed', async () => {
    for (const host of ['localhost', '127.0.0.1:1234', '[::1]:80', 'LOCALHOST', 'hearth.local:8474']) {
      expect([host, (await ask(hearthd, '/v1/models', { headers: { host } })).status]).toEqual([host, 200]);
    }
  });

  test('a web page whose name was made to point here is refused, whatever it asks for', async () => {
    for (const host of [
      'evil.example',
      'evil.example:8474',
      '127.0.0.1.evil.example',
      'localhost.evil.example',
      'x@localhost',
      '203.0.113.7',
    ]) {
      const page = { host, origin: `http://${host}` };
      const { status, text } = await ask(hearthd, '/v1/models', { headers: page });
      expect([host, status]).toEqual([host, 403]);
      expect(JSON.parse(text)).toMatchObject({ error: { code: 'HTTP_HOST_REFUSED', type: 'invalid_request_error' } });
    }
    for (const path of ['/healthz', '/metrics', '/api/tags', '/nothing'])
      expect((await ask(hearthd, path, { headers: { host: 'evil.example' } })).status).toBe(403);
  });

  test('so is a web page of another origin that sends what needs no leave', async () => {
    const before = await metric(hearthd, 'hearth_jobs_total', { outcome: 'done' });
    for (const origin of ['https://evil.example', 'null', `http://localhost:1`]) {
      const { status, text, headers } = await ask(hearthd, '/api/generate', {
        method: 'POST',
        headers: { origin, 'content-type': 'application/x-www-form-urlencoded' },
        body: JSON.stringify({ model: 'nano', prompt: 'x', stream: false }),
      });
      expect([origin, status]).toEqual([origin, 403]);
      expect(JSON.parse(text)).toMatchObject({ error: expect.stringContaining('HTTP_ORIGIN_REFUSED') });
      expect(headers).not.toHaveProperty('access-control-allow-origin');
    }
    const preflight = { origin: 'https://evil.example', 'access-control-request-method': 'POST' };
    const asked = await ask(hearthd, '/v1/chat/completions', { method: 'OPTIONS', headers: preflight });
    expect(asked.status).toBe(403);
    expect(asked.headers).not.toHaveProperty('access-control-allow-origin');
    expect(await metric(hearthd, 'hearth_jobs_total', { outcome: 'done' })).toBe(before);
  });

  test('a listed origin may ask and read, the daemon itself is an origin of its own', async () => {
    const origin = 'https://chat.example';
    const preflight = {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    };
    const leave = await ask(hearthd, '/v1/chat/completions', { method: 'OPTIONS', headers: preflight });
    expect(leave).toMatchObject({
      status: 204,
      headers: {
        'access-control-allow-origin': origin,
        'access-control-allow-headers': 'authorization,content-type',
        vary: 'Origin',
      },
    });
    expect((await ask(hearthd, '/v1/models', { headers: { origin } })).headers).toMatchObject({
      'access-control-allow-origin': origin,
    });
    const own = { host: `127.0.0.1:${hearthd.port}`, origin: `http://127.0.0.1:${hearthd.port}` };
    expect((await ask(hearthd, '/v1/models', { headers: own })).status).toBe(200);
  });

  test('bodies that are too large, no JSON, or of another kind are refused in the words of each door', async () => {
    const body = JSON.stringify({ model: 'nano', prompt: 'x'.repeat(100_001) });
    const large = await ask(hearthd, '/api/generate', { method: 'POST', headers: json, body });
    expect(large.status).toBe(413);
    expect(JSON.parse(large.text)).toMatchObject({ code: 'REQUEST_TOO_LARGE' });
    // One that does not say beforehand how long it is.
    const chunked = await ask(hearthd, '/v1/chat/completions', {
      method: 'POST',
      headers: { ...json, 'transfer-encoding': 'chunked' },
      body,
    });
    expect(chunked.status).toBe(413);
    expect(JSON.parse(chunked.text)).toMatchObject({ error: { code: 'REQUEST_TOO_LARGE' } });
    const form = new FormData();
    form.set('model', 'nano');
    form.set('file', new Blob([new Uint8Array(200_000)]), 'a.wav');
    const file = await fetch(`${hearthd.url}/v1/audio/transcriptions`, { method: 'POST', body: form });
    expect(file.status).toBe(413);
    for (const [type, text, code] of [
      ['application/json', '{"model":', 'REQUEST_BAD_JSON'],
      ['application/json', '{"__proto__": {}, "model": "nano"}', 'REQUEST_BAD_JSON'],
      ['application/json', '[]', 'REQUEST_INVALID'],
      ['text/csv', 'a', 'REQUEST_BAD_JSON'],
    ] as const) {
      const refused = await ask(hearthd, '/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': type },
        body: text,
      });
      expect([text, refused.status, (JSON.parse(refused.text) as { error: { code: string } }).error.code]).toEqual([
        text,
        400,
        code,
      ]);
    }
  });

  test('a client that hangs up cancels its job, whether it was streamed or not, ran or waited', async () => {
    const cancelled = () => metric(hearthd, 'hearth_jobs_total', { outcome: 'cancelled' });
    const running = () => metric(hearthd, 'hearth_queue_jobs', { state: 'running' });
    const waiting = () => metric(hearthd, 'hearth_queue_jobs', { state: 'waiting' });
    const client = new OpenAI({ baseURL: `${hearthd.url}/v1`, apiKey: 'none', maxRetries: 0 });
    const before = await cancelled();

    const stream = await client.chat.completions.create({ ...longChat, stream: true });
    for await (const chunk of stream) {
      expect(chunk.choices[0]?.delta.content).toBeDefined();
      stream.controller.abort();
    }
    await until('the streamed job is cancelled', async () => (await cancelled()) === before + 1);

    const aborts = [new AbortController(), new AbortController()];
    const [first, second] = aborts.map(async ({ signal }, index) => {
      if (index === 1) await until('the first one runs', async () => (await running()) === 1);
      return await client.chat.completions.create(longChat, { signal }).catch((error: unknown) => error);
    });
    await until('the second one waits', async () => (await waiting()) === 1);
    // There is room for one that waits.
    await expect(client.chat.completions.create(longChat)).rejects.toMatchObject({ status: 503, code: 'QUEUE_FULL' });
    aborts[1]?.abort();
    expect(await second).toBeInstanceOf(APIUserAbortError);
    await until('the waiting job is cancelled', async () => (await cancelled()) === before + 2);
    aborts[0]?.abort();
    expect(await first).toBeInstanceOf(APIUserAbortError);
    await until('the running job is cancelled', async () => (await cancelled()) === before + 3);
    expect(await running()).toBe(0);
  });

  test('priority and deadline come in headers', async () => {
    const client = new OpenAI({ baseURL: `${hearthd.url}/v1`, apiKey: 'none', maxRetries: 0 });
    const abort = new AbortController();
    const busy = client.chat.completions.create(longChat, { signal: abort.signal }).catch(() => undefined);
    await until('it runs', async () => (await metric(hearthd, 'hearth_queue_jobs', { state: 'running' })) === 1);
    const late = client.chat.completions.create(longChat, { headers: { 'x-hearth-deadline-ms': '50' } });
    await expect(late).rejects.toMatchObject({ status: 504, code: 'JOB_DEADLINE' });
    const waits = client.chat.completions
      .create(longChat, { headers: { 'x-hearth-priority': '0' } })
      .catch((error: unknown) => error);
    await until('it waits', async () => (await metric(hearthd, 'hearth_queue_jobs', { state: 'waiting' })) === 1);
    const urgent = client.chat.completions.create(
      { ...longChat, max_tokens: 3 },
      { headers: { 'x-hearth-priority': '9' } },
    );
    expect(await waits).toMatchObject({ status: 503, code: 'QUEUE_EVICTED' });
    abort.abort();
    await busy;
    expect((await urgent).choices[0]?.finish_reason).toBe('length');
    for (const headers of [
      { 'x-hearth-priority': '10' },
      { 'x-hearth-priority': 'x' },
      { 'x-hearth-deadline-ms': '0' },
    ])
      await expect(client.chat.completions.create(longChat, { headers })).rejects.toMatchObject({
        status: 400,
        code: 'REQUEST_INVALID',
      });
  });

  test('metrics are what Prometheus reads, and count what happened', async () => {
    const { text, headers, status } = await ask(hearthd, '/metrics');
    expect([status, headers['content-type']]).toEqual([200, expect.stringMatching(/^text\/plain; version=0\.0\.4/)]);
    const samples = parseMetrics(text);
    const value = (name: string, labels: Readonly<Record<string, string>> = {}): number | undefined =>
      samples.find((s) => s.name === name && Object.entries(labels).every(([key, v]) => s.labels[key] === v))?.value;
    expect(value('hearth_jobs_total', { outcome: 'done' })).toBeGreaterThan(0);
    expect(value('hearth_jobs_total', { outcome: 'full' })).toBe(1);
    expect(value('hearth_jobs_total', { outcome: 'expired' })).toBe(1);
    expect(value('hearth_jobs_total', { outcome: 'evicted' })).toBe(1);
    expect(value('hearth_prompt_tokens_total')).toBeGreaterThan(0);
    expect(value('hearth_prompt_cached_tokens_total')).toBeLessThanOrEqual(value('hearth_prompt_tokens_total') ?? 0);
    expect(value('hearth_completion_tokens_total')).toBeGreaterThanOrEqual(3);
    expect(value('hearth_job_duration_seconds_count', { input: 'text' })).toBe(
      value('hearth_jobs_total', { outcome: 'done' }),
    );
    expect(value('hearth_job_first_token_seconds_bucket', { input: 'text', le: '+Inf' })).toBe(
      value('hearth_job_first_token_seconds_count', { input: 'text' }),
    );
    expect(value('hearth_http_requests_total', { route: '/v1/models', method: 'GET', status: '200' })).toBeGreaterThan(
      4,
    );
    for (const name of ['hearth_engine_ready', 'hearth_mqtt_connected']) expect([name, value(name)]).toEqual([name, 1]);
    expect(value('hearth_memory_bytes', { part: 'runner' })).toBeGreaterThan(1e6);
    expect(value('hearth_governor_level')).toBeGreaterThanOrEqual(0);
    // Paths and methods that somebody made up are one series.
    await ask(hearthd, '/made/up/1');
    await ask(hearthd, '/made/up/2', { method: 'PROPFIND' });
    const routes = new Set(
      parseMetrics((await ask(hearthd, '/metrics')).text)
        .filter(({ name }) => name === 'hearth_http_requests_total')
        .map(({ labels }) => labels['route']),
    );
    expect([...routes].some((route) => route?.includes('made'))).toBe(false);
    expect(routes).toContain('unknown');
  });

  test('no more bodies at a time than there is room for', async () => {
    const sockets = [];
    for (let i = 0; i < 4; i++) {
      const socket = connect(hearthd.port, '127.0.0.1');
      await once(socket, 'connect');
      // All but its last byte: it is waited for.
      socket.write('POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n');
      socket.write(`Content-Length: 100000\r\n\r\n${' '.repeat(99_999)}`);
      sockets.push(socket);
    }
    const small = { method: 'POST', headers: json, body: '{"model": "nano"}' };
    await until('there is no room', async () => (await ask(hearthd, '/api/show', small)).status === 503);
    const refused = await ask(hearthd, '/api/show', small);
    expect(JSON.parse(refused.text)).toMatchObject({ code: 'REQUEST_BUSY' });
    expect(refused.headers['retry-after']).toBe('1');
    for (const socket of sockets) socket.destroy();
    await until('there is room again', async () => (await ask(hearthd, '/api/show', small)).status === 200);
  });

  test('half a request, and what is none at all, harm nobody', async () => {
    const socket = connect(hearthd.port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write('POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"model":');
    socket.destroy();
    const noise = connect(hearthd.port, '127.0.0.1');
    await once(noise, 'connect');
    noise.write('\u0000\u0001\u0002 nonsense\r\n\r\n');
    const [answer] = (await once(noise, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 400 /);
    noise.destroy();
    expect((await ask(hearthd, '/healthz')).status).toBe(200);
  });
});

describe('opened', () => {
  const token = 'correct-horse-battery-staple';
  let hearthd: Hearthd;
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'hearth-token-'));
    writeFileSync(join(directory, 'token'), `${token}\n`);
    hearthd = await serveHearthd({
      http: { host: '0.0.0.0', tokenFile: join(directory, 'token') },
      log: { level: 'debug' },
    });
  });

  afterAll(async () => {
    expect(await hearthd.stop()).toBe(0);
    expect(hearthd.output()).not.toContain(token);
    rmSync(directory, { recursive: true, force: true });
  });

  test('everything but health asks for the token', async () => {
    for (const path of ['/healthz', '/readyz']) expect((await ask(hearthd, path)).status).toBe(200);
    for (const path of ['/metrics', '/v1/models', '/api/tags', '/nothing', '/v1/chat/completions']) {
      const { status, headers } = await ask(hearthd, path);
      expect([path, status, headers['www-authenticate']]).toEqual([path, 401, 'Bearer']);
    }
    for (const authorization of [token, 'Bearer', `Bearer ${token}x`, `Bearer ${token.slice(1)}`, `Basic ${token}`])
      expect((await ask(hearthd, '/api/tags', { headers: { authorization } })).status).toBe(401);
    const { status } = await ask(hearthd, '/metrics', { headers: { authorization: `Bearer ${token}` } });
    expect(status).toBe(200);
  });

  test('OpenAI’s client gets in with it as its key, from any name the machine is reached by', async () => {
    const client = (apiKey: string) => new OpenAI({ baseURL: `${hearthd.url}/v1`, apiKey, maxRetries: 0 });
    expect((await client(token).models.list()).data).toHaveLength(1);
    await expect(client('wrong-wrong-wrong-wrong').models.list()).rejects.toThrow(AuthenticationError);
    const named = { host: 'pi5.lan:8474', authorization: `Bearer ${token}` };
    expect((await ask(hearthd, '/v1/models', { headers: named })).status).toBe(200);
    const page = { ...named, origin: 'https://evil.example' };
    expect((await ask(hearthd, '/v1/models', { headers: page })).status).toBe(403);
  });
});

describe('when what runs a job ends', () => {
  const childOf = (pid: number): number => {
    const children = readdirSync('/proc').filter((entry) => {
      if (!/^\d+$/.test(entry)) return false;
      try {
        return new RegExp(`^PPid:\\s+${pid}$`, 'm').test(readFileSync(`/proc/${entry}/status`, 'utf8'));
      } catch {
        return false;
      }
    });
    return Number(children[0]);
  };

  /** The error a stream ends with that has begun, once `end` has been called. */
  const brokenStream = async (hearthd: Hearthd, end: () => void): Promise<unknown> => {
    const client = new OpenAI({ baseURL: `${hearthd.url}/v1`, apiKey: 'none', maxRetries: 0 });
    const stream = await client.chat.completions.create({ ...longChat, stream: true });
    try {
      let ended = false;
      for await (const _ of stream) {
        if (!ended) end();
        ended = true;
      }
      return undefined;
    } catch (error) {
      return error;
    }
  };

  test('the stream says so in the words of its door, and the next one finds another runner', async () => {
    const hearthd = await serveHearthd();
    try {
      const error = await brokenStream(hearthd, () => process.kill(childOf(hearthd.pid), 'SIGKILL'));
      expect(error).toBeInstanceOf(APIError);
      expect(error).toMatchObject({ code: 'ENGINE_RESTARTED' });
      expect(await metric(hearthd, 'hearth_job_errors_total', { code: 'ENGINE_RESTARTED' })).toBe(1);
      await until('ready again', async () => (await ask(hearthd, '/readyz')).status === 200);
      expect(await metric(hearthd, 'hearth_runner_restarts_total')).toBe(1);
      const again = await ask(hearthd, '/api/generate', {
        method: 'POST',
        headers: json,
        body: JSON.stringify({ model: 'nano', prompt: 'Hello', stream: false }),
      });
      expect(again.status).toBe(200);
    } finally {
      await hearthd.stop();
    }
  });

  test('a daemon that is told to stop does, with the stream', async () => {
    const hearthd = await serveHearthd();
    let stopped: Promise<number | null> | undefined;
    const error = await brokenStream(hearthd, () => {
      stopped = hearthd.stop();
    });
    // It may have been done in time; otherwise it says that it was cut.
    if (error !== undefined) expect(error).toHaveProperty('message');
    expect(await stopped).toBe(0);
    expect(hearthd.output()).not.toContain('did not end in time');
  });
});

test('alive before it is ready, and not ready without a broker', async () => {
  const broker: Mosquitto = await startMosquitto();
  await broker.stop();
  const hearthd = await serveHearthd({ mqtt: { url: broker.url, reconnectMaxSeconds: 1 } }, { ready: false });
  try {
    expect(await ask(hearthd, '/healthz')).toMatchObject({ status: 200, text: '{"status":"ok"}' });
    expect(await ask(hearthd, '/readyz')).toMatchObject({ status: 503, text: expect.stringContaining('"offline"') });
    await broker.start();
    await until('ready', async () => (await ask(hearthd, '/readyz')).status === 200);
    expect(JSON.parse((await ask(hearthd, '/readyz')).text)).toEqual({
      status: 'ready',
      engine: 'ready',
      broker: 'connected',
    });
    await broker.stop();
    await until('not ready', async () => (await ask(hearthd, '/readyz')).status === 503);
    expect(await metric(hearthd, 'hearth_mqtt_connected')).toBe(0);
  } finally {
    await hearthd.stop();
    await broker.stop();
  }
});

test('a port that another program has is said with its number, and ends the start', async () => {
  const first = await serveHearthd({}, { ready: false });
  try {
    const second = serveHearthd({ http: { port: first.port } }, { ready: false });
    await expect(second).rejects.toThrow(new RegExp(`HTTP_LISTEN_FAILED: http: 127\\.0\\.0\\.1, port ${first.port}`));
  } finally {
    await first.stop();
  }
});
