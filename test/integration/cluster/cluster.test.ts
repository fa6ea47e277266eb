/**
 * Three daemons with a real model on a real Mosquitto. One is stopped and goes on, one is killed, while jobs come: each is
 * answered once, with the text one node alone gives. Frames go on, and streams find another node.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Hearthd, startHearthd } from '../../helpers/hearthd';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';

jest.setTimeout(400_000);

const names = ['north', 'east', 'west'] as const;
const microphones = ['hall', 'attic', 'cellar', 'porch'];
const evaluation = JSON.parse(readFileSync(join(process.cwd(), 'test/fixtures/nano-eval/eval.json'), 'utf8')) as {
  readonly kind: string;
  readonly prompt: string;
}[];
const prompts = evaluation.filter(({ kind }) => kind === 'text').map(({ prompt }) => prompt);
const fixture = (name: string): Buffer => readFileSync(join(process.cwd(), 'test/fixtures/media', name));

interface Status {
  readonly leader: string | null;
  readonly members: readonly { readonly node: string; readonly rank: number; readonly streams: boolean }[];
  readonly frames: string;
  readonly assigned: readonly string[];
}

interface Response {
  readonly id: string | null;
  readonly ok: boolean;
  readonly data?: { readonly text: string };
  readonly error?: { readonly code: string };
}

let broker: Mosquitto;
let peer: Peer;
let asked = 0;
const daemons = new Map<string, Hearthd>();
/** What a single node said to each prompt. */
const expected: string[] = [];

