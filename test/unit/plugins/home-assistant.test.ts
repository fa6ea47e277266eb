import { startPlugin } from '@hearth/testkit';
import homeAssistant from '../../../plugins/home-assistant';
import { type DeviceFacts, deviceDiscovery } from '../../../plugins/home-assistant/discovery';
import { Facts } from '../../../plugins/home-assistant/facts';
import { callOf, isAllowed, serviceTopic, toService } from '../../../plugins/home-assistant/services';
import { discoveryProblems, fields } from '../../helpers/discovery-fields';

const facts: DeviceFacts = {
  base: 'hearth',
  node: 'pi-5',
  name: 'The hearth',
  version: '1.2.3',
  model: 'nano',
  streams: [
    { name: 'front-door', kind: 'camera', imageTopic: 'hearth/in/front-door/frame' },
    { name: 'kitchen', kind: 'microphone' },
  ],
  images: true,
  imageType: 'image/jpeg',
  updateTopic: 'hearth/pi-5/plugin/home-assistant/update',
  hasSources: true,
};

describe('the discovery payload', () => {
  const discovery = deviceDiscovery(facts);

  test('has only names Home Assistant publishes, and all it needs', () => {
    expect(discoveryProblems({ ...discovery })).toEqual([]);
    const platforms = Object.values(discovery.cmps).map(({ p }) => p);
    expect([...new Set(platforms)].sort()).toEqual(['event', 'image', 'notify', 'sensor', 'switch', 'update']);
  });

  test('installs the newest model by a request of the daemon, where there are models to install', () => {
    expect(discovery.cmps['model_update']).toMatchObject({
      p: 'update',
      stat_t: 'hearth/pi-5/model/update',
      cmd_t: 'hearth/pi-5/request/model/pull',
      pl_inst: '{"load":true}',
    });
    expect(deviceDiscovery({ ...facts, hasSources: false }).cmps['model_update']).toEqual({ p: 'update' });
  });

  test('the check of names finds what is wrong', () => {
    const { cmps, dev, o, ...rest } = discovery;
    expect(discoveryProblems({ ...rest, cmps, o: { sw: '1' }, dev: { ...dev, identifer: 1 }, device_name: 1 })).toEqual(
      ['payload: device_name is no field of it', 'dev: identifer is no field of it', 'o: name is missing'],
    );
    expect(
      discoveryProblems({
        ...rest,
        o,
        dev,
        cmps: { a: { p: 'sensor', uniq_id: 'x', cmd_t: 'y' }, b: { p: 'lamp' }, c: { p: 'notify', cmd_t: 'x' } },
      }),
    ).toEqual([
      'a: command_topic is no field of it',
      'a: state_topic is missing',
      'b: lamp is no platform',
      'c: unique_id is missing',
    ]);
  });

  test('ids are unique, entity ids are of their platform and of letters Home Assistant allows', () => {
    const entities = Object.values(discovery.cmps);
    expect(new Set(entities.map((entity) => entity['uniq_id'])).size).toBe(entities.length);
    for (const { p, def_ent_id: id } of entities) expect(id).toMatch(new RegExp(`^${p}\\.[a-z0-9_]+$`));
  });

  test('a camera: what it saw, its events, its picture, its switch, its question', () => {
    expect(discovery.cmps['front-door_caption']).toEqual({
      p: 'sensor',
      uniq_id: 'hearth_pi-5_front-door_caption',
      def_ent_id: 'sensor.hearth_pi_5_front_door_caption',
      name: 'front door caption',
      stat_t: 'hearth/pi-5/out/front-door/caption/last',
      val_tpl: "{{ value_json.summary | default('', true) }}",
      json_attr_t: 'hearth/pi-5/out/front-door/caption/last',
      ic: 'mdi:image-text',
    });
    expect(discovery.cmps['front-door_events']).toMatchObject({
      stat_t: 'hearth/pi-5/out/front-door/events',
      evt_typ: ['caption', 'call', 'answer', 'error'],
    });
    expect(discovery.cmps['front-door_image']).toMatchObject({
      img_t: 'hearth/in/front-door/frame',
      cont_type: 'image/jpeg',
    });
    const { cmd_t, pl_on, pl_off } = discovery.cmps['front-door_enabled'] as unknown as Record<string, string>;
    expect([cmd_t, pl_on, pl_off].map((text) => text?.replaceAll('"', "'"))).toEqual([
      'hearth/pi-5/request/stream/set',
      "{'stream':'front-door','enabled':true}",
      "{'stream':'front-door','enabled':false}",
    ]);
    expect(discovery.cmps['front-door_ask']).toMatchObject({
      cmd_t: 'hearth/pi-5/request/generate',
      cmd_tpl: '{"prompt": {{ value | tojson }}, "stream": "front-door", "temperature": 0, "look": true}',
    });
    expect(discovery.cmps['kitchen_ask']).toMatchObject({
      cmd_tpl: '{"prompt": {{ value | tojson }}, "stream": "kitchen", "temperature": 0}',
    });
    expect(discovery.avty).toEqual([{ t: 'hearth/pi-5/state', val_tpl: '{{ value_json.state }}' }]);
  });

  test('without leave to show pictures, an image entity that was there is removed', () => {
    expect(deviceDiscovery({ ...facts, images: false }).cmps['front-door_image']).toEqual({ p: 'image' });
  });
});

