/** With other nodes: which streams are subscribed to together, and whose messages are taken. */
import type { MessageHandler, SubscribeOptions } from '../../../daemon/bus/bus';
import { matchesFilter, Topics } from '../../../daemon/bus/topics';
import { loadConfig } from '../../../daemon/config';
import { streamsOptions } from '../../../daemon/streams/options';
import { Streams } from '../../../daemon/streams/streams';
import { makeParts } from './support';

const config = loadConfig({ env: {} });
const { camera, microphone } = config.defaults;
const options = streamsOptions({
  ...config,
  streams: {
    door: { ...camera, kind: 'camera', topics: ['cam/door'] },
    drive: {
      ...camera,
      kind: 'camera',
      topics: ['cam/drive'],
      clip: { seconds: 10, maxTokens: 2048, sound: 'drive_mic' },
    },
    drive_mic: { ...microphone, kind: 'microphone', topics: [] },
    hall: { ...microphone, kind: 'microphone', topics: [] },
  },
});

interface Subscribed {
  readonly filter: string;
  readonly handler: MessageHandler;
  readonly options: SubscribeOptions | undefined;
}

const running: Streams[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((streams) => streams.stop()));
});

/** `has`: the keys that are this node's. */
async function started(has: readonly string[], shareGroup: string | undefined, given = options) {
  const { dispatcher, store, skips } = makeParts();
  const subscribed: Subscribed[] = [];
  const streams = new Streams({
    options: given,
    bus: {
      subscribe: async (filter, handler, subscribeOptions) => {
        subscribed.push({ filter, handler, options: subscribeOptions });
        return async () => undefined;
      },
    },
    topics: new Topics('hearth', 'test'),
    dispatcher,
    store,
    skips,
    log: { info: () => undefined, warn: () => undefined },
    placement: { shareGroup, owns: (key) => has.includes(key) },
  });
  await streams.start();
  running.push(streams);
  /** As a broker does: to every subscription, or with `shared` to those of the group and as chosen for this node. */
  const send = (topic: string, shared: boolean): void => {
    for (const { filter, handler, options: by } of subscribed) {
      if (!matchesFilter(filter, topic) || (by?.shareGroup === undefined && shared)) continue;
      const chosen = by?.shareGroup !== undefined && shared;
      handler(topic, Buffer.from('x'), {
        retain: false,
        receivedTs: 1,
        properties: {},
        ...(chosen && { shared: true }),
      });
    }
  };
  const received = (): Record<string, number> =>
    Object.fromEntries(Object.entries(streams.stats()).map(([name, stats]) => [name, stats.received]));
  return { streams, subscribed, send, received };
}

test('frames are shared; what is gathered into clips, and sound, is subscribed to apart', async () => {
  const { subscribed } = await started([], 'g');
  const filters = (shared: boolean): string[] =>
    subscribed.filter(({ options: by }) => (by?.shareGroup === 'g') === shared).map(({ filter }) => filter);
  expect(filters(true)).toEqual(['hearth/in/+/frame', 'cam/door', 'frigate/+/+/snapshot']);
  expect(filters(false)).toEqual([
    'hearth/in/drive/frame',
    'hearth/in/+/audio',
    'hearth/in/+/audio/end',
    'cam/drive',
    'frigate/+/+/snapshot',
  ]);
});

test('a frame that the broker chose this node for is taken, whoever has the stream', async () => {
  const { send, received } = await started([], 'g');
  for (const topic of ['hearth/in/door/frame', 'cam/door', 'hearth/in/unlisted/frame', 'frigate/porch/person/snapshot'])
    send(topic, true);
  expect(received()).toEqual({ door: 2, unlisted: 1, porch: 1 });
});

test('a clip’s camera and its microphone go to the node that has the microphone; others leave no trace', async () => {
  for (const [has, expected] of [
    [['drive_mic'], { drive: 2, drive_mic: 1 }],
    [['drive'], {}],
    [['hall'], { hall: 1 }],
  ] as const) {
    const { send, received, streams } = await started(has, 'g');
    for (const topic of ['hearth/in/drive/frame', 'cam/drive', 'hearth/in/drive_mic/audio', 'hearth/in/hall/audio'])
      send(topic, false);
    expect(received()).toEqual(expected);
    expect(streams.assigned().sort()).toEqual(Object.keys(expected));
  }
});

test('a broker that hands everything to everyone leaves it to the owner, once', async () => {
  const { send, received } = await started(['door', 'drive_mic'], 'g');
  for (const topic of ['hearth/in/door/frame', 'hearth/in/drive/frame', 'hearth/in/other/frame']) send(topic, false);
  expect(received()).toEqual({ door: 1, drive: 1 });
});

test('where each camera is to have a node, and where all make clips, nothing is shared', async () => {
  const assigned = await started(['door'], undefined);
  expect(assigned.subscribed.map(({ options: by }) => by?.shareGroup)).not.toContain('g');
  assigned.send('hearth/in/door/frame', false);
  assigned.send('hearth/in/drive/frame', false);
  expect(assigned.received()).toEqual({ door: 1 });

  const { defaults } = options;
  const clip = { seconds: 5, maxTokens: 1024 };
  const clips = { ...defaults.camera, options: { ...defaults.camera.options, clip } };
  const all = await started(['other'], 'g', { ...options, inputs: [], defaults: { ...defaults, camera: clips } });
  expect(all.subscribed.map(({ options: by }) => by?.shareGroup)).not.toContain('g');
  all.send('hearth/in/other/frame', false);
  all.send('hearth/in/some/frame', false);
  expect(all.received()).toEqual({ other: 1 });
});
