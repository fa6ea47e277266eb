/** What a house with several cameras and microphones expects of its streams, with the small model and over a real broker. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import type { StreamEvent } from '../../../daemon/events';
import { childrenOf } from '../../helpers/children-of';
import { type Hearthd, startHearthd } from '../../helpers/hearthd';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';

jest.setTimeout(120_000);

const media = (name: string): Buffer => readFileSync(join('daemon/demo/media', name));

let broker: Mosquitto;
let peer: Peer;
let daemon: Hearthd | undefined;
let state: string;

beforeEach(async () => {
  state = mkdtempSync(join(tmpdir(), 'hearth-streams-'));
  broker = await startMosquitto();
  peer = await connectPeer(broker.url, ['hearth/#']);
});

afterEach(async () => {
  await daemon?.stop();
  daemon = undefined;
  await peer.close();
  await broker.stop();
  rmSync(state, { recursive: true, force: true });
});

async function start(config: Readonly<Record<string, unknown>>): Promise<void> {
  daemon = await startHearthd(broker.url, peer, { stateDirectory: state, ...config });
}

let asked = 0;
async function ask(verb: string, payload: object = {}): Promise<Record<string, unknown>> {
  const id = `${verb}-${++asked}`;
  await peer.client.publishAsync(`hearth/pi5/request/${verb}`, JSON.stringify({ id, ...payload }), { qos: 1 });
  return await peer.json(`hearth/pi5/response/${verb}`, (answer: { id: string }) => answer.id === id);
}

interface Facts {
  readonly queue: { readonly depth: number; readonly running: number };
  readonly streams: Readonly<Record<string, Record<string, unknown>>>;
}

async function health(): Promise<Facts> {
  return (await ask('health'))['data'] as Facts;
}

async function untilHealth(fits: (facts: Facts) => boolean): Promise<void> {
  const end = Date.now() + 60_000;
  while (!fits(await health())) {
    if (Date.now() > end) throw new Error(`${fits}: ${JSON.stringify(await health())}`);
  }
}

const show = async (stream: string, picture: Buffer): Promise<unknown> =>
  await peer.client.publishAsync(`hearth/in/${stream}/frame`, picture, { qos: 1 });

const eventsOf = (stream: string, kind: string): StreamEvent[] =>
  peer.heard
    .filter(({ topic }) => topic === `hearth/pi5/out/${stream}/${kind}`)
    .map(({ payload }) => JSON.parse(payload.toString()) as StreamEvent);

async function event(stream: string, kind: string, fits: (event: StreamEvent) => boolean = () => true) {
  return (await peer.json(`hearth/pi5/out/${stream}/${kind}`, fits as never)) as unknown as StreamEvent;
}

/** A WAV of 16 kHz, 16 bit, one channel, with these samples instead of its own. */
function wavOf(samples: Buffer): Buffer {
  const wav = Buffer.concat([media('007.wav').subarray(0, 44), samples]);
  wav.writeUInt32LE(36 + samples.length, 4);
  wav.writeUInt32LE(samples.length, 40);
  return wav;
}

const pause = (seconds: number): Buffer => Buffer.alloc(2 * Math.round(16_000 * seconds));

/** Speaks into a microphone as a satellite does, in chunks of 100 ms. */
async function speak(stream: string, ...sounds: readonly Buffer[]): Promise<void> {
  const samples = Buffer.concat(sounds);
  for (let at = 0; at < samples.length; at += 3200) {
    const chunk = wavOf(samples.subarray(at, at + 3200));
    await peer.client.publishAsync(`hearth/in/${stream}/audio`, chunk, { qos: 1 });
  }
}

const said = (name: string): Buffer => media(name).subarray(44);
const release = async (stream: string): Promise<unknown> =>
  await peer.client.publishAsync(`hearth/in/${stream}/audio/end`, '{}', { qos: 1 });