describe('what is known of the streams', () => {
  const info = (more: object = {}) => ({
    version: '0.1.0',
    model: { name: 'nano' },
    streams: [
      { name: 'hall', kind: 'camera', topics: [] },
      { name: 'door', kind: 'camera', topics: ['cams/door'] },
      { name: 'mic', kind: 'microphone', topics: ['x'] },
    ],
    inputs: { cameras: ['frigate/{stream}/+/snapshot'], microphones: [] },
    ...more,
  });

  test('configured ones come first, others with their first caption or transcript', () => {
    const known = new Facts('hearth', 'pi5');
    known.takeInfo('pi5', info());
    const events = [
      ['garage', 'caption', 'frigate/Garage/car/snapshot'],
      ['garage', 'caption', 'frigate/Garage/person/snapshot'],
      ['yard', 'caption', 'frigate/events'],
      ['sofa', 'transcript', 'hearth/in/sofa/audio'],
      ['hall', 'caption', 'hearth/in/hall/frame'],
      ['noise', 'skipped', 'hearth/in/noise/frame'],
    ];
    const learned = events.map(([stream, kind, topic]) => known.takeEvent({ stream, kind, source: { topic } }));
    expect(learned).toEqual([true, false, true, true, true, false]);
    expect(known.streams()).toEqual([
      { name: 'hall', kind: 'camera', imageTopic: 'hearth/in/hall/frame' },
      { name: 'door', kind: 'camera', imageTopic: 'cams/door' },
      { name: 'mic', kind: 'microphone' },
      { name: 'garage', kind: 'camera', imageTopic: 'frigate/Garage/+/snapshot' },
      { name: 'yard', kind: 'camera', imageTopic: 'hearth/in/yard/frame' },
      { name: 'sofa', kind: 'microphone' },
    ]);
  });

  test('the newest version on the broker, whoever runs it', () => {
    const known = new Facts('hearth', 'pi5');
    known.takeInfo('pi5', info());
    known.takeInfo('jetson', { version: '0.10.0' });
    known.takeInfo('old', { version: '0.9.9' });
    known.takeInfo('odd', { version: 'latest' });
    expect([known.info?.version, known.newest]).toEqual(['0.1.0', '0.10.0']);
  });

  test('hostile messages teach nothing, and not without end', () => {
    const known = new Facts('hearth', 'pi5');
    for (const value of [null, 5, 'x', [], {}, { version: 5 }, { version: '1.0.0', streams: 'x', inputs: [] }])
      known.takeInfo('pi5', value);
    expect(known.info).toMatchObject({ version: '1.0.0', model: 'no model', streams: [], patterns: [] });
    for (const stream of ['a/b', '', 5, '{{ 1 }}', 'ABC', null])
      expect(known.takeEvent({ stream, kind: 'caption', source: null })).toBe(false);
    for (const kind of ['__proto__', 'constructor', 5]) expect(known.takeEvent({ stream: 'a', kind })).toBe(false);
    for (let i = 0; i < 1000; i++) known.takeEvent({ stream: `s${i}`, kind: 'caption' });
    expect(known.streams()).toHaveLength(64);
  });
});

