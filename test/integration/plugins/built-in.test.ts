/** The plugins that come with hearth, each in its worker, against an engine that says what the test says. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GenerateRequest } from '../../../daemon/inference/types';
import { builtInPlugins } from '../../../daemon/plugins/options';
import type { StreamPolicy } from '../../../daemon/plugins/ports';
import { sentBy } from '../../helpers/call-audit';
import { failureOf, type Made, make, until } from './support';

let made: Made;
const png = readFileSync(join(process.cwd(), 'test/fixtures/media/tree.png')).toString('base64');
const wav = readFileSync(join(process.cwd(), 'test/fixtures/media/speech-002.wav')).toString('base64');

async function start(
  name: string,
  config: Record<string, unknown> = {},
  settings: StreamPolicy['settings'] = {},
): Promise<void> {
  made = make([{ name, config }], { streams: { front: { settings }, kitchen: { settings } } });
  made.engine.reply = 'A reply.';
  await made.start(name);
}

const textOf = ({ messages }: GenerateRequest): string =>
  messages.flatMap(({ parts }) => parts.map((part) => (part.type === 'text' ? part.text : `<${part.type}>`))).join('|');
const asked = (): string[] => made.engine.jobs.map(textOf);
const invalid = async (verb: string, payload: Record<string, unknown>): Promise<void> => {
  expect({ payload, code: (await failureOf(made.bus.request(verb, payload))).code }).toEqual({
    payload,
    code: 'REQUEST_INVALID',
  });
};

describe('captions', () => {
  test('a frame becomes a caption, by the model’s own prompt', async () => {
    await start('captions');
    made.engine.reply = () => ' A tree in the snow.\n';
    const id = made.frame();
    await until(() => made.bus.events.length === 1);
    expect(made.bus.events[0]).toMatchObject({
      id,
      kind: 'caption',
      text: 'A tree in the snow.',
      summary: 'A tree in the snow.',
      lang: 'en',
      plugin: 'captions',
      truncated: false,
    });
    expect(asked()).toEqual(['<image>|Describe the image.']);
    expect(made.engine.jobs[0]).toMatchObject({ maxTokens: 96, sampling: { temperature: 0 } });
    expect(made.engine.jobs[0]).not.toHaveProperty('imageSize');
  });

  test('prompt and language: the stream’s before the plugin’s before the model’s', async () => {
    await start('captions', { prompt: 'Anyone there?', language: 'de', imageSize: 512, maxTokens: 8 });
    made.frame();
    await until(() => made.bus.events.length === 1);
    const first = { prompts: asked(), lang: made.bus.events[0]?.lang, request: made.engine.jobs[0] };
    expect(first).toMatchObject({
      prompts: ['<image>|Anyone there?'],
      lang: 'de',
      request: { imageSize: 512, maxTokens: 8 },
    });
    await start('captions', { prompt: 'Anyone there?' }, { prompt: 'Qui est là ?', language: 'fr' });
    made.frame();
    await until(() => made.bus.events.length === 1);
    expect([asked(), made.bus.events[0]?.lang]).toEqual([['<image>|Qui est là ?'], 'fr']);
  });

  test('the verb caption', async () => {
    await start('captions');
    made.engine.reply = () => 'A tree.';
    expect(await made.bus.request('caption', { image: png, prompt: 'What is it?' })).toEqual({
      text: 'A tree.',
      lang: 'en',
      tokens: { prompt: 11, completion: 5, cached: 0 },
      slice: 'e2b',
    });
    expect(asked()).toEqual(['<image>|What is it?']);
    for (const payload of [
      {},
      { audio: wav },
      { image: png, prompt: '' },
      { image: png, prompt: 5 },
      { image: png, promt: 'x' },
    ])
      await invalid('caption', payload);
  });
});

describe('transcribe', () => {
  test('a segment becomes a transcript, in the language of its stream if that is known', async () => {
    await start('transcribe', {}, { language: 'es' });
    made.engine.reply = () => ' Enciende la luz. ';
    const id = made.segment();
    await until(() => made.bus.events.length === 1);
    expect(made.bus.events[0]).toMatchObject({
      id,
      kind: 'transcript',
      stream: 'kitchen',
      text: 'Enciende la luz.',
      lang: 'es',
      plugin: 'transcribe',
    });
    expect(asked()).toEqual(['<audio>|Transcribe the audio.']);
  });

  test('the verb transcribe', async () => {
    await start('transcribe');
    expect(await made.bus.request('transcribe', { audio: wav })).toEqual({
      text: 'A reply.',
      tokens: { prompt: 11, completion: 5, cached: 0 },
      slice: 'e2b',
    });
    for (const payload of [{}, { image: png }, { audio: wav, image: png }, { audio: wav, lang: 'x' }])
      await invalid('transcribe', payload);
  });
});

describe('translate', () => {
  test('a segment becomes one translation for each language but its own', async () => {
    await start('translate', { languages: ['en', 'de', 'es'] }, { language: 'de' });
    made.engine.reply = (request) => `<${textOf(request)}>`;
    made.segment();
    await until(() => made.bus.events.length === 2);
    expect(made.bus.events.map(({ kind, lang, text }) => [kind, lang, text])).toEqual([
      ['translation', 'en', '<<audio>|Translate the audio into English.>'],
      ['translation', 'es', '<<audio>|Translate the audio into Spanish.>'],
    ]);
  });

  test('one language that fails leaves the others, and an error event', async () => {
    await start('translate', { languages: ['en', 'es'] });
    made.engine.reply = (request) => {
      if (textOf(request).includes('English')) throw new Error('no');
      return 'Buenos días.';
    };
    made.segment();
    await until(() => made.bus.events.length === 2);
    expect(made.bus.events.map(({ kind, lang }) => [kind, lang])).toEqual([
      ['translation', 'es'],
      ['error', undefined],
    ]);
  });

  test('without languages it takes no segments; one the model does not know is refused', async () => {
    await start('translate');
    expect(made.dispatcher.wants('segment', 'kitchen')).toBe(false);
    await start('translate', { languages: ['en', 'xx'] });
    expect(made.bus.state('translate')).toBe('quarantined');
    expect(made.bus.reason('translate')).toMatch(/^PLUGIN_CONFIG_INVALID: .*languages: .*de en es.*xx$/);
  });

  test('the verb translate, of text and of audio', async () => {
    await start('translate');
    made.engine.reply = (request) => textOf(request);
    expect(await made.bus.request('translate', { text: 'Cost: $& {lang} {text}', target: 'es' })).toMatchObject({
      text: 'Translate into Spanish: Cost: $& {lang} {text}',
      lang: 'es',
    });
    expect(await made.bus.request('translate', { audio: wav, target: 'de' })).toMatchObject({
      text: '<audio>|Translate the audio into German.',
    });
    for (const payload of [
      { text: 'x' },
      { text: 'x', target: 'xx' },
      { text: 'x', target: 'constructor' },
      { text: 'x', target: ['de'] },
      { target: 'de' },
      { text: 'x', audio: wav, target: 'de' },
      { text: ' ', target: 'de' },
      { text: {}, target: 'de' },
      { text: 'x'.repeat(20_000), target: 'de' },
      { text: 'x', target: 'de', more: 1 },
      { image: png, text: 'x', target: 'de' },
    ])
      await invalid('translate', payload);
  });
});

describe('function-calls', () => {
  const room = { enum: ['kitchen', 'bedroom', 'living_room', 'bathroom', 'garage', 'garden', 'office', 'hallway'] };
  const functions = [
    {
      name: 'set_light',
      description: 'Turns a light on or off.',
      parameters: {
        type: 'object',
        properties: { room, on: { type: 'boolean' } },
        required: ['room', 'on'],
        additionalProperties: false,
      },
      publish: {
        topic: 'home/{arguments.room}/light/set',
        payload: { on: '{arguments.on}', by: 'voice in {arguments.room}' },
      },
    },
    {
      name: 'set_temperature',
      parameters: {
        type: 'object',
        properties: { room, celsius: { type: 'integer', minimum: 15, maximum: 25 } },
        required: ['room', 'celsius'],
        additionalProperties: false,
      },
      publish: { topic: 'home/heating', qos: 0, retain: true },
    },
    {
      name: 'say',
      parameters: { type: 'object', properties: { where: { type: 'string' } }, required: ['where'] },
      publish: { topic: 'say/{arguments.where}', payload: 'at {arguments.where}' },
    },
    { name: 'stop' },
  ];

  test('speech becomes a call, the call a message; the decoder is held to the functions', async () => {
    await start('function-calls', { functions });
    made.engine.reply = () => '{"name": "set_light", "arguments": {"room": "kitchen", "on": true}}';
    const id = made.segment();
    await until(() => made.bus.events.length === 1);
    expect(sentBy(made.bus)).toEqual([
      {
        topic: 'home/kitchen/light/set',
        payload: '{"on":true,"by":"voice in kitchen"}',
        options: { qos: 1, retain: false },
      },
    ]);
    expect(made.bus.events[0]).toMatchObject({
      id,
      kind: 'call',
      stream: 'kitchen',
      plugin: 'function-calls',
      call: { name: 'set_light', arguments: { room: 'kitchen', on: true } },
      summary: 'set_light(room="kitchen", on=true)',
    });
    expect(made.bus.events[0]).not.toHaveProperty('text');
    expect(asked()).toEqual(['<audio>|Answer with one JSON function call, or null.']);
    const { schema } = made.engine.jobs[0] as unknown as { schema: { anyOf: Record<string, unknown>[] } };
    expect(schema.anyOf).toHaveLength(5);
    expect(JSON.stringify(schema.anyOf[0])).toBe(
      JSON.stringify({
        type: 'object',
        properties: { name: { const: 'set_light' }, arguments: functions[0]?.parameters },
        required: ['name', 'arguments'],
        additionalProperties: false,
      }),
    );
    expect(schema.anyOf[3]).toMatchObject({
      properties: {
        name: { const: 'stop' },
        arguments: { type: 'object', properties: {}, additionalProperties: false },
      },
    });
    expect(schema.anyOf[4]).toEqual({ type: 'null' });
  });

  test('null is the agreed "no call": an event, no message', async () => {
    await start('function-calls', { functions });
    made.engine.reply = () => 'null';
    made.segment();
    await until(() => made.bus.events.length === 1);
    expect(made.bus.events[0]).toMatchObject({ kind: 'call', call: null, summary: 'no call' });
    expect(sentBy(made.bus)).toEqual([]);
  });

  test('the verb call: text, a dry run, a function without a topic', async () => {
    await start('function-calls', { functions });
    made.engine.reply = () => '{"name": "set_temperature", "arguments": {"room": "office", "celsius": 21}}';
    const call = { name: 'set_temperature', arguments: { room: 'office', celsius: 21 } };
    expect(await made.bus.request('call', { text: 'Set the office to twenty one degrees.' })).toEqual({
      call,
      topic: 'home/heating',
      calls: [{ id: expect.any(String), status: 'executed', ...call }],
      tokens: { prompt: 11, completion: 5, cached: 0 },
      slice: 'e2b',
    });
    expect(sentBy(made.bus)).toEqual([
      { topic: 'home/heating', payload: '{"room":"office","celsius":21}', options: { qos: 0, retain: true } },
    ]);
    expect(asked()).toEqual(['Answer with one JSON function call, or null.\nSet the office to twenty one degrees.']);
    expect(await made.bus.request('call', { text: 'x', dryRun: true })).toMatchObject({ call, topic: null });
    made.engine.reply = () => '{"name": "stop", "arguments": {}}';
    expect(await made.bus.request('call', { audio: wav })).toMatchObject({
      call: { name: 'stop', arguments: {} },
      topic: null,
    });
    expect(sentBy(made.bus)).toHaveLength(1);
    for (const payload of [
      {},
      { text: '' },
      { text: 5 },
      { text: 'x', audio: wav },
      { image: png },
      { text: 'x', dryRun: 'yes' },
      { text: 'x', functions: [] },
    ])
      await invalid('call', payload);
  });

  test('hostile replies: nothing is published, and the error says which', async () => {
    await start('function-calls', { functions });
    const replies: [reply: string, code: string][] = [
      ['', 'PLUGIN_REPLY_INVALID'],
      ['Sure! {"name": "stop", "arguments": {}}', 'PLUGIN_REPLY_INVALID'],
      ['{"name": "stop"}', 'PLUGIN_REPLY_INVALID'],
      ['{"name": "stop", "arguments": {}, "more": 1}', 'PLUGIN_REPLY_INVALID'],
      ['{"name": "format_disk", "arguments": {}}', 'PLUGIN_REPLY_INVALID'],
      ['{"name": "__proto__", "arguments": {}}', 'PLUGIN_REPLY_INVALID'],
      ['{"name": "set_light", "arguments": {"room": "cellar", "on": true}}', 'PLUGIN_REPLY_INVALID'],
      ['{"name": "set_light", "arguments": {"room": "kitchen", "on": "true"}}', 'PLUGIN_REPLY_INVALID'],
      ['{"name": "set_temperature", "arguments": {"room": "office", "celsius": 400}}', 'PLUGIN_REPLY_INVALID'],
      ['[]', 'PLUGIN_REPLY_INVALID'],
      ['true', 'PLUGIN_REPLY_INVALID'],
      ['[['.repeat(5000), 'PLUGIN_REPLY_INVALID'],
      ...['a/b', '+', '#', 'a#', '', '\u0000', 'a\nb', '\ud800', '../x'].map((where): [string, string] => [
        JSON.stringify({ name: 'say', arguments: { where } }),
        'CALL_TOPIC_UNSAFE',
      ]),
    ];
    for (const [reply, code] of replies) {
      made.engine.reply = () => ({ text: reply, unchecked: true });
      expect({ reply, code: (await failureOf(made.bus.request('call', { text: 'x' }))).code }).toEqual({ reply, code });
    }
    made.engine.reply = () => ({ text: '{"name": "stop", "arguments": {}}', finishReason: 'length' });
    expect(await failureOf(made.bus.request('call', { text: 'x' }))).toMatchObject({ code: 'PLUGIN_REPLY_INVALID' });
    made.engine.reply = () => '{"name": "say", "arguments": {"where": "a/b"}}';
    made.segment();
    await until(() => made.bus.events.length === 1);
    expect(made.bus.events[0]).toMatchObject({ kind: 'error', error: { code: 'CALL_TOPIC_UNSAFE' } });
    expect(sentBy(made.bus)).toEqual([]);
    made.engine.reply = () => '{"name": "say", "arguments": {"where": "the attic"}}';
    expect(await made.bus.request('call', { text: 'x' })).toMatchObject({ topic: 'say/the attic' });
    expect(sentBy(made.bus)).toEqual([
      { topic: 'say/the attic', payload: 'at the attic', options: { qos: 1, retain: false } },
    ]);
  });

  test('{functions} in a prompt becomes their JSON Schemas; what someone says is no template', async () => {
    await start('function-calls', { functions: functions.slice(0, 1), prompt: 'Functions:\n{functions}\nSay: {text}' });
    made.engine.reply = () => 'null';
    await made.bus.request('call', { text: '$& {functions}' });
    const { name, description, parameters } = functions[0]!;
    expect(asked()).toEqual([`Functions:\n${JSON.stringify({ name, description, parameters })}\nSay: $& {functions}`]);
  });

  test('references in a function’s parameters hold in the schema of the reply', async () => {
    const parameters = {
      type: 'object',
      properties: { to: { $ref: '#/$defs/place' } },
      required: ['to'],
      additionalProperties: false,
      $defs: { place: { enum: ['here', 'there'] } },
    };
    await start('function-calls', {
      functions: [{ name: 'stop' }, { name: 'go', parameters, publish: { topic: 'go/{arguments.to}' } }],
    });
    made.engine.reply = () => '{"name": "go", "arguments": {"to": "there"}}';
    expect(await made.bus.request('call', { text: 'x' })).toMatchObject({ topic: 'go/there' });
    made.engine.reply = () => ({ text: '{"name": "go", "arguments": {"to": "nowhere"}}', unchecked: true });
    expect(await failureOf(made.bus.request('call', { text: 'x' }))).toMatchObject({ code: 'PLUGIN_REPLY_INVALID' });
  });

  test('declarations that cannot work are refused at the start', async () => {
    const object = { type: 'object', properties: { a: { type: 'string' } } };
    for (const [declared, reason] of [
      [[{ name: 'a' }, { name: 'a' }], /functions\.1\.name/],
      [[{ name: 'a b' }], /functions\.0\.name/],
      [[{}], /functions\.0 must have required property 'name'/],
      [[{ name: 'a', parameters: { type: 'string' } }], /functions\.0\.parameters/],
      [[{ name: 'a', parameters: { type: 'object', properties: { a: { type: 'text' } } } }], /parameters/],
      [[{ name: 'a', parameters: object, publish: { topic: 'x/{arguments.a}' } }], /required arguments/],
      [[{ name: 'a', publish: { topic: 'x/{arguments}' } }], /required arguments/],
      [[{ name: 'a', publish: { topic: 'x/#' } }], /publish\.topic/],
      [[{ name: 'a', publish: { topic: 'x/{room}' } }], /publish\.topic/],
      [[{ name: 'a', publish: { topic: 'x', qos: 2 } }], /functions\.0\.publish\.qos/],
    ] as const) {
      await start('function-calls', { functions: declared });
      expect({ declared, state: made.bus.state('function-calls') }).toEqual({ declared, state: 'quarantined' });
      const given = made.bus.reason('function-calls');
      expect(given).toMatch(/^PLUGIN_CONFIG_INVALID: /);
      expect(given).toMatch(reason);
    }
  });

  test('without functions it is idle', async () => {
    await start('function-calls');
    expect(made.dispatcher.wants('segment', 'kitchen')).toBe(false);
    await invalid('call', { text: 'x' });
  });
});

test('all of them run side by side and say what they answer', async () => {
  made = make(builtInPlugins.map((name) => ({ name })));
  await made.start('function-calls');
  await made.host.settled();
  expect(made.host.status().map(({ name, state, verbs }) => [name, state, verbs])).toEqual([
    ['captions', 'running', ['caption']],
    ['transcribe', 'running', ['transcribe']],
    ['translate', 'running', ['translate']],
    ['function-calls', 'running', ['call']],
  ]);
});