/** The runner holds still until `thaw`: what the queue does meanwhile is no race. */
function freeze(): { thaw: () => void } {
  const [runner = 0] = childrenOf(daemon?.pid ?? 0);
  process.kill(runner, 'SIGSTOP');
  return { thaw: () => process.kill(runner, 'SIGCONT') };
}

/** Resolves when the microphone has heard everything that was sent to it before. */
async function heardAll(stream: string): Promise<void> {
  const before = eventsOf(stream, 'skipped').filter(({ reason }) => reason === 'bad-input').length;
  await peer.client.publishAsync(`hearth/in/${stream}/audio`, 'no sound', { qos: 1 });
  await peer.waitFor(
    () => eventsOf(stream, 'skipped').filter(({ reason }) => reason === 'bad-input').length > before,
    'that the microphone has heard all',
  );
}

describe('cameras', () => {
  test('the doorbell goes before gardens that flood the queue, and what the gardens had to say too late is skipped', async () => {
    const gardens = ['north', 'south', 'west'];
    const garden = { kind: 'camera', minIntervalMs: 0, duplicateThreshold: 0, priority: 0 };
    await start({
      queue: { concurrency: 1, capacity: 8 },
      streams: {
        ...Object.fromEntries(gardens.map((name) => [name, garden])),
        pond: { ...garden, deadlineMs: 2000 },
        doorbell: { kind: 'camera', priority: 9 },
      },
    });
    const runner = freeze();
    await show('north', media('000.png'));
    await untilHealth(({ queue }) => queue.running === 1);
    for (const name of ['south', 'west', 'pond']) await show(name, media('014.png'));
    // The gardens go on and on: of their frames, the newest waits, the others are superseded.
    for (let i = 0; i < 12; i++) for (const name of gardens) await show(name, media('008.png'));
    await event('pond', 'skipped', ({ reason }) => reason === 'deadline');
    await untilHealth(({ queue }) => queue.depth === 2);
    await show('doorbell', media('001.png'));
    await untilHealth(({ queue }) => queue.depth === 3);
    runner.thaw();
    for (const name of ['doorbell', ...gardens]) await event(name, 'caption');
    const order = peer.heard.flatMap(({ topic }) => /out\/(\w+)\/caption$/.exec(topic)?.[1] ?? []);
    expect(order.slice(0, 2)).toEqual(['north', 'doorbell']);
    expect(eventsOf('doorbell', 'caption')[0]?.text).toBe('A bicycle and an umbrella on the street.');
    for (const name of gardens) {
      expect(eventsOf(name, 'skipped')).toContainEqual(
        expect.objectContaining({ reason: 'superseded' }) as StreamEvent,
      );
    }
    expect(eventsOf('pond', 'caption')).toEqual([]);
  });

  test('with a place kept for it, the doorbell runs at once beside the gardens', async () => {
    const gardens = ['north', 'south', 'west', 'east'];
    await start({
      queue: { concurrency: 4 },
      streams: {
        ...Object.fromEntries(gardens.map((name) => [name, { kind: 'camera' }])),
        doorbell: { kind: 'camera', priority: 9 },
      },
    });
    const runner = freeze();
    for (const name of gardens) await show(name, media('000.png'));
    await untilHealth(({ queue }) => queue.running === 3 && queue.depth === 1);
    await show('doorbell', media('001.png'));
    await untilHealth(({ queue }) => queue.running === 4 && queue.depth === 1);
    runner.thaw();
    expect(await event('doorbell', 'caption')).toMatchObject({ text: 'A bicycle and an umbrella on the street.' });
    for (const name of gardens) expect(await event(name, 'caption')).toMatchObject({ text: 'A tree in the snow.' });
  });

  test('a cat at the edge of the picture is described, other light is not', async () => {
    await start({ streams: { garden: { kind: 'camera', minIntervalMs: 0 } } });
    const picture = media('000.png');
    await show('garden', picture);
    await event('garden', 'caption');
    await show('garden', await sharp(picture).linear(0.8, 6).png().toBuffer());
    expect(await event('garden', 'skipped')).toMatchObject({ reason: 'no-motion', count: 1 });
    const cat = { create: { width: 20, height: 16, channels: 3 as const, background: '#101010' } };
    const seen = sharp(picture).composite([{ input: await sharp(cat).png().toBuffer(), left: 232, top: 200 }]);
    await show('garden', await seen.png().toBuffer());
    await peer.waitFor(() => eventsOf('garden', 'caption').length === 2, 'a second caption');
  });
});