describe('calls', () => {
  const event = (name: unknown, args: unknown = {}) => ({
    id: '01A',
    stream: 'kitchen',
    call: { name, arguments: args },
  });

  test('target and data are told apart', () => {
    const called = callOf(
      event('light.turn_on', { entity_id: ['light.a', 'light.b'], brightness_pct: 40, area_id: 'hall' }),
    );
    const message = called === undefined ? undefined : toService(called);
    expect(message).toEqual({
      domain: 'light',
      service: 'turn_on',
      payload: {
        action: 'light.turn_on',
        target: { entity_id: ['light.a', 'light.b'], area_id: 'hall' },
        data: { brightness_pct: 40 },
        stream: 'kitchen',
        id: '01A',
      },
    });
    expect(message && serviceTopic('ha/{domain}/do/{service}', message)).toBe('ha/light/do/turn_on');
    expect(
      message && [null, ['light.*'], ['light.turn_on'], ['light.turn_off'], []].map((list) => isAllowed(message, list)),
    ).toEqual([true, true, true, false, false]);
  });

  test.each([
    null,
    5,
    {},
    { ...event('light.turn_on'), id: 5 },
    event(5),
    event('light.turn_on', []),
    { ...event('x'), call: null },
    { ...event('light.turn_on'), dry_run: true },
    event('set_light'),
    event('light.turn_on/x'),
    event('light.turn.on'),
    event('Light.turn_on'),
    event('../x.y'),
    event('+.#'),
  ])('%j is none', (value) => {
    const called = callOf(value);
    expect(called === undefined ? undefined : toService(called)).toBeUndefined();
  });

  test('are passed on once, if they are among the services', async () => {
    const plugin = await startPlugin(homeAssistant, {
      config: { services: ['light.*'], serviceTopic: 'ha/{domain}/{service}' },
    });
    await plugin.receive('hearth/pi5/out/kitchen/call', event('light.turn_on', { entity_id: 'light.a' }));
    await plugin.receive('hearth/pi5/out/kitchen/call', event('light.turn_on', { entity_id: 'light.a' }));
    await plugin.receive('hearth/pi5/out/kitchen/call', { ...event('lock.unlock'), id: '01B' });
    await expect(plugin.receive('hearth/pi5/out/kitchen/call', '{')).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    expect(plugin.published).toEqual([
      {
        topic: 'ha/light/turn_on',
        payload: expect.stringContaining('"target":{"entity_id":"light.a"}') as string,
        options: { qos: 1, retain: false },
      },
    ]);
    expect(plugin.warnings()).toMatchObject([{ msg: 'lock.unlock is not passed on: it is not among the services' }]);
  });
});

test('nothing is announced before the daemon has said what it is; at a birth everything is said again', async () => {
  const plugin = await startPlugin(homeAssistant, { config: { discoveryPrefix: 'ha/discovery' } });
  await plugin.receive('ha/discovery/status', 'online');
  expect(plugin.published).toEqual([]);
  await plugin.receive('hearth/pi5/info', { version: '0.1.0', model: null });
  await plugin.receive('ha/discovery/status', 'offline');
  expect(plugin.published).toEqual([]);
  await plugin.receive('ha/discovery/status', 'online');
  await plugin.receive('ha/discovery/status', 'online');
  expect(plugin.published.map(({ topic, options }) => [topic, options])).toEqual(
    [1, 2].flatMap(() => [
      ['ha/discovery/device/pi5/config', { qos: 1, retain: true }],
      ['hearth/pi5/plugin/home-assistant/update', { qos: 1, retain: true }],
    ]),
  );
  const update = JSON.parse(String(plugin.published[1]?.payload)) as object;
  expect(Object.keys(update).filter((name) => !fields.updateState.includes(name))).toEqual([]);
});
