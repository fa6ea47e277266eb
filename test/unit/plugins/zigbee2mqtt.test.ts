import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { contentOf, request, segment, startPlugin } from '@hearth/testkit';
import { describeFunctions, replySchema } from '../../../daemon/calls';
import zigbee2mqtt from '../../../plugins/zigbee2mqtt';
import { type DeviceFilter, declarationsOf, parseDevices } from '../../../plugins/zigbee2mqtt/devices';
import { parseReply } from '../../../plugins/zigbee2mqtt/reply';

const text = readFileSync(join(process.cwd(), 'test/fixtures/home/zigbee2mqtt-devices.json'), 'utf8');
const all: DeviceFilter = {
  types: ['light', 'switch', 'cover', 'lock', 'fan', 'climate'],
  devices: null,
  deviceArgument: 'device',
};
const parse = (value: unknown, filter: Partial<DeviceFilter> = {}) =>
  parseDevices('z/bridge/devices', Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), {
    ...all,
    ...filter,
  });
const rooms = ['kitchen', 'bedroom', 'living_room', 'garage', 'office', 'hallway'];

const device = (friendly_name: unknown, features: unknown, type: unknown = 'light') => ({
  friendly_name,
  definition: { exposes: [{ type, features }] },
});
const state = { type: 'binary', name: 'state', property: 'state', access: 7, value_on: 'ON', value_off: 'OFF' };

test('the list of devices becomes what can be said', () => {
  const { functions, devices, refused } = parse(text);
  expect([devices, refused]).toEqual([8, []]);
  expect(
    functions.map(({ name, argument, property, value, devices: on }) => [name, argument, property, value, on]),
  ).toEqual([
    ['set_light', 'on', 'state', { type: 'boolean' }, rooms],
    ['set_light_brightness', 'brightness', 'brightness', { type: 'integer', minimum: 0, maximum: 254 }, rooms],
    ['set_cover_state', 'state', 'state', { enum: ['OPEN', 'CLOSE', 'STOP'] }, ['blinds/office']],
    ['set_cover_position', 'position', 'position', { type: 'integer', minimum: 0, maximum: 100 }, ['blinds/office']],
    ['set_lock', 'locked', 'state', { type: 'boolean' }, ['front_door']],
  ]);
  expect(parse(text, { types: ['cover'] }).functions.map(({ name }) => name)).toEqual([
    'set_cover_state',
    'set_cover_position',
  ]);
  expect(parse(text, { devices: ['garage', 'nowhere'] }).functions.map(({ devices: on }) => on)).toEqual([
    ['garage'],
    ['garage'],
  ]);
});

test('the schema of a reply, and the functions as a prompt shows them', () => {
  const { functions } = parse(text, { devices: ['garage'] });
  expect(replySchema(declarationsOf(functions, 'room'))).toEqual({
    anyOf: [
      {
        type: 'object',
        properties: {
          name: { const: 'set_light' },
          arguments: {
            type: 'object',
            properties: { room: { enum: ['garage'] }, on: { type: 'boolean' } },
            required: ['room', 'on'],
            additionalProperties: false,
          },
        },
        required: ['name', 'arguments'],
        additionalProperties: false,
      },
      expect.objectContaining({
        properties: expect.objectContaining({ name: { const: 'set_light_brightness' } }) as object,
      }),
      { type: 'null' },
    ],
  });
  expect(describeFunctions(declarationsOf(functions, 'room')).split('\n')).toHaveLength(2);
});

test('parts of a device with several have names of their own; an argument does not hide the device', () => {
  const parts = ['state_l1', 'state_l2'].map((property) => ({ ...state, property }));
  expect(parse([device('plug', parts, 'switch')]).functions.map(({ name, argument }) => [name, argument])).toEqual([
    ['set_switch_l1', 'on'],
    ['set_switch_l2', 'on'],
  ]);
  expect(parse([device('plug', [state])], { deviceArgument: 'on' }).functions).toEqual([]);
});

