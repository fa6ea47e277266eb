/** Without MQTT 5, without shared subscriptions, on another broker than Mosquitto: each camera has a node, jobs are the same. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import { type EmbeddedBroker, startEmbeddedBroker } from '../../../daemon/bus/embedded-broker';
import { Fleet } from './fleet';

jest.setTimeout(400_000);

const names = ['left', 'right'] as const;

let broker: EmbeddedBroker;
let fleet: Fleet;

beforeAll(async () => {
  broker = await startEmbeddedBroker({ port: 0, maxPacketBytes: 8 << 20, log: pino({ level: 'silent' }) });
  const door = { kind: 'camera', minIntervalMs: 0, duplicateThreshold: 0 };
  const mqtt = { url: broker.url, protocol: 4 };
  fleet = await Fleet.start(broker.url, names, { mqtt, streams: { door } }, 4);
});

afterAll(async () => {
  await fleet.stop();
  await broker.close();
});

test('a camera has one node and another when that is killed; jobs in the middle are answered once', async () => {
  const before = await fleet.together(names);
  const owners = names.filter((name) => before.get(name)?.assigned.includes('door'));
  expect(owners).toHaveLength(1);
  const [owner = ''] = owners;
  const other = names.find((name) => name !== owner) ?? '';
  for (const { frames } of before.values()) expect(frames).toBe('assigned');
  const show = async (by: string, since: number): Promise<void> => {
    await fleet.until(`${by} describes a frame`, async () => {
      const picture = readFileSync(join(process.cwd(), 'test/fixtures/media/tree.png'));
      await fleet.peer.client.publishAsync('hearth/in/door/frame', picture);
      return fleet.nodesThatSaid('door', 'caption', since).includes(by) ? true : undefined;
    });
  };
  await show(owner, 0);
  expect(new Set(fleet.nodesThatSaid('door', 'caption'))).toEqual(new Set([owner]));

  await fleet.ask('killed', 30);
  await fleet.answered('killed', 4);
  fleet.signal(owner, 'SIGKILL');
  await fleet.answered('killed', 30);
  await fleet.together([other]);
  await fleet.ask('after', 6);
  await fleet.answered('after', 6);
  fleet.expectOnce('killed', 30);
  fleet.expectOnce('after', 6);
  await show(other, fleet.peer.heard.length);
});
