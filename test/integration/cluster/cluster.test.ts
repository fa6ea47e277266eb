/**
 * Three daemons with a real model on a real Mosquitto. One is stopped and goes on, one is killed, while jobs come: each is
 * answered once, with the text one node alone gives. Frames go on, and streams find another node.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';
import { Fleet, prompts, type Response, responseOf } from './fleet';

jest.setTimeout(400_000);

const names = ['north', 'east', 'west'] as const;
const microphones = ['hall', 'attic', 'cellar', 'porch'];
const fixture = (name: string): Buffer => readFileSync(join(process.cwd(), 'test/fixtures/media', name));

let broker: Mosquitto;
let fleet: Fleet;
let peer: Peer;

beforeAll(async () => {
  broker = await startMosquitto();
  const microphone = { kind: 'microphone', audio: { mode: 'push-to-talk' } };
  fleet = await Fleet.start(broker.url, names, {
    streams: {
      door: { kind: 'camera', minIntervalMs: 0, duplicateThreshold: 0 },
      ...Object.fromEntries(microphones.map((name) => [name, microphone])),
    },
  });
  peer = fleet.peer;
});

afterAll(async () => {
  await fleet.stop();
  await broker.stop();
});

test('the broker shares frames out among the nodes, and each microphone has one node', async () => {
  const all = await fleet.together(names);
  for (const { frames } of all.values()) expect(frames).toBe('shared');
  const assigned = Array.from(all.values()).flatMap((status) => status.assigned);
  expect(assigned.sort()).toEqual([...microphones].sort());
  await fleet.until('every node has described a frame', async () => {
    await peer.client.publishAsync('hearth/in/door/frame', fixture('tree.png'));
    return new Set(fleet.nodesThatSaid('door', 'caption')).size === names.length ? true : undefined;
  });
});

test('a requester’s response topic and correlation data are honoured, and what is no request is refused once', async () => {
  const asker = await connectPeer(broker.url, ['asker/answers']);
  await asker.client.publishAsync(
    'hearth/cluster/home/request/generate',
    JSON.stringify({ id: 'five', prompt: prompts[0], maxTokens: 48 }),
    { qos: 1, properties: { responseTopic: 'asker/answers', correlationData: Buffer.from('c-1') } },
  );
  const { payload, packet } = await asker.waitFor(({ topic }) => topic === 'asker/answers');
  expect(JSON.parse(payload.toString())).toMatchObject({ id: 'five', ok: true, data: { text: fleet.expected[0] } });
  expect(packet.properties?.correlationData?.toString()).toBe('c-1');

  const answers = (verb: string): Response[] =>
    peer.heard.filter(({ topic }) => topic === `hearth/cluster/home/response/${verb}`).map(responseOf);
  const send = async (verb: string, text: string): Promise<void> => {
    await peer.client.publishAsync(`hearth/cluster/home/request/${verb}`, text, { qos: 1 });
  };
  await send('describe', '{"id": "nobody"}');
  await send('caption', '{"image": ');
  await send('health', '{"id": "whose"}');
  for (const [verb, code] of [
    ['describe', 'REQUEST_UNKNOWN_VERB'],
    ['caption', 'REQUEST_BAD_JSON'],
    ['health', 'REQUEST_UNKNOWN_VERB'],
  ] as const) {
    await fleet.until(`${verb} is refused`, () => answers(verb)[0]);
    expect(answers(verb)).toMatchObject([{ ok: false, error: { code } }]);
  }
  // Whoever writes to a node's topic what is no message harms nobody.
  await peer.client.publishAsync('hearth/cluster/home/node/north', '{"type":"grant","job":"x"}', { qos: 1 });
  await peer.client.publishAsync('hearth/cluster/home/node/stranger', Buffer.alloc(40_000, 0x7b), { qos: 1 });
  await fleet.together(names);
  await asker.close();
});

test('the leader is stopped in the middle of 60 jobs and goes on later: each is answered once', async () => {
  const leader = (await fleet.statusOf('north')).leader ?? '';
  await fleet.ask('stopped', 60);
  await fleet.answered('stopped', 8);
  fleet.signal(leader, 'SIGSTOP');
  try {
    expect(fleet.answersTo('stopped').length).toBeLessThan(60);
    await fleet.answered('stopped', 60);
  } finally {
    fleet.signal(leader, 'SIGCONT');
  }
  // Once it is one of them again, whatever it still had to say has been said.
  await fleet.together(names);
  await fleet.ask('later', 12);
  await fleet.answered('later', 12);
  fleet.expectOnce('stopped', 60);
  fleet.expectOnce('later', 12);
});

test('the leader is killed in the middle of 60 jobs: each is answered once, frames go on, microphones move', async () => {
  const before = await fleet.together(names);
  const leader = before.get('north')?.leader ?? '';
  const left = names.filter((name) => name !== leader);
  await fleet.ask('killed', 60);
  await fleet.answered('killed', 8);
  fleet.signal(leader, 'SIGKILL');
  expect(fleet.answersTo('killed').length).toBeLessThan(60);
  await fleet.answered('killed', 60);
  const after = await fleet.together(left);
  await fleet.ask('after', 12);
  await fleet.answered('after', 12);
  fleet.expectOnce('killed', 60);
  fleet.expectOnce('after', 12);

  const assigned = Array.from(after.values()).flatMap((status) => status.assigned);
  expect(assigned.sort()).toEqual([...microphones].sort());
  const moved = before.get(leader)?.assigned[0] ?? microphones[0] ?? '';
  await peer.client.publishAsync(`hearth/in/${moved}/audio`, fixture('speech-002.wav'));
  await peer.client.publishAsync(`hearth/in/${moved}/audio/end`, '{}', { qos: 1 });
  const owner = left.find((name) => after.get(name)?.assigned.includes(moved)) ?? '';
  await fleet.until('it is transcribed', () => fleet.nodesThatSaid(moved, 'transcript')[0]);
  expect(fleet.nodesThatSaid(moved, 'transcript')).toEqual([owner]);

  const heard = peer.heard.length;
  await fleet.until('both that are left have described a frame', async () => {
    await peer.client.publishAsync('hearth/in/door/frame', fixture('tree.png'));
    const said = fleet.nodesThatSaid('door', 'caption', heard);
    return left.every((name) => said.includes(name)) ? true : undefined;
  });
});