test.each([
  ['read only', { ...state, access: 1 }],
  ['a setting of the device', { ...state, category: 'config' }],
  ['no access', { ...state, access: undefined }],
  ['a property that is none', { ...state, property: '__proto__' }],
  ['a property with spaces', { ...state, property: 'a b' }],
  ['no property', { ...state, property: 5 }],
  ['only one of two values', { ...state, value_off: undefined }],
  ['the same for both', { ...state, value_off: 'ON' }],
  ['values that are objects', { ...state, value_on: {}, value_off: [] }],
  ['a composite', { type: 'composite', name: 'color', property: 'color', access: 7, features: [] }],
  ['an enum without values', { type: 'enum', property: 'mode', access: 7, values: [] }],
  [
    'an enum of too many',
    { type: 'enum', property: 'mode', access: 7, values: Array.from({ length: 65 }, (_, i) => `v${i}`) },
  ],
  ['bounds that are none', { type: 'numeric', property: 'x', access: 7, value_min: 'a' }],
  ['bounds the wrong way round', { type: 'numeric', property: 'x', access: 7, value_min: 5, value_max: 1 }],
  ['nothing', null],
])('left out: %s', (_what, feature) => {
  expect(parse([device('a', [feature])]).functions).toEqual([]);
});

test.each([
  'a/+',
  '#',
  '',
  'a//b',
  '/a',
  '$SYS',
  'a\u0000',
  'a\nb',
  '\ud800',
  'bridge/request',
  'a/b/c/d',
  'x'.repeat(200),
  5,
  null,
])('a friendly name that cannot be part of a topic: %j', (name) => {
  const { functions, refused } = parse([device(name, [state]), device('fine', [state])]);
  expect(functions.map(({ devices }) => devices)).toEqual([['fine']]);
  expect(refused).toHaveLength(1);
});

test('what is no list is refused, a long one is cut', () => {
  for (const value of ['', '{', '{}', 'null', '"x"', `"${'x'.repeat(5 << 20)}"`])
    expect(() => parse(value)).toThrow(expect.objectContaining({ code: 'MESSAGE_INVALID' }));
  expect(
    parse([
      null,
      5,
      [],
      'x',
      {},
      { definition: 5 },
      { definition: { exposes: 5 } },
      device('a', 5),
      device('a', [], 5),
    ]),
  ).toEqual({
    functions: [],
    devices: 0,
    refused: [],
  });
  const many = parse(Array.from({ length: 300 }, (_, i) => device(`lamp ${i}`, [state])));
  expect([many.devices, many.refused.length]).toEqual([256, 44]);
});

describe('a reply', () => {
  const { functions } = parse(text);
  const read = (reply: string, truncated = false) => parseReply(reply, truncated, functions, 'device');

  test.each([
    ['{"name": "set_light", "arguments": {"device": "office", "on": false}}', 'office', { state: 'OFF' }],
    [
      '{"name": "set_light_brightness", "arguments": {"device": "office", "brightness": 254}}',
      'office',
      { brightness: 254 },
    ],
    [
      '{"name": "set_cover_state", "arguments": {"device": "blinds/office", "state": "STOP"}}',
      'blinds/office',
      { state: 'STOP' },
    ],
    ['{"name": "set_lock", "arguments": {"device": "front_door", "locked": true}}', 'front_door', { state: 'LOCK' }],
  ])('%s', (reply, target, payload) => {
    const read_ = read(reply);
    expect([read_?.message.device, JSON.parse(read_?.message.payload ?? 'null')]).toEqual([target, payload]);
  });

  test.each([
    '',
    'yes',
    '[]',
    '5',
    '{}',
    '{"name": "set_light"}',
    '{"name": "set_light", "arguments": []}',
    '{"name": "set_light", "arguments": {"device": "cellar", "on": true}}',
    '{"name": "set_light", "arguments": {"device": "blinds/office", "on": true}}',
    '{"name": "set_light", "arguments": {"device": "office", "on": "true"}}',
    '{"name": "set_light", "arguments": {"device": "office", "on": true, "more": 1}}',
    '{"name": "set_light", "arguments": {"device": "office", "on": true}, "more": 1}',
    '{"name": "set_light_brightness", "arguments": {"device": "office", "brightness": 255}}',
    '{"name": "set_light_brightness", "arguments": {"device": "office", "brightness": 1.5}}',
    '{"name": "set_light_brightness", "arguments": {"device": "office", "brightness": 1e999}}',
    '{"name": "__proto__", "arguments": {"device": "office", "on": true}}',
  ])('is refused: %s', (reply) => {
    expect(() => read(reply)).toThrow(expect.objectContaining({ code: 'PLUGIN_REPLY_INVALID' }));
  });

  test('null is the agreed "no call"; half a call is none', () => {
    expect(read('null')).toBeNull();
    expect(() => read('null', true)).toThrow(expect.objectContaining({ code: 'PLUGIN_REPLY_INVALID' }));
  });
});

