import {
  contentOf,
  frame,
  model,
  type Reply,
  type RunningPlugin,
  request,
  segment,
  startPlugin,
} from '@hearth/testkit';
import functionCalls from '../../../plugins/function-calls';
import { auditOf, sentBy } from '../../helpers/call-audit';
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
  expect(sentBy(plugin)).toEqual([
    { topic: 'home/kitchen/light/set', payload: '{"room":"kitchen","on":true}', options: { qos: 1, retain: false } },
  ]);
  expect(plugin.emitted).toEqual([
    {
      kind: 'call',
      item: segment,
      result: expect.objectContaining({ job: expect.any(String) as string }),
      call: { name: 'set_light', arguments: { room: 'kitchen', on: true } },
      summary: 'set_light(room="kitchen", on=true)',
      outcome: {
        id: expect.any(String),
        status: 'executed',
        name: 'set_light',
        arguments: { room: 'kitchen', on: true },
      },
    },
  ]);
  expect(auditOf(plugin)).toMatchObject([
    { v: 1, node: 'pi5', step: 'proposed', name: 'set_light', source: 'speech', stream: 'kitchen' },
    { step: 'executed', id: auditOf(plugin)[0]?.['id'], arguments: { room: 'kitchen', on: true } },
  ]);
});

test('"no call" is an event with null, and no message', async () => {
  const plugin = await startPlugin(functionCalls, { config, replies: [{ text: 'null' }] });
  await plugin.segment(segment);
  expect(sentBy(plugin)).toEqual([]);
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
    calls: [
      { id: expect.any(String), status: 'executed', name: 'set_lock', arguments: { door: 'front', locked: true } },
    ],
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
  expect(sentBy(plugin)).toHaveLength(1);
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
  expect(sentBy(plugin)).toEqual([]);
  expect(plugin.emitted).toEqual([]);
});

test.each([['../front/lock'], ['a/b'], ['+'], ['#'], ['a+'], ['a\0b'], ['a\nb'], [''], [{ a: 1 }], [['a']], [null]])(
  'the argument %j is kept out of a topic',
  async (where) => {
    const plugin = await withFunction({ topic: 'home/{arguments.where}/set' }, call('say', { where }), { where: {} });
    await expect(plugin.segment(segment)).rejects.toMatchObject({ code: 'CALL_TOPIC_UNSAFE' });
    expect(sentBy(plugin)).toEqual([]);
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
  expect(sentBy(plugin)).toEqual([]);
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
  expect(sentBy(plugin).map((message) => message.payload)).toEqual([payload]);
});

test('numbers, booleans and parts of a level go into a topic; QoS and retain are those of the function', async () => {
  const publish = { topic: 'room-{arguments.where}/{arguments.what}', qos: 0, retain: true };
  const plugin = await withFunction(publish, call('say', { where: 'x y', what: 5 }));
  await plugin.segment(segment);
  expect(sentBy(plugin)).toMatchObject([{ topic: 'room-x y/5', options: { qos: 0, retain: true } }]);
});

test.each([
  [[demoFunctions[0], demoFunctions[0]], 'functions.1.name'],
  [[{ name: 'say', parameters: { type: 'object', properties: { x: { type: 'nonsense' } } } }], 'parameters'],
  [
    [{ name: 'say', parameters: { type: 'object', properties: { x: { type: 'string', format: 'date' } } } }],
    'functions.0.parameters: expected what can be enforced while decoding; #/properties/x: "format"',
  ],
  [[{ name: 'say', publish: { topic: 'home/#' } }], 'topic'],
  [[{ name: 'say', publish: { topic: 'home/{room}' } }], 'functions.0.publish.topic'],
  [[{ name: 'say', publish: { topic: 'home/{arguments.room' } }], 'functions.0.publish.topic'],
  [[{ name: 'say', publish: { topic: 'home/{arguments.room}' } }], '{arguments.room}'],
  [
    [{ name: 'say', parameters: { type: 'object', properties: { x: {} } }, publish: { topic: '{arguments.x}' } }],
    '{arguments.x}',
  ],
  [[{ name: 'say', parameters: { type: 'array' } }], 'parameters'],
  [[{ name: 'say', result: { topic: 'done' } }], 'functions.0.result'],
  [[{ name: 'say', publish: { topic: 'do' }, result: { topic: 'done/+' } }], 'functions.0.result.topic'],
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
  const waiting = await startPlugin(functionCalls, { config: { registered: [{ name: '*' }] } });
  await expect(waiting.segment(segment)).rejects.toMatchObject({ code: 'ITEM_UNWANTED' });
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
  [{}, { image: { ref: 'a' } }],
  [{}, { image: { ref: 'a' }, audio: { ref: 'b' } }],
  [{ confirm: '' }, {}],
  [{ confirm: 5 }, {}],
  [{ confirm: 'a', reject: 'a' }, {}],
  [{ confirm: 'a', text: 'x' }, {}],
  [{ reject: 'a'.repeat(257) }, {}],
  [{ confirm: 'a' }, { audio: { ref: 'b' } }],
])('the request %j with %j is refused', async (payload, media) => {
  const plugin = await startPlugin(functionCalls, { config });
  await expect(plugin.request(request('call', payload, media))).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  expect(plugin.jobs).toEqual([]);
});

