/** The access control example that ships does what it says, on a real Mosquitto. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MqttBus } from '../../../daemon/bus/mqtt-bus';
import { createBus } from '../../helpers/bus';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';

let directory: string;
let broker: Mosquitto;
let bus: MqttBus;
let camera: Peer;
let home: Peer;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-acl-'));
  const users = join(directory, 'users');
  for (const [index, name] of ['hearth', 'front_door', 'homeassistant', 'kiosk'].entries()) {
    const create = index === 0 ? ['-c'] : [];
    execFileSync('mosquitto_passwd', ['-b', ...create, users, name, 'secret'], { stdio: 'ignore' });
  }
  const acl = readFileSync(join(process.cwd(), 'daemon/bus/mosquitto.acl.example'), 'utf8');
  broker = await startMosquitto([`password_file ${users}`, 'acl_file DIR/acl'], { acl });
  bus = createBus(broker.url, {
    broker: {
      url: broker.url,
      credentials: () => ({ username: 'hearth', password: 'secret' }),
      rejectUnauthorized: true,
      protocol: 5,
      keepaliveSeconds: 30,
      reconnectMaxMs: 300,
    },
  });
  bus.start();
  await bus.ready();
  camera = await connectPeer(broker.url, ['hearth/#'], { username: 'front_door', password: 'secret' });
  home = await connectPeer(broker.url, ['hearth/#'], { username: 'homeassistant', password: 'secret' });
});

afterAll(async () => {
  await Promise.all([bus.close(), camera.close(), home.close()]);
  await broker.stop();
  rmSync(directory, { recursive: true, force: true });
});

test('the camera sends frames of its own stream, and hears and asks nothing', async () => {
  const frames: string[] = [];
  await bus.subscribe('hearth/in/+/frame', (topic) => frames.push(topic), { connection: 'ingest' });
  let asked = 0;
  bus.onRequest('caption', () => asked++);
  const refused = (topic: string): Promise<unknown> =>
    expect(camera.client.publishAsync(topic, 'x', { qos: 1 })).rejects.toThrow('Not authorized');
  await refused('hearth/in/back_door/frame');
  await refused('hearth/pi5/request/caption');
  await refused('hearth/pi5/state');
  await camera.client.publishAsync('hearth/in/front_door/frame', 'x', { qos: 1 });
  await home.client.publishAsync('hearth/pi5/request/caption', '{"id":"a"}', { qos: 1 });
  expect(await home.json('hearth/pi5/response/caption')).toMatchObject({ id: 'a', ok: true });
  expect(asked).toBe(1);
  expect(frames).toEqual(['hearth/in/front_door/frame']);
  expect(camera.heard).toEqual([]);
});

test('the daemon says that it is online, and may not speak for another node', async () => {
  expect(await home.json('hearth/pi5/state')).toEqual({ state: 'online' });
  await expect(bus.publish('hearth/other/state', 'x', { qos: 1 })).rejects.toMatchObject({
    code: 'BUS_PUBLISH_REFUSED',
  });
});

test('the daemon may what its plugins for other systems need, and no more', async () => {
  for (const topic of [
    'homeassistant/device/pi5/config',
    'zigbee2mqtt/kitchen/set',
    'hermes/asr/textCaptured',
    'hearth/pi5/service/light/turn_on',
    'hearth/in/kitchen/audio/end',
    'hearth/cluster/home/node/pi5',
    'hearth/cluster/home/response/generate',
  ])
    await expect(bus.publish(topic, 'x', { qos: 1 })).resolves.toBeUndefined();
  for (const topic of [
    'zigbee2mqtt/bridge/request/restart',
    'frigate/events',
    'hearth/in/kitchen/audio',
    'homeassistant/status',
    'hearth/cluster/home/node/pi4',
    'hearth/cluster/home/request/generate',
  ])
    await expect(bus.publish(topic, 'x', { qos: 1 })).rejects.toMatchObject({ code: 'BUS_PUBLISH_REFUSED' });
  const born = new Promise((resolve) => void bus.subscribe('homeassistant/status', resolve));
  await home.client.publishAsync('homeassistant/status', 'online', { qos: 1 });
  expect(await born).toBe('homeassistant/status');
});

test('a screen asks the model, and does not choose it', async () => {
  const kiosk = await connectPeer(broker.url, ['hearth/pi5/response/+'], { username: 'kiosk', password: 'secret' });
  const asked: string[] = [];
  for (const verb of ['generate', 'model/pull', 'model/load', 'stream/set'])
    bus.onRequest(verb, () => asked.push(verb));
  for (const verb of ['model/pull', 'model/load', 'stream/set']) {
    await expect(kiosk.client.publishAsync(`hearth/pi5/request/${verb}`, '{}', { qos: 1 })).rejects.toThrow(
      'Not authorized',
    );
  }
  await kiosk.client.publishAsync('hearth/pi5/request/generate', '{"id": "k"}', { qos: 1 });
  await kiosk.json('hearth/pi5/response/generate', ({ id }: { id: string }) => id === 'k');
  expect(asked).toEqual(['generate']);
  await kiosk.close();
});

test('the daemon hears its cluster, and frames may be shared', async () => {
  const heard: string[] = [];
  for (const filter of ['hearth/cluster/home/node/+', 'hearth/cluster/home/request/+', 'hearth/+/state'])
    await bus.subscribe(filter, (topic) => heard.push(topic), { qos: 1 });
  await bus.subscribe('hearth/in/+/frame', (topic) => heard.push(topic), {
    connection: 'ingest',
    shareGroup: 'hearth-home',
  });
  expect(bus.sharing).toBe(true);
  await bus.publish('hearth/cluster/home/node/pi5', 'x', { qos: 1 });
  await home.client.publishAsync('hearth/cluster/home/request/generate', '{}', { qos: 1 });
  await camera.client.publishAsync('hearth/in/front_door/frame', 'x', { qos: 1 });
  const expected = [
    'hearth/cluster/home/node/pi5',
    'hearth/cluster/home/request/generate',
    'hearth/in/front_door/frame',
  ];
  for (let attempt = 0; attempt < 300 && heard.length < expected.length; attempt++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  expect(heard.sort()).toEqual(expected);
});
