/** Function calls through hearthd, a real broker and the small trained model: from text, speech and a picture. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Hearthd, startHearthd } from '../../helpers/hearthd';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';

jest.setTimeout(180_000);

const media = (file: string): Buffer => readFileSync(join(process.cwd(), 'daemon/demo/media', file));
const room = { enum: ['kitchen', 'bedroom', 'living_room', 'bathroom', 'garage', 'garden', 'office', 'hallway'] };
const on = { type: 'boolean' };
const declare = (name: string, properties: Readonly<Record<string, unknown>>, more: object = {}) => ({
  name,
  parameters: { type: 'object', properties, required: Object.keys(properties), additionalProperties: false },
  ...more,
});

const functions = [
  declare('set_light', { room, on }, { publish: { topic: 'home/{arguments.room}/light/set' } }),
  declare(
    'set_lock',
    { door: { enum: ['front', 'back', 'garage'] }, locked: on },
    { confirm: true, publish: { topic: 'home/lock/{arguments.door}/set' } },
  ),
  declare(
    'get_temperature',
    { room },
    {
      publish: { topic: 'home/ask/temperature', payload: { id: '{id}', room: '{arguments.room}' } },
      result: { topic: 'home/told/temperature', timeoutMs: 60_000 },
    },
  ),
  declare('set_blinds', { room, open: on }, { dryRun: true, publish: { topic: 'home/blinds' } }),
  declare(
    'set_temperature',
    { room, celsius: { type: 'integer', minimum: 15, maximum: 25 } },
    { rateLimit: { calls: 1, seconds: 86_400 }, publish: { topic: 'home/heating' } },
  ),
];

/** A plugin of someone else's, with a function the model knows. */
const stereo = `
exports.manifest = { name: 'stereo', version: '1.0.0', apiVersion: '^1.2.0', description: 'Plays music.' };
exports.start = async (ctx) => {
  await ctx.registerFunction(
    ${JSON.stringify(declare('play_music', { room, on }))},
    ({ room, on }, { source }) => ({ playing: on, room, source }),
  );
};
`;

let broker: Mosquitto;
let peer: Peer;
let daemon: Hearthd;
let directory: string;
let requests = 0;

async function ask(payload: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> {
  const id = `r${++requests}`;
  await peer.client.publishAsync('hearth/pi5/request/call', JSON.stringify({ id, ...payload }), { qos: 1 });
  return await peer.json('hearth/pi5/response/call', (response: { id: string }) => response.id === id);
}

/** The steps of one call, in order, once the last of them is there. */
async function audited(id: unknown, last: string): Promise<unknown[]> {
  await peer.json('hearth/pi5/audit', (entry: { id: string; step: string }) => entry.id === id && entry.step === last);
  return peer.heard
    .filter(({ topic }) => topic === 'hearth/pi5/audit')
    .map(({ payload }) => JSON.parse(payload.toString()) as { id: string; step: string })
    .flatMap((entry) => (entry.id === id ? [entry.step] : []));
}

const outcomesOf = ({ data }: Record<string, unknown>) =>
  (data as { calls: { id: string; status: string; name: string; arguments: unknown; result?: unknown }[] }).calls;
const heardOn = (topic: string): string[] =>
  peer.heard.filter((message) => message.topic === topic).map(({ payload }) => payload.toString());

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-stereo-'));
  writeFileSync(join(directory, 'index.cjs'), stereo);
  broker = await startMosquitto();
  peer = await connectPeer(broker.url, ['hearth/#', 'home/#']);
  daemon = await startHearthd(broker.url, peer, {
    streams: {
      door: { kind: 'camera', plugins: ['function-calls'], minIntervalMs: 0, duplicateThreshold: 0 },
      kitchen: { kind: 'microphone', plugins: ['function-calls'] },
    },
    plugins: {
      stereo: { path: join(directory, 'index.cjs') },
      'function-calls': {
        config: {
          functions,
          registered: [{ name: '*' }],
          maxCalls: 3,
          pictures: { door: 'If there is a horse, turn on the light in the garden.' },
          allow: { picture: ['set_light'] },
          maxTokens: 128,
        },
      },
    },
  });
});

afterAll(async () => {
  await daemon?.stop();
  await peer?.close();
  await broker?.stop();
  rmSync(directory, { recursive: true, force: true });
});

test('from text: the call is published, answered and audited', async () => {
  const response = await ask({ text: 'Schalte das Licht in der Küche ein.' });
  expect(response).toMatchObject({
    ok: true,
    data: {
      call: { name: 'set_light', arguments: { room: 'kitchen', on: true } },
      topic: 'home/kitchen/light/set',
      calls: [{ status: 'executed', name: 'set_light' }],
    },
  });
  await peer.json('home/kitchen/light/set', (value: { on: boolean }) => value.on);
  expect(await audited(outcomesOf(response)[0]?.id, 'executed')).toEqual(['proposed', 'executed']);
  const audit = peer.heard.find(({ topic }) => topic === 'hearth/pi5/audit');
  expect(audit?.packet).toMatchObject({ qos: 1, retain: false });
});