const lock = { name: 'set_lock', arguments: { door: 'front', locked: false } };
const steps = (plugin: RunningPlugin): unknown[] => auditOf(plugin).map(({ step, name }) => `${step} ${name}`);

describe('several calls in one reply', () => {
  const light = { name: 'set_light', arguments: { room: 'kitchen', on: true } };
  const both = JSON.stringify([light, lock]);

  test('are a message and an event each, in their order', async () => {
    const plugin = await startPlugin(functionCalls, { config: { ...config, maxCalls: 3 }, replies: [{ text: both }] });
    await plugin.segment(segment);
    expect(contentOf(plugin.jobs[0]).texts).toEqual(['Answer with up to 3 JSON function calls, or null.']);
    expect(sentBy(plugin).map(({ topic }) => topic)).toEqual(['home/kitchen/light/set', 'home/lock/front/set']);
    expect(plugin.emitted).toMatchObject([{ call: light }, { call: lock }]);
  });

  test('are refused where one is allowed, and one more than allowed', async () => {
    const three = JSON.stringify([light, lock, light]);
    const single = await startPlugin(functionCalls, { config, replies: [{ text: both, unchecked: true }] });
    await expect(single.segment(segment)).rejects.toMatchObject({ code: 'PLUGIN_REPLY_INVALID' });
    const two = await startPlugin(functionCalls, {
      config: { ...config, maxCalls: 2 },
      replies: [{ text: three, unchecked: true }],
    });
    await expect(two.segment(segment)).rejects.toMatchObject({ code: 'PLUGIN_REPLY_INVALID' });
  });

  test('one that fails leaves the others, and fails the item', async () => {
    const say = { name: 'say', parameters: { type: 'object', properties: { where: {} }, required: ['where'] } };
    const functions = [{ ...say, publish: { topic: 'say/{arguments.where}' } }];
    const calls = ['a/b', 'hall'].map((where) => ({ name: 'say', arguments: { where } }));
    const plugin = await startPlugin(functionCalls, {
      config: { functions, maxCalls: 2 },
      replies: [{ text: JSON.stringify(calls) }],
    });
    await expect(plugin.segment(segment)).rejects.toMatchObject({ code: 'CALL_TOPIC_UNSAFE' });
    expect(sentBy(plugin).map(({ topic }) => topic)).toEqual(['say/hall']);
    expect(steps(plugin)).toEqual(['proposed say', 'failed say', 'proposed say', 'executed say']);
  });
});