describe('microphones', () => {
  test('one that always listens finds the sentences by itself; push-to-talk takes what is said until the button is let go', async () => {
    await start({
      streams: {
        kitchen: { kind: 'microphone', language: 'en' },
        button: { kind: 'microphone', audio: { mode: 'push-to-talk' } },
      },
    });
    await speak('kitchen', pause(0.5), said('038.wav'), pause(1.5), said('007.wav'), pause(1.5));
    await peer.waitFor(() => eventsOf('kitchen', 'transcript').length === 2, 'two transcripts');
    expect(eventsOf('kitchen', 'transcript').map(({ text }) => text)).toEqual([
      'Turn on the light in the bedroom.',
      'I am home.',
    ]);
    expect(eventsOf('kitchen', 'transcript')[0]).toMatchObject({ lang: 'en' });

    await speak('button', said('027.wav'), pause(0.9));
    await heardAll('button');
    expect((await health()).streams['button']).toMatchObject({ used: 0 });
    await release('button');
    expect(await event('button', 'transcript')).toMatchObject({ text: 'How warm is it in the garage?' });
  });

  test('who speaks interrupts the answer that is being written for them, and nobody else’s', async () => {
    await start({ streams: { kitchen: { kind: 'microphone' }, bath: { kind: 'microphone' } } });
    const runner = freeze();
    const schema = { type: 'array', items: { enum: ['yes', 'no'] }, minItems: 100, maxItems: 100 };
    const answers = ['kitchen', 'bath'].map((stream) =>
      ask('generate', { prompt: 'Talk to me.', stream, schema, maxTokens: 1500 }),
    );
    await untilHealth(({ queue }) => queue.running === 2);
    await speak('kitchen', said('007.wav'));
    await heardAll('kitchen');
    runner.thaw();
    const [kitchen, bath] = await Promise.all(answers);
    expect(kitchen).toMatchObject({
      ok: false,
      error: { code: 'BARGE_IN', message: 'job for kitchen: was interrupted by speech into kitchen' },
    });
    expect(bath).toMatchObject({ ok: true });
    expect(await event('kitchen', 'skipped', ({ reason }) => reason === 'barge-in')).toMatchObject({
      count: 1,
      error: { code: 'BARGE_IN' },
      source: { topic: 'hearth/pi5/request/generate' },
    });
    expect(eventsOf('kitchen', 'answer')).toEqual([]);
    expect(await event('kitchen', 'transcript')).toMatchObject({ text: 'I am home.' });
  });

  test('with bargeIn all, the translation of what was said before is given up, its transcript is not, and what is said now has both', async () => {
    const talk = (bargeIn: string) => ({ kind: 'microphone', audio: { mode: 'push-to-talk', bargeIn } });
    await start({
      queue: { concurrency: 2 },
      streams: { desk: talk('all'), hall: talk('answers') },
      plugins: { translate: { config: { languages: ['en', 'es'] } } },
    });
    const runner = freeze();
    for (const stream of ['desk', 'hall']) {
      await speak(stream, said('036.wav'));
      await release(stream);
    }
    // Of each microphone a transcript and the first of two translations: one runs, three wait.
    await untilHealth(({ queue }) => queue.running + queue.depth === 4);
    for (const stream of ['desk', 'hall']) {
      await speak(stream, said('048.wav'));
      await heardAll(stream);
    }
    runner.thaw();
    for (const stream of ['desk', 'hall']) await release(stream);
    for (const stream of ['desk', 'hall']) {
      for (const text of ['Schalte das Licht im Wohnzimmer ein.', 'Para la música en la sala.'])
        await event(stream, 'transcript', (transcript) => transcript.text === text);
      await event(
        stream,
        'translation',
        ({ text, lang }) => lang === 'en' && text === 'Stop the music in the living room.',
      );
    }
    const english = (stream: string): (string | undefined)[] =>
      eventsOf(stream, 'translation').flatMap(({ lang, text }) => (lang === 'en' ? [text] : []));
    expect(english('desk')).toEqual(['Stop the music in the living room.']);
    expect(english('hall')).toEqual(['Turn on the light in the living room.', 'Stop the music in the living room.']);
    expect(eventsOf('desk', 'skipped')).toContainEqual(
      expect.objectContaining({ reason: 'barge-in', error: expect.objectContaining({ code: 'BARGE_IN' }) as unknown }),
    );
    expect(eventsOf('hall', 'skipped').map(({ reason }) => reason)).not.toContain('barge-in');
  });
});

