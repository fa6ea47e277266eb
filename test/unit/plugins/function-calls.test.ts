import { contentOf, model, type Reply, request, segment, startPlugin } from '@hearth/testkit';
import functionCalls from '../../../plugins/function-calls';
import { demoFunctions } from '../../helpers/demo-functions';

const config = { functions: demoFunctions };
const call = (name: string, args: Readonly<Record<string, unknown>>): string =>
  JSON.stringify({ name, arguments: args });
const kitchenLight = call('set_light', { room: 'kitchen', on: true });

/** Starts with one function whose arguments are free text, and answers `text` to everything. */
async function withFunction(
  publish: unknown,
  text: string,
  properties: object = { where: { type: 'string' }, what: {} },
) {
  const parameters = { type: 'object', properties, required: Object.keys(properties) };
  return await startPlugin(functionCalls, {
    config: { functions: [{ name: 'say', parameters, publish }] },
    replies: [{ text }],
  });
}

test('speech becomes a call, a message on its topic and an event', async () => {
  const plugin = await startPlugin(functionCalls, { config, replies: [{ text: kitchenLight }] });
  await plugin.segment(segment);
  expect(contentOf(plugin.jobs[0])).toEqual({
    texts: ['Answer with one JSON function call, or null.'],
    refs: ['segment-ref'],
  });
  expect(plugin.published).toEqual([
    { topic: 'home/kitchen/light/set', payload: '{"room":"kitchen","on":true}', options: { qos: 1, retain: false } },
  ]);
  expect(plugin.emitted).toEqual([
    {
      kind: 'call',
      item: segment,
      result: expect.objectContaining({ job: expect.any(String) as string }),
      call: { name: 'set_light', arguments: { room: 'kitchen', on: true } },
      summary: 'set_light(room="kitchen", on=true)',
    },
  ]);
});

test('"no call" is an event with null, and no message', async () => {
  const plugin = await startPlugin(functionCalls, { config, replies: [{ text: 'null' }] });
  await plugin.segment(segment);
  expect(plugin.published).toEqual([]);
  expect(plugin.emitted).toMatchObject([{ kind: 'call', call: null, summary: 'no call' }]);
});

test('the reply is constrained to a call of one of the functions, in the order of the configuration, or null', async () => {
  const plugin = await startPlugin(functionCalls, { config, replies: [{ text: 'null' }] });
  await plugin.request(request('call', { text: 'x' }));
  const schema = plugin.jobs[0]?.schema as { anyOf: { properties?: { name: { const: string } } }[] } | undefined;
  expect(schema?.anyOf.map((branch) => branch.properties?.name.const)).toEqual([
    'set_light',
    'set_temperature',
    'set_lock',
    'set_blinds',
    'play_music',
    'get_temperature',
    undefined,
  ]);
  expect(schema?.anyOf[1]).toEqual({
    type: 'object',
    properties: { name: { const: 'set_temperature' }, arguments: demoFunctions[1]?.parameters },
    required: ['name', 'arguments'],
    additionalProperties: false,
  });
  expect(schema?.anyOf[6]).toEqual({ type: 'null' });
  expect(plugin.jobs[0]).toMatchObject({ sampling: { temperature: 0 }, maxTokens: 256 });
});

test('functions and text are filled into the prompt once, and neither is a template', async () => {
  const info = { ...model, prompts: { ...model.prompts, call: 'F: {functions}\nT: {text}' } };
  const functions = [{ name: 'say', description: 'Says {text} for $&.' }];
  const plugin = await startPlugin(functionCalls, { config: { functions }, replies: [{ text: 'null' }], model: info });
  await plugin.request(request('call', { text: "{functions} $' {text}" }));
  const described = JSON.stringify({
    ...functions[0],
    parameters: { type: 'object', properties: {}, additionalProperties: false },
  });
  expect(contentOf(plugin.jobs[0]).texts).toEqual([`F: ${described}\nT: {functions} $' {text}`]);
});

