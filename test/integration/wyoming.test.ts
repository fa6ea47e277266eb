/** Speech to text as a Wyoming client asks for it: events written and read here as the protocol describes them. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { type ServingHearthd as Hearthd, serveHearthd } from '../helpers/hearthd';
import { freePort } from '../helpers/mosquitto';

jest.setTimeout(60_000);

interface Event {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A client as others write them: the data in the line, or after it with its length. */
class Client {
  readonly #socket: Socket;
  #buffer = Buffer.alloc(0);
  #ended = false;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      this.#wake();
    });
    for (const event of ['end', 'close', 'error'])
      socket.on(event, () => {
        this.#ended = true;
        this.#wake();
      });
  }

  static async connect(port: number): Promise<Client> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new Client(socket);
  }

  /** As the reference client writes: header, data, payload. */
  send(type: string, data?: object, payload?: Buffer): void {
    const body = data === undefined ? undefined : Buffer.from(JSON.stringify(data));
    const header = {
      type,
      version: '1.5.4',
      ...(body !== undefined && { data_length: body.length }),
      ...(payload !== undefined && { payload_length: payload.length }),
    };
    this.write(`${JSON.stringify(header)}\n`);
    if (body !== undefined) this.write(body);
    if (payload !== undefined) this.write(payload);
  }

  write(bytes: string | Buffer): void {
    this.#socket.write(bytes);
  }

  /** The next event; undefined when the server has hung up. */
  async next(): Promise<Event | undefined> {
    for (;;) {
      const end = this.#buffer.indexOf('\n');
      if (end >= 0) {
        const header = JSON.parse(this.#buffer.toString('utf8', 0, end)) as {
          type: string;
          data?: object;
          data_length?: number;
          payload_length?: number;
        };
        const dataEnd = end + 1 + (header.data_length ?? 0);
        if (this.#buffer.length >= dataEnd + (header.payload_length ?? 0)) {
          const more = header.data_length
            ? (JSON.parse(this.#buffer.toString('utf8', end + 1, dataEnd)) as object)
            : {};
          this.#buffer = this.#buffer.subarray(dataEnd + (header.payload_length ?? 0));
          return { type: header.type, data: { ...header.data, ...more } };
        }
      }
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

const format = { rate: 16_000, width: 2, channels: 1 };
const pcm = (name: string): Buffer => {
  const wav = readFileSync(`daemon/demo/media/${name}`);
  return wav.subarray(wav.indexOf('data') + 8);
};
const silence = (seconds: number): Buffer => Buffer.alloc(2 * Math.round(seconds * 16_000));

function say(client: Client, sound: Buffer, chunkBytes = 2048): void {
  client.send('audio-start', { ...format, timestamp: 0 });
  for (let at = 0; at < sound.length; at += chunkBytes)
    client.send('audio-chunk', format, sound.subarray(at, at + chunkBytes));
  client.send('audio-stop', { timestamp: 1000 });
}

let hearthd: Hearthd;
let port: number;

beforeAll(async () => {
  port = await freePort();
  hearthd = await serveHearthd({
    wyoming: { enabled: true, port },
    limits: { maxAudioSeconds: 40 },
  });
});

afterAll(async () => {
  expect(await hearthd.stop()).toBe(0);
  expect(hearthd.output()).not.toMatch(/"level":"(error|fatal)"/);
});

test('describes what it has', async () => {
  const client = await Client.connect(port);
  client.send('describe');
  const info = await client.next();
  expect(info?.type).toBe('info');
  expect(info?.data).toMatchObject({
    asr: [
      {
        name: 'hearth',
        installed: true,
        attribution: { name: expect.any(String), url: expect.any(String) },
        models: [
          { name: 'nano', installed: true, languages: ['en', 'es', 'de', 'fr'], attribution: expect.anything() },
        ],
      },
    ],
    tts: [],
    wake: [],
  });
  client.write('{"type": "ping", "data": {"text": "still there?"}}\n');
  expect(await client.next()).toEqual({ type: 'pong', data: { text: 'still there?' } });
  client.close();
});

test('writes down what is said, again and again on one connection', async () => {
  const client = await Client.connect(port);
  client.send('transcribe', { language: 'en' });
  say(client, pcm('038.wav'));
  expect(await client.next()).toEqual({
    type: 'transcript',
    data: { text: 'Turn on the light in the bedroom.', language: 'en' },
  });
  // No language, chunks of an odd size, and events it knows nothing of.
  client.send('transcribe');
  client.send('voice-started', { timestamp: 5 });
  say(client, pcm('007.wav'), 999 * 2);
  expect(await client.next()).toEqual({ type: 'transcript', data: { text: 'I am home.' } });
  say(client, Buffer.alloc(0));
  expect(await client.next()).toEqual({ type: 'transcript', data: { text: '' } });
  client.close();
});

test('takes bytes however they arrive', async () => {
  const client = await Client.connect(port);
  const sound = pcm('007.wav');
  const bytes = Buffer.concat([
    Buffer.from('{"type":"transcribe","data":{"language":"en"}}\n'),
    Buffer.from(`{"type":"audio-start","data":${JSON.stringify(format)}}\n`),
    Buffer.from(`{"type":"audio-chunk","data":${JSON.stringify(format)},"payload_length":${sound.length}}\n`),
    sound,
    Buffer.from('{"type":"audio-stop"}\n'),
  ]);
  for (let at = 0, step = 1; at < bytes.length; at += step, step = 1 + ((step * 7) % 5000)) {
    client.write(bytes.subarray(at, at + step));
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await client.next()).toMatchObject({ type: 'transcript', data: { text: 'I am home.' } });
  client.close();
});

test('a recording longer than a clip is cut by the engine, by either door; one longer than the limit is refused', async () => {
  const sound = Buffer.concat([pcm('038.wav'), silence(29), pcm('007.wav')]);
  const client = await Client.connect(port);
  say(client, sound, 64 << 10);
  const transcript = await client.next();
  const text = String(transcript?.data['text']);
  // One sentence of each piece; how well the second is heard behind so much of nothing is another matter.
  expect(text).toMatch(/^Turn on the light in the bedroom\. [A-Z][a-z ]+\.$/);

  const wav = readFileSync('daemon/demo/media/038.wav');
  const header = Buffer.from(wav.subarray(0, wav.indexOf('data') + 8));
  const upload = async (samples: Buffer): Promise<Response> => {
    header.writeUInt32LE(samples.length, header.length - 4);
    const form = new FormData();
    form.set('model', 'nano');
    form.set('file', new Blob([Buffer.concat([header, samples])]), 'long.wav');
    return await fetch(`${hearthd.url}/v1/audio/transcriptions`, { method: 'POST', body: form });
  };
  expect(await (await upload(sound)).json()).toMatchObject({ text });

  const tooLong = Buffer.concat([sound, silence(10)]);
  const refused = await upload(tooLong);
  expect(refused.status).toBe(413);
  expect(await refused.json()).toMatchObject({ error: { code: 'MEDIA_AUDIO_TOO_LONG' } });
  say(client, tooLong, 64 << 10);
  expect(await client.next()).toMatchObject({ type: 'error', data: { code: 'MEDIA_AUDIO_TOO_LONG' } });
  expect(await client.next()).toBeUndefined();
  client.close();
});

describe('what is no event ends the connection with a reason, and nobody else’s', () => {
  const chunk = (data: object) => JSON.stringify({ type: 'audio-chunk', data, payload_length: 4 });
  test.each([
    ['a line that is no JSON', 'GET / HTTP/1.1\n'],
    ['JSON that is no object', '[1]\n'],
    ['an event without a type', '{"data": {}}\n'],
    ['a line without end', 'x'.repeat(100_000)],
    ['data that is longer than any', '{"type":"transcribe","data_length":1000000}\n'],
    ['a length below nothing', '{"type":"audio-chunk","payload_length":-5}\n'],
    ['a length that is none', '{"type":"audio-chunk","payload_length":"many"}\n'],
    ['a payload that is longer than any', '{"type":"audio-chunk","payload_length":4000000000}\n'],
    ['data that is no JSON', '{"type":"transcribe","data_length":3}\nabc'],
    ['a chunk without a format', `${chunk({})}\nabcd`],
    ['a rate beyond hearing', `${chunk({ ...format, rate: 96_000 })}\nabcd`],
    ['samples of five bytes', `${chunk({ rate: 16_000, width: 5, channels: 1 })}\nabcd`],
    ['another format in the middle', `${chunk(format)}\nabcd${chunk({ ...format, rate: 8000 })}\nabcd`],
    ['an end without a beginning', '{"type":"audio-stop"}\n'],
  ])('%s', async (_what, bytes) => {
    const client = await Client.connect(port);
    client.write(bytes);
    expect(await client.next()).toMatchObject({
      type: 'error',
      data: { code: 'WYOMING_INVALID', text: expect.stringContaining('WYOMING_INVALID: ') },
    });
    expect(await client.next()).toBeUndefined();
    client.close();
  });

  test('a rate that is no rate, and a clip too short to be one', async () => {
    for (const [rate, code] of [
      [1, 'MEDIA_AUDIO_FORMAT'],
      [16_000, 'AUDIO_INVALID'],
    ] as const) {
      const client = await Client.connect(port);
      client.send('audio-chunk', { ...format, rate }, Buffer.alloc(8));
      client.send('audio-stop');
      expect(await client.next()).toMatchObject({ type: 'error', data: { code } });
      client.close();
    }
  });

  test('more connections than it takes are closed at once, and there is room again when some have gone', async () => {
    const answer = async (client: Client): Promise<string | undefined> => {
      client.send('ping', { text: 'x' });
      return (await client.next())?.type;
    };
    const clients = await Promise.all(Array.from({ length: 12 }, async () => await Client.connect(port)));
    const types = await Promise.all(clients.map(answer));
    expect(types.filter((type) => type === undefined).length).toBeGreaterThanOrEqual(4);
    expect(types).toContain('pong');
    for (const client of clients) client.close();
    let again: string | undefined;
    for (let attempt = 0; attempt < 100 && again === undefined; attempt++) {
      const client = await Client.connect(port);
      again = await answer(client);
      client.close();
      if (again === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(again).toBe('pong');
  });
});