describe('settings', () => {
  const clock = (hours: number): string => new Date(Date.now() + 3_600_000 * hours).toISOString().slice(11, 16);

  test('what stream/set changed holds after a restart, is in health, and goes back to the configuration', async () => {
    const resting = {
      timezone: 'UTC',
      streams: { yard: { kind: 'camera', minIntervalMs: 0, schedule: [`${clock(2)}-${clock(4)}`] } },
    };
    await start(resting);
    await show('yard', media('000.png'));
    expect(await event('yard', 'skipped')).toMatchObject({ reason: 'scheduled-off', count: 1 });
    expect((await health()).streams['yard']).toMatchObject({ enabled: true, scheduled: false, set: {} });

    const set = { schedule: [`${clock(-2)}-${clock(2)}`], language: 'de', prompt: 'Is there a dog?', minIntervalMs: 1 };
    expect(await ask('stream/set', { stream: 'yard', ...set })).toMatchObject({
      ok: true,
      data: { ...set, set, kept: true },
    });
    await show('yard', media('000.png'));
    expect(await event('yard', 'caption')).toMatchObject({ text: 'No.', lang: 'de' });

    await daemon?.stop();
    peer.heard.length = 0;
    await start(resting);
    expect((await health()).streams['yard']).toMatchObject({ received: 0, scheduled: true, set });
    await show('yard', media('000.png'));
    expect(await event('yard', 'caption')).toMatchObject({ text: 'No.', lang: 'de' });
    expect(await ask('stream/set', { stream: 'yard', schedule: [], reset: true })).toMatchObject({
      data: { prompt: null, language: null, minIntervalMs: 0, set: { schedule: [] } },
    });
    await show('yard', media('004.png'));
    await event('yard', 'caption', ({ text }) => text === 'An umbrella and a truck at night.');
    expect(await ask('stream/set', { stream: 'yard', reset: true })).toMatchObject({ data: { set: {} } });
    expect((await health()).streams['yard']).toMatchObject({ scheduled: false, set: {} });
    expect(await ask('stream/set', { stream: 'yard', priority: 10 })).toMatchObject({
      ok: false,
      error: {
        code: 'REQUEST_INVALID',
        message: 'stream/set: priority: expected a whole number from 0 to 9, received 10',
      },
    });

    expect(await ask('stream/set', { stream: 'yard', enabled: false })).toMatchObject({ ok: true });
    await daemon?.stop();
    peer.heard.length = 0;
    await start({});
    expect(daemon?.output()).toContain('yard: expected a stream of the configuration');
    expect((await health()).streams).toEqual({});
    expect(existsSync(join(state, 'streams.json'))).toBe(true);
  });
});