test('the verb answers with the call and where it went', async () => {
  const lock = call('set_lock', { door: 'front', locked: true });
  const temperature = call('get_temperature', { room: 'office' });
  const plugin = await startPlugin(functionCalls, {
    config,
    replies: [{ text: lock }, { text: temperature }, { text: 'null' }],
  });
  expect(await plugin.request(request('call', { text: 'lock the front door' }))).toEqual({
    call: { name: 'set_lock', arguments: { door: 'front', locked: true } },
    topic: 'home/lock/front/set',
    tokens: { prompt: 11, completion: 5, cached: 0 },
    slice: 'e2b',
  });
  expect(contentOf(plugin.jobs[0]).texts).toEqual([
    'Answer with one JSON function call, or null.\nlock the front door',
  ]);
  expect(await plugin.request(request('call', {}, { audio: { ref: 'a' } }))).toMatchObject({
    call: { name: 'get_temperature' },
    topic: null,
  });
  expect(await plugin.request(request('call', { text: 'sing' }))).toMatchObject({ call: null, topic: null });
  expect(plugin.published).toHaveLength(1);
});

test.each([
  ['', 'nothing'],
  ['Sure, I will turn it on.', 'prose'],
  ['{"name":"set_light","arguments":{"room":"kit', 'a reply cut short'],
  ['{"name":"open_gate","arguments":{}}', 'an unknown function'],
  ['{"name":"constructor","arguments":{}}', 'a name of Object.prototype'],
  ['{"name":"set_light","arguments":{"room":"cellar","on":true}}', 'an unknown room'],
  ['{"name":"set_light","arguments":{"room":"kitchen"}}', 'a missing argument'],
  ['{"name":"set_light","arguments":{"room":"kitchen","on":"yes"}}', 'a value of another type'],
  ['{"name":"set_light","arguments":{"room":"kitchen","on":true,"x":1}}', 'an argument too many'],
  ['{"name":"set_light","arguments":{"room":"kitchen","on":true,"__proto__":{"x":1}}}', 'a prototype'],
  ['{"name":"set_temperature","arguments":{"room":"kitchen","celsius":26}}', 'a value out of range'],
  ['{"name":"set_light","arguments":{"room":"kitchen","on":true},"x":1}', 'a member too many'],
  ['[]', 'an array'],
  ['true', 'a boolean'],
  ['null null', 'two values'],
])('the reply %j (%s) is neither published nor emitted', async (text) => {
  const plugin = await startPlugin(functionCalls, {
    config,
    replies: Array(2).fill({ text, unchecked: true }) as Reply[],
  });
  await expect(plugin.segment(segment)).rejects.toMatchObject({ code: 'PLUGIN_REPLY_INVALID' });
  await expect(plugin.request(request('call', { text: 'x' }))).rejects.toMatchObject({ code: 'PLUGIN_REPLY_INVALID' });
  expect(plugin.published).toEqual([]);
  expect(plugin.emitted).toEqual([]);
});

test.each([['../front/lock'], ['a/b'], ['+'], ['#'], ['a+'], ['a\0b'], ['a\nb'], [''], [{ a: 1 }], [['a']], [null]])(
  'the argument %j is kept out of a topic',
  async (where) => {
    const plugin = await withFunction({ topic: 'home/{arguments.where}/set' }, call('say', { where }), { where: {} });
    await expect(plugin.segment(segment)).rejects.toMatchObject({ code: 'CALL_TOPIC_UNSAFE' });
    expect(plugin.published).toEqual([]);
    expect(plugin.emitted).toEqual([]);
  },
);

test('an argument cannot make a topic of the broker', async () => {
  const plugin = await withFunction({ topic: '{arguments.where}/x' }, call('say', { where: '$SYS' }), { where: {} });
  await expect(plugin.segment(segment)).rejects.toMatchObject({ code: 'CALL_TOPIC_UNSAFE' });
});

test('a dry run publishes nothing', async () => {
  const plugin = await startPlugin(functionCalls, { config, replies: [{ text: kitchenLight }] });
  expect(await plugin.request(request('call', { text: 'x', dryRun: true }))).toMatchObject({
    call: { name: 'set_light' },
    topic: null,
  });
  expect(plugin.published).toEqual([]);
});

test('a reply that was cut short is refused even where it would do', async () => {
  const plugin = await startPlugin(functionCalls, { config, replies: [{ text: 'null', finishReason: 'length' }] });
  await expect(plugin.segment(segment)).rejects.toMatchObject({ code: 'PLUGIN_REPLY_INVALID' });
});