async function until<T>(what: string, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const deadline = Date.now() + 120_000;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) {
      const outputs = Array.from(daemons, ([name, { output }]) => `${name}: ${output().slice(-1500)}`).join('\n');
      throw new Error(`waited in vain until ${what}\n${outputs}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function statusOf(node: string): Promise<Status> {
  const id = `health-${asked++}`;
  await peer.client.publishAsync(`hearth/${node}/request/health`, JSON.stringify({ id }), { qos: 1 });
  const answer = await peer.json(`hearth/${node}/response/health`, (response: { id: string }) => response.id === id);
  return (answer['data'] as { cluster: Status }).cluster;
}

/** Until all of `nodes` see each other, and no other, and have their streams. */
async function together(nodes: readonly string[]): Promise<Map<string, Status>> {
  return await until(`${nodes.join(', ')} are together`, async () => {
    const all = new Map<string, Status>();
    for (const node of nodes) all.set(node, await statusOf(node));
    const agree = Array.from(all.values()).every(
      ({ members, leader }) =>
        leader !== null &&
        members.length === nodes.length &&
        members.every(({ node, rank, streams }) => nodes.includes(node) && rank > 0 && streams),
    );
    return agree ? all : undefined;
  });
}

/** Topic and response of everything that was answered to a job of a batch, as it came. */
function answersTo(batch: string): Response[] {
  return peer.heard
    .filter(({ topic }) => topic === 'hearth/cluster/home/response/generate')
    .map(({ payload }) => JSON.parse(payload.toString()) as Response)
    .filter(({ id }) => id?.startsWith(`${batch}-`) === true);
}

async function ask(batch: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const payload = JSON.stringify({ id: `${batch}-${i}`, prompt: prompts[i % expected.length], maxTokens: 48 });
    await peer.client.publishAsync('hearth/cluster/home/request/generate', payload, { qos: 1 });
  }
}

const answered = async (batch: string, count: number): Promise<void> => {
  await until(`${count} jobs of ${batch} are answered`, () =>
    new Set(answersTo(batch).map(({ id }) => id)).size >= count ? true : undefined,
  );
};

/** Every id once, with the text a single node gives. */
function expectOnce(batch: string, count: number): void {
  const answers = answersTo(batch);
  const numberOf = ({ id }: Response): number => Number(id?.split('-')[1]);
  expect(answers.map(numberOf).sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
  for (const answer of answers) {
    expect({ id: answer.id, ok: answer.ok, error: answer.error, text: answer.data?.text }).toEqual({
      id: answer.id,
      ok: true,
      error: undefined,
      text: expected[numberOf(answer) % expected.length],
    });
  }
}

beforeAll(async () => {
  broker = await startMosquitto();
  peer = await connectPeer(broker.url, ['hearth/#']);
  const microphone = { kind: 'microphone', audio: { mode: 'push-to-talk' } };
  for (const node of names) {
    const daemon = await startHearthd(broker.url, peer, {
      node,
      cluster: { name: 'home', leaseSeconds: 4, holdSeconds: 1 },
      streams: {
        door: { kind: 'camera', minIntervalMs: 0, duplicateThreshold: 0 },
        ...Object.fromEntries(microphones.map((name) => [name, microphone])),
      },
    });
    daemons.set(node, daemon);
  }
  await together(names);
  for (const [i, prompt] of prompts.slice(0, 12).entries()) {
    const payload = JSON.stringify({ id: `alone-${i}`, prompt, maxTokens: 48 });
    await peer.client.publishAsync('hearth/north/request/generate', payload, { qos: 1 });
    const answer = await peer.json('hearth/north/response/generate', ({ id }: Response) => id === `alone-${i}`);
    expected.push((answer as unknown as Required<Response>).data.text);
  }
});

afterAll(async () => {
  await Promise.all(Array.from(daemons.values(), (daemon) => daemon.stop()));
  await peer.close();
  await broker.stop();
});

test('the broker shares frames out among the nodes, and each microphone has one node', async () => {
  const all = await together(names);
  for (const { frames } of all.values()) expect(frames).toBe('shared');
  const assigned = Array.from(all.values()).flatMap((status) => status.assigned);
  expect(assigned.sort()).toEqual([...microphones].sort());
  await until('every node has described a frame', async () => {
    await peer.client.publishAsync('hearth/in/door/frame', fixture('tree.png'));
    const by = new Set(peer.heard.flatMap(({ topic }) => /^hearth\/(\w+)\/out\/door\/caption$/.exec(topic)?.[1] ?? []));
    return by.size === names.length ? true : undefined;
  });
});

test('a requester’s response topic and correlation data are honoured, and what is no request is refused once', async () => {
  const asker = await connectPeer(broker.url, ['asker/answers']);
  const ask5 = async (payload: string): Promise<void> => {
    await asker.client.publishAsync('hearth/cluster/home/request/generate', payload, {
      qos: 1,
      properties: { responseTopic: 'asker/answers', correlationData: Buffer.from('c-1') },
    });
  };
  await ask5(JSON.stringify({ id: 'five', prompt: prompts[0], maxTokens: 48 }));
  const { payload, packet } = await asker.waitFor(({ topic }) => topic === 'asker/answers');
  expect(JSON.parse(payload.toString())).toMatchObject({ id: 'five', ok: true, data: { text: expected[0] } });
  expect(packet.properties?.correlationData?.toString()).toBe('c-1');

  const refused = (topic: string) => (): Response[] =>
    peer.heard
      .filter((heard) => heard.topic === topic)
      .map((heard) => JSON.parse(heard.payload.toString()) as Response);
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
    const of = refused(`hearth/cluster/home/response/${verb}`);
    await until(`${verb} is refused`, () => (of().length > 0 ? true : undefined));
    expect(of()).toMatchObject([{ ok: false, error: { code } }]);
  }
  // Whoever writes to a node's topic what is no message harms nobody.
  await peer.client.publishAsync('hearth/cluster/home/node/north', '{"type":"grant","job":"x"}', { qos: 1 });
  await peer.client.publishAsync('hearth/cluster/home/node/stranger', Buffer.alloc(40_000, 0x7b), { qos: 1 });
  await together(names);
  await asker.close();
});

test('the leader is stopped in the middle of 60 jobs and goes on later: each is answered once', async () => {
  const leader = (await statusOf('north')).leader ?? '';
  const pid = daemons.get(leader)?.pid ?? 0;
  await ask('stopped', 60);
  await answered('stopped', 8);
  process.kill(pid, 'SIGSTOP');
  try {
    expect(answersTo('stopped').length).toBeLessThan(60);
    await answered('stopped', 60);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  // Once it is one of them again, whatever it still had to say has been said.
  await together(names);
  await ask('later', 12);
  await answered('later', 12);
  expectOnce('stopped', 60);
  expectOnce('later', 12);
});

test('the leader is killed in the middle of 60 jobs: each is answered once, frames go on, microphones move', async () => {
  const before = await together(names);
  const leader = before.get('north')?.leader ?? '';
  const left = names.filter((name) => name !== leader);
  await ask('killed', 60);
  await answered('killed', 8);
  process.kill(daemons.get(leader)?.pid ?? 0, 'SIGKILL');
  expect(answersTo('killed').length).toBeLessThan(60);
  await answered('killed', 60);
  const after = await together(left);
  await ask('after', 12);
  await answered('after', 12);
  expectOnce('killed', 60);
  expectOnce('after', 12);

  const assigned = Array.from(after.values()).flatMap((status) => status.assigned);
  expect(assigned.sort()).toEqual([...microphones].sort());
  const moved = before.get(leader)?.assigned[0] ?? microphones[0] ?? '';
  await peer.client.publishAsync(`hearth/in/${moved}/audio`, fixture('speech-002.wav'));
  await peer.client.publishAsync(`hearth/in/${moved}/audio/end`, '{}', { qos: 1 });
  const isTranscript = (topic: string): boolean => topic.endsWith(`/out/${moved}/transcript`);
  const owner = left.find((name) => after.get(name)?.assigned.includes(moved)) ?? '';
  await until('it is transcribed', () => peer.heard.find(({ topic }) => isTranscript(topic)));
  const topics = peer.heard.filter(({ topic }) => isTranscript(topic)).map(({ topic }) => topic);
  expect(topics).toEqual([`hearth/${owner}/out/${moved}/transcript`]);

  const heard = peer.heard.length;
  await until('both that are left have described a frame', async () => {
    await peer.client.publishAsync('hearth/in/door/frame', fixture('tree.png'));
    const topicsSince = peer.heard.slice(heard).map(({ topic }) => topic);
    return left.every((name) => topicsSince.includes(`hearth/${name}/out/door/caption`)) ? true : undefined;
  });
});