describe('the policy', () => {
  const text = JSON.stringify(lock);
  const withLock = (more: object) =>
    demoFunctions.map((each) => (each.name === 'set_lock' ? { ...each, ...more } : each));

  test('what is not on the list of its source is refused: an event without a call, and no message', async () => {
    const plugin = await startPlugin(functionCalls, {
      config: { ...config, allow: { speech: ['set_light'] } },
      replies: [{ text }, { text }],
    });
    await plugin.segment(segment);
    expect(sentBy(plugin)).toEqual([]);
    expect(plugin.emitted).toMatchObject([
      {
        call: null,
        outcome: { status: 'refused', reason: 'not-allowed', ...lock },
        summary: expect.stringMatching(/refused/),
      },
    ]);
    expect(auditOf(plugin)[1]).toMatchObject({ step: 'refused', reason: 'not-allowed' });
    expect(await plugin.request(request('call', { text: 'x' }))).toMatchObject({ topic: 'home/lock/front/set' });
  });

  test('a call waits to be confirmed, and is run and told then', async () => {
    const plugin = await startPlugin(functionCalls, {
      config: { functions: withLock({ confirm: true }) },
      replies: [{ text }],
    });
    await plugin.segment(segment);
    expect(sentBy(plugin)).toEqual([]);
    expect(plugin.emitted).toMatchObject([
      { call: null, outcome: { status: 'pending', ...lock, expires_ts: expect.any(Number) } },
    ]);
    const id = plugin.emitted[0]?.outcome?.id;
    expect(await plugin.request(request('call', { confirm: id }))).toEqual({
      calls: [{ id, status: 'executed', ...lock }],
      topic: 'home/lock/front/set',
    });
    expect(sentBy(plugin)).toHaveLength(1);
    expect(plugin.emitted[1]).toMatchObject({
      late: true,
      item: segment,
      call: lock,
      outcome: { id, status: 'executed' },
    });
    await expect(plugin.request(request('call', { confirm: id }))).rejects.toMatchObject({ code: 'CALL_NOT_PENDING' });
    expect(steps(plugin)).toEqual(['proposed', 'pending', 'confirmed', 'executed'].map((step) => `${step} set_lock`));
  });

  test('a call that is rejected does not happen', async () => {
    const plugin = await startPlugin(functionCalls, {
      config: { functions: withLock({ confirm: true }) },
      replies: [{ text }],
    });
    const { calls } = (await plugin.request(request('call', { text: 'x' }))) as { calls: { id: string }[] };
    expect(await plugin.request(request('call', { reject: calls[0]?.id }))).toMatchObject({
      calls: [{ status: 'rejected' }],
      topic: null,
    });
    expect(sentBy(plugin)).toEqual([]);
    expect(steps(plugin)).toEqual(['proposed', 'pending', 'rejected'].map((step) => `${step} set_lock`));
  });

  test('calls that wait when the plugin ends are told not to run', async () => {
    const plugin = await startPlugin(functionCalls, {
      config: { functions: withLock({ confirm: true }) },
      replies: [{ text }, { text }],
    });
    await plugin.segment(segment);
    const { calls } = (await plugin.request(request('call', { text: 'x' }))) as { calls: { id: string }[] };
    await plugin.stop();
    expect(plugin.emitted[1]).toMatchObject({
      late: true,
      call: null,
      outcome: { id: plugin.emitted[0]?.outcome?.id, status: 'expired', reason: 'plugin-ended', ...lock },
    });
    expect(auditOf(plugin).filter(({ step }) => step === 'expired')).toMatchObject([
      { id: plugin.emitted[0]?.outcome?.id, reason: 'plugin-ended' },
      { id: calls[0]?.id, reason: 'plugin-ended' },
    ]);
    expect(sentBy(plugin)).toEqual([]);
    await expect(plugin.request(request('call', { confirm: calls[0]?.id }))).rejects.toMatchObject({
      code: 'CALL_NOT_PENDING',
    });
  });

  test('a dry run is an event that says so, and nothing else', async () => {
    const plugin = await startPlugin(functionCalls, { config: { ...config, dryRun: true }, replies: [{ text }] });
    await plugin.segment(segment);
    expect(sentBy(plugin)).toEqual([]);
    expect(plugin.emitted).toMatchObject([{ call: lock, dry_run: true, outcome: { status: 'dry-run' } }]);
    expect(steps(plugin)).toEqual(['proposed set_lock', 'dry-run set_lock']);
  });

  test('calls over the rate limit are refused', async () => {
    const rateLimit = { calls: 1, seconds: 3600 };
    const plugin = await startPlugin(functionCalls, {
      config: { ...config, rateLimit },
      replies: [{ text }, { text }],
    });
    await plugin.segment(segment);
    await plugin.segment(segment);
    expect(sentBy(plugin)).toHaveLength(1);
    expect(plugin.emitted[1]).toMatchObject({ call: null, outcome: { status: 'refused', reason: 'rate-limited' } });
  });

  test('secret arguments are not audited', async () => {
    const plugin = await startPlugin(functionCalls, {
      config: { functions: withLock({ secrets: ['door'] }) },
      replies: [{ text }],
    });
    await plugin.segment(segment);
    for (const entry of auditOf(plugin)) expect(entry['arguments']).toEqual({ door: '[redacted]', locked: false });
  });
});