test('references within the parameters of a function hold in the schema of the reply', async () => {
  const parameters = {
    type: 'object',
    properties: { a: { $ref: '#/$defs/level' } },
    required: ['a'],
    $defs: { level: { enum: [1, 2] } },
  };
  const replies = [call('say', { a: 2 }), call('say', { a: 3 })].map((text) => ({ text, unchecked: true }));
  const plugin = await startPlugin(functionCalls, {
    config: { functions: [{ name: 'sing' }, { name: 'say', parameters }] },
    replies,
  });
  expect(await plugin.request(request('call', { text: 'x' }))).toMatchObject({ call: { arguments: { a: 2 } } });
  await expect(plugin.request(request('call', { text: 'x' }))).rejects.toMatchObject({ code: 'PLUGIN_REPLY_INVALID' });
});

test.each([
  [{ topic: 't' }, '{"where":"in $& here","what":{"a":[1]}}'],
  [{ topic: 't', payload: 'ON' }, 'ON'],
  [{ topic: 't', payload: '{arguments.where}: {arguments.what} {other}' }, 'in $& here: {"a":[1]} {other}'],
  [
    { topic: 't', payload: { at: '{arguments.where}', all: ['{arguments.what}'], note: 'at {arguments.where}', n: 1 } },
    '{"at":"in $& here","all":[{"a":[1]}],"note":"at in $& here","n":1}',
  ],
  [{ topic: 't', payload: 5 }, '5'],
])('the template %j gives %s', async (publish, payload) => {
  const plugin = await withFunction(publish, call('say', { where: 'in $& here', what: { a: [1] } }));
  await plugin.segment(segment);
  expect(plugin.published.map((message) => message.payload)).toEqual([payload]);
});

test('numbers, booleans and parts of a level go into a topic; QoS and retain are those of the function', async () => {
  const publish = { topic: 'room-{arguments.where}/{arguments.what}', qos: 0, retain: true };
  const plugin = await withFunction(publish, call('say', { where: 'x y', what: 5 }));
  await plugin.segment(segment);
  expect(plugin.published).toMatchObject([{ topic: 'room-x y/5', options: { qos: 0, retain: true } }]);
});

test.each([
  [[demoFunctions[0], demoFunctions[0]], 'functions.1.name'],
  [[{ name: 'say', parameters: { type: 'object', properties: { x: { type: 'nonsense' } } } }], 'parameters'],
  [[{ name: 'say', publish: { topic: 'home/#' } }], 'topic'],
  [[{ name: 'say', publish: { topic: 'home/{room}' } }], 'functions.0.publish.topic'],
  [[{ name: 'say', publish: { topic: 'home/{arguments.room' } }], 'functions.0.publish.topic'],
  [[{ name: 'say', publish: { topic: 'home/{arguments.room}' } }], '{arguments.room}'],
  [
    [{ name: 'say', parameters: { type: 'object', properties: { x: {} } }, publish: { topic: '{arguments.x}' } }],
    '{arguments.x}',
  ],
  [[{ name: 'say', parameters: { type: 'array' } }], 'parameters'],
  [[{ name: 'say it' }], 'name'],
  [[{ description: 'x' }], 'name'],
])('the functions %j keep it from starting', async (functions, expected) => {
  await expect(startPlugin(functionCalls, { config: { functions } })).rejects.toMatchObject({
    code: 'PLUGIN_CONFIG_INVALID',
    message: expect.stringContaining(expected),
  });
});

test('without functions it takes no segments and refuses requests', async () => {
  const plugin = await startPlugin(functionCalls);
  expect(plugin.consumes).toEqual([]);
  await expect(plugin.request(request('call', { text: 'x' }))).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
});

test.each([
  [{}, {}],
  [{ text: '' }, {}],
  [{ text: ['x'] }, {}],
  [{ text: 'x'.repeat(16_385) }, {}],
  [{ text: 'x', functions: [] }, {}],
  [{ text: 'x', dryRun: 1 }, {}],
  [{ text: 'x' }, { audio: { ref: 'a' } }],
  [{ text: 'x' }, { image: { ref: 'a' } }],
])('the request %j with %j is refused', async (payload, media) => {
  const plugin = await startPlugin(functionCalls, { config });
  await expect(plugin.request(request('call', payload, media))).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  expect(plugin.jobs).toEqual([]);
});