test('a call that has to be confirmed waits for it, and is run once', async () => {
  const [pending] = outcomesOf(await ask({ text: 'Lock the front door.' }));
  expect(pending).toMatchObject({ status: 'pending', name: 'set_lock', arguments: { door: 'front', locked: true } });
  expect(heardOn('home/lock/front/set')).toEqual([]);
  expect(await ask({ confirm: pending?.id })).toMatchObject({
    ok: true,
    data: { calls: [{ id: pending?.id, status: 'executed' }], topic: 'home/lock/front/set' },
  });
  expect(await audited(pending?.id, 'executed')).toEqual(['proposed', 'pending', 'confirmed', 'executed']);
  expect(await ask({ confirm: pending?.id })).toMatchObject({ ok: false, error: { code: 'CALL_NOT_PENDING' } });
  expect(heardOn('home/lock/front/set')).toEqual(['{"door":"front","locked":true}']);

  const [other] = outcomesOf(await ask({ text: 'Unlock the front door.' }));
  expect(await ask({ reject: other?.id })).toMatchObject({ ok: true, data: { calls: [{ status: 'rejected' }] } });
  expect(heardOn('home/lock/front/set')).toHaveLength(1);
});

test('a call that waits when the plugin is restarted is told to have expired', async () => {
  const [pending] = outcomesOf(await ask({ text: 'Lock the front door.' }));
  expect(pending).toMatchObject({ status: 'pending', name: 'set_lock' });
  await peer.client.publishAsync('hearth/pi5/request/plugin/restart', '{"plugin": "function-calls"}', { qos: 1 });
  expect(await audited(pending?.id, 'expired')).toEqual(['proposed', 'pending', 'expired']);
  expect(await ask({ confirm: pending?.id })).toMatchObject({ ok: false, error: { code: 'CALL_NOT_PENDING' } });
});

test('a dry run and a call over its rate limit have no effect', async () => {
  const [dry] = outcomesOf(await ask({ text: 'Close the blinds in the bedroom.' }));
  expect(dry).toMatchObject({ status: 'dry-run', name: 'set_blinds' });
  expect(outcomesOf(await ask({ text: 'Set the bedroom to twenty four degrees.' }))).toMatchObject([
    { status: 'executed', name: 'set_temperature', arguments: { room: 'bedroom', celsius: 24 } },
  ]);
  const [limited] = outcomesOf(await ask({ text: 'Set the bedroom to twenty four degrees.' }));
  expect(limited).toMatchObject({ status: 'refused', reason: 'rate-limited' });
  expect(await audited(limited?.id, 'refused')).toEqual(['proposed', 'refused']);
  expect([heardOn('home/blinds'), heardOn('home/heating').length]).toEqual([[], 1]);
});

test('from speech: who executes the call answers over MQTT, and the model answers from that', async () => {
  await peer.client.publishAsync('hearth/in/kitchen/audio', media('027.wav'));
  await peer.client.publishAsync('hearth/in/kitchen/audio/end', '{}', { qos: 1 });
  const asked = (await peer.json('home/ask/temperature')) as { id: string; room: string };
  expect(asked.room).toBe('garage');
  const told = { id: asked.id, celsius: 19 };
  await peer.client.publishAsync('home/told/temperature', JSON.stringify(told), { qos: 1 });
  expect(await peer.json('hearth/pi5/out/kitchen/call')).toMatchObject({
    call: { name: 'get_temperature', arguments: { room: 'garage' } },
    outcome: { id: asked.id, status: 'executed', result: told },
  });
  const answer = await peer.json('hearth/pi5/out/kitchen/answer');
  expect(answer).toMatchObject({ kind: 'answer', plugin: 'function-calls' });
  expect(typeof answer['text']).toBe('string');
});

test('a function that another plugin has registered is run there, and its result comes back', async () => {
  const response = await ask({ text: 'Play the music in the bathroom.' });
  expect(outcomesOf(response)).toMatchObject([
    { status: 'executed', name: 'play_music', result: { playing: true, room: 'bathroom', source: 'text' } },
  ]);
  expect(typeof (response['data'] as { answer: unknown }).answer).toBe('string');
});

test('from a picture: the reply fits the functions, and only those allowed for pictures take effect', async () => {
  await peer.client.publishAsync('hearth/in/door/frame', media('008.png'));
  const event = (await peer.json('hearth/pi5/out/door/call')) as {
    call: { name: string; arguments: unknown } | null;
    outcome?: { id: string; status: string; name: string; reason?: string };
  };
  const { call, outcome } = event;
  if (outcome === undefined) expect(call).toBeNull();
  else if (outcome.name === 'set_light')
    expect(call).toMatchObject({ name: 'set_light', arguments: { room: expect.any(String), on: expect.any(Boolean) } });
  else expect([call, outcome]).toEqual([null, expect.objectContaining({ status: 'refused', reason: 'not-allowed' })]);
  if (outcome !== undefined) {
    const proposed = await peer.json('hearth/pi5/audit', (entry: { id: string }) => entry.id === outcome.id);
    expect(proposed).toMatchObject({ step: 'proposed', source: 'picture', stream: 'door' });
  }
  // Asked for all the same, with the picture in a request.
  const asked = await ask({ image: media('008.png').toString('base64'), text: 'Turn on the light in the garden.' });
  expect(asked['ok']).toBe(true);
  for (const { name, status } of outcomesOf(asked)) expect(name === 'set_light').toBe(status !== 'refused');
});

test('hostile requests are refused with what was expected', async () => {
  for (const payload of [
    { text: 'x'.repeat(20_000) },
    { confirm: 5 },
    { confirm: 'a', text: 'x' },
    { text: 'x', functions: [] },
    { image: media('008.png').toString('base64') },
  ])
    expect(await ask(payload)).toMatchObject({ ok: false, error: { code: 'REQUEST_INVALID' } });
  expect(await ask({ confirm: '__proto__' })).toMatchObject({ ok: false, error: { code: 'CALL_NOT_PENDING' } });
});