describe('results', () => {
  const reply = JSON.stringify({ name: 'get_temperature', arguments: { room: 'office' } });
  const functions = [
    {
      ...demoFunctions[5],
      publish: { topic: 'ask', payload: { id: '{id}', room: '{arguments.room}' } },
      result: { topic: 'told', timeoutMs: 60_000 },
    },
  ];

  async function asked(plugin: RunningPlugin): Promise<{ readonly id: string }> {
    while (sentBy(plugin).length === 0) await new Promise((resolve) => setImmediate(resolve));
    return JSON.parse(String(sentBy(plugin)[0]?.payload)) as { id: string };
  }

  test('what comes on the result topic goes back to the model, whose answer is an event', async () => {
    const plugin = await startPlugin(functionCalls, {
      config: { functions },
      replies: [{ text: reply }, { text: ' It is 21 degrees.\n' }],
    });
    const taken = plugin.segment(segment);
    const { id } = await asked(plugin);
    await plugin.receive('told', { id: 'another', celsius: 5 });
    await plugin.receive('told', { id, celsius: 21 });
    await taken;
    expect(plugin.emitted).toMatchObject([
      { kind: 'call', outcome: { id, status: 'executed', result: { id, celsius: 21 } } },
      { kind: 'answer', text: 'It is 21 degrees.', result: { job: expect.any(String) } },
    ]);
    expect(plugin.jobs[1]?.messages.map(({ role }) => role)).toEqual(['user', 'model', 'user']);
    expect(plugin.jobs[1]?.messages[2]?.parts).toEqual([
      { type: 'text', text: `Result of get_temperature: {"id":"${id}","celsius":21}\nAnswer in one short sentence.` },
    ]);
    expect(plugin.jobs[1]).not.toHaveProperty('schema');
  });

  test('a result that does not come in time, or is too large, is an error', async () => {
    const quick = [{ ...functions[0], result: { topic: 'told', timeoutMs: 1 } }];
    const late = await startPlugin(functionCalls, { config: { functions: quick }, replies: [{ text: reply }] });
    await expect(late.segment(segment)).rejects.toMatchObject({ code: 'CALL_TIMEOUT' });
    expect(steps(late)).toEqual(['proposed get_temperature', 'failed get_temperature']);
    const large = await startPlugin(functionCalls, { config: { functions }, replies: [{ text: reply }] });
    const taken = expect(large.segment(segment)).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    await asked(large);
    await large.receive('told', 'x'.repeat(20_000));
    await taken;
  });

  test('functions of other plugins are offered, run by their plugin, and asked again with the result', async () => {
    const others = [
      {
        name: 'roll',
        description: 'Rolls a die.',
        parameters: { type: 'object', properties: {}, additionalProperties: false },
      },
      { name: 'hidden', parameters: { type: 'object', properties: {} } },
    ];
    const roll = JSON.stringify({ name: 'roll', arguments: {} });
    const plugin = await startPlugin(functionCalls, {
      config: { registered: [{ name: 'ro*' }], maxRounds: 2 },
      replies: [roll, 'null', 'A four.'],
      functions: others.map((declaration) => ({ declaration, run: () => 4 })),
    });
    expect(await plugin.request(request('call', { text: 'Roll!' }))).toMatchObject({
      call: { name: 'roll' },
      calls: [{ status: 'executed', result: 4 }],
      answer: 'A four.',
    });
    expect(JSON.stringify(plugin.jobs[0]?.schema)).not.toContain('hidden');
    expect(plugin.called).toEqual([
      { name: 'roll', args: {}, context: { id: auditOf(plugin)[0]?.['id'], source: 'text' } },
    ]);
    expect(plugin.jobs[1]?.messages.at(-1)?.parts).toEqual([
      { type: 'text', text: 'Answer with one JSON function call, or null.\nResult of roll: 4' },
    ]);
  });

  test('the policy holds for functions of other plugins, too', async () => {
    const declaration = { name: 'roll', parameters: { type: 'object', properties: {} } };
    const roll = JSON.stringify({ name: 'roll', arguments: {} });
    const registered = [{ name: '*', confirm: true }];
    const plugin = await startPlugin(functionCalls, {
      config: { registered },
      replies: [roll],
      functions: [{ declaration, run: () => 4 }],
    });
    await plugin.segment(segment);
    expect(plugin.called).toEqual([]);
    expect(plugin.emitted).toMatchObject([{ call: null, outcome: { status: 'pending' } }]);
  });
});

describe('pictures', () => {
  test('of the cameras listed may call something, as their text says', async () => {
    const pictures = { front: 'If there is a package, lock the front door.' };
    const plugin = await startPlugin(functionCalls, {
      config: { ...config, pictures },
      replies: [{ text: JSON.stringify(lock) }],
    });
    await plugin.frame(frame);
    expect(contentOf(plugin.jobs[0])).toEqual({
      texts: [`Answer with one JSON function call, or null.\n${pictures.front}`],
      refs: ['frame-ref'],
    });
    expect(plugin.emitted).toMatchObject([{ kind: 'call', item: frame, call: lock }]);
    expect(auditOf(plugin)[0]).toMatchObject({ source: 'picture', stream: 'front' });
    await expect(plugin.frame({ ...frame, stream: 'constructor' })).rejects.toMatchObject({ code: 'ITEM_UNWANTED' });
  });

  test('are not asked for where no camera is listed', async () => {
    expect((await startPlugin(functionCalls, { config })).consumes).toEqual(['segment']);
  });

  test('may come with a request', async () => {
    const plugin = await startPlugin(functionCalls, { config, replies: [{ text: 'null' }] });
    await plugin.request(request('call', { text: 'A package?' }, { image: { ref: 'a' } }));
    expect(contentOf(plugin.jobs[0]).refs).toEqual(['a']);
  });
});