test('speech and text set a device; the message goes out before the event', async () => {
  const call = '{"name": "set_light", "arguments": {"device": "garage", "on": true}}';
  const plugin = await startPlugin(zigbee2mqtt, {
    config: { prompt: 'F: {functions} T: {text}' },
    replies: [{ text: call }, { text: call }, { text: 'null' }],
  });
  await expect(plugin.segment(segment)).rejects.toMatchObject({ code: 'ITEM_UNWANTED' });
  await expect(plugin.request(request('zigbee2mqtt', { text: 'x' }))).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
  });
  await plugin.receive('zigbee2mqtt/bridge/devices', text);
  await plugin.segment(segment);
  expect(plugin.published).toEqual([
    { topic: 'zigbee2mqtt/garage/set', payload: '{"state":"ON"}', options: { qos: 1, retain: false } },
  ]);
  expect(plugin.emitted).toMatchObject([{ kind: 'call', summary: 'set_light(device="garage", on=true)' }]);
  expect(contentOf(plugin.jobs[0]).texts[0]).toMatch(/^F: \{"name":"set_light","description".*T:$/s);
  expect(await plugin.request(request('zigbee2mqtt', { text: 'Light!', dryRun: true }))).toMatchObject({ topic: null });
  expect(contentOf(plugin.jobs[1]).texts[0]).toMatch(/T: Light!$/);
  expect(await plugin.request(request('zigbee2mqtt', { text: 'Hi.' }))).toMatchObject({ call: null, topic: null });
  expect(plugin.published).toHaveLength(1);
});

test('a broken list leaves the devices that were known; names that are left out are told', async () => {
  const plugin = await startPlugin(zigbee2mqtt, { config: { types: ['light'] }, replies: [{ text: 'null' }] });
  await plugin.receive('zigbee2mqtt/bridge/devices', [device('a', [state]), device('a/#', [state])]);
  expect(plugin.warnings()).toMatchObject([{ msg: '1 devices are left out' }]);
  await expect(plugin.receive('zigbee2mqtt/bridge/devices', '{')).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
  expect(await plugin.request(request('zigbee2mqtt', { text: 'Hi.' }))).toMatchObject({ call: null });
});

test.each([
  [{}, {}],
  [{ text: ' ' }, {}],
  [{ text: 5 }, {}],
  [{ text: 'x', more: 1 }, {}],
  [{ text: 'x', dryRun: 'yes' }, {}],
  [{ text: 'x' }, { audio: { ref: 'r' } }],
  [{}, { image: { ref: 'r' } }],
])('the request %j is refused before anything is asked', async (payload, media) => {
  const plugin = await startPlugin(zigbee2mqtt);
  await plugin.receive('zigbee2mqtt/bridge/devices', text);
  await expect(plugin.request(request('zigbee2mqtt', payload, media))).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
  });
  expect(plugin.jobs).toEqual([]);
});

test('with listen off its functions are registered for function-calls, and follow the list of devices', async () => {
  const plugin = await startPlugin(zigbee2mqtt, { config: { listen: false } });
  const names = () => plugin.functions().map(({ name }) => name);
  expect(plugin.consumes).toEqual([]);
  await plugin.receive('zigbee2mqtt/bridge/devices', text);
  expect(names()).toEqual(['set_light', 'set_light_brightness', 'set_cover_state', 'set_cover_position']);
  expect(await plugin.call('set_light', { device: 'garage', on: true })).toEqual({ topic: 'zigbee2mqtt/garage/set' });
  expect(plugin.published).toMatchObject([{ topic: 'zigbee2mqtt/garage/set', payload: '{"state":"ON"}' }]);
  await expect(plugin.call('set_light', { device: 'moon', on: true })).rejects.toMatchObject({
    code: 'PLUGIN_REPLY_INVALID',
  });
  await plugin.receive('zigbee2mqtt/bridge/devices', [device('lamp', [state])]);
  expect(names()).toEqual(['set_light']);
});

test('of lists that come at once the latest counts; a function that cannot be registered leaves the others', async () => {
  const plugin = await startPlugin(zigbee2mqtt, {
    config: { listen: false },
    functions: [{ declaration: { name: 'set_light', parameters: { type: 'object' } }, run: () => null }],
  });
  const names = () => plugin.functions().map(({ name }) => name);
  const lamp = device('lamp', [state, { ...state, property: 'state_l1' }]);
  await Promise.all([
    plugin.receive('zigbee2mqtt/bridge/devices', text),
    plugin.receive('zigbee2mqtt/bridge/devices', [lamp]),
  ]);
  expect(names()).toEqual(['set_light_l1']);
  expect(plugin.warnings()[0]).toMatchObject({
    msg: 'set_light is not registered',
    fields: { reason: expect.stringContaining('another') },
  });
});
