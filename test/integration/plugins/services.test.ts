/** What a plugin can ask of the daemon, through a real worker: media, jobs, events, topics. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StreamPolicy } from '../../../daemon/plugins/ports';
import { failureOf, type Host, makeHost, model, pluginDirectory, pluginSource, resultOf, until } from '../../helpers/plugin-host';

const directory = pluginDirectory();
let host: Host;
let fileNumber = 0;

afterEach(async () => {
  await host.stop();
});
afterAll(() => directory.remove());

async function start(manifest: Readonly<Record<string, unknown>>, body: string, config: Record<string, unknown> = {}, policy?: StreamPolicy): Promise<void> {
  const path = directory.write(`probe-${fileNumber++}.cjs`, pluginSource(manifest, body));
  host = makeHost([{ name: 'probe', path, config }], policy === undefined ? {} : { policy: () => policy });
  host.host.start();
  await host.host.settled();
  expect(host.bus.lastState('probe')).toEqual({ state: 'running', restarts: 0 });
}

test('what start is given: configuration with defaults, node and model', async () => {
  await start(
    {
      verbs: ['look'],
      configSchema: {
        type: 'object',
        additionalProperties: false,
        properties: { a: { type: 'integer', default: 3 }, list: { type: 'array', items: { type: 'object', properties: { b: { default: true } } } } },
      },
    },
    'ctx.onRequest("look", () => ({ config: ctx.config, node: ctx.node, model: ctx.model }))',
    { list: [{}] },
  );
  expect(await host.bus.ask('look', {})).toEqual({ config: { a: 3, list: [{ b: true }] }, node: 'pi5', model });
});

test('a frame by reference: the pixels reach the engine, the event is completed from the item and the job', async () => {
  await start(
    { consumes: ['frame'], emits: ['caption'] },
    `ctx.onFrame(async (item) => {
      const result = await ctx.generate({ item, messages: [{ role: 'user', parts: [{ type: 'media', media: item.media }, { type: 'text', text: item.settings.prompt }] }], maxTokens: 7, sampling: { temperature: 0 } });
      await ctx.emit({ kind: 'caption', item, result, text: result.text, lang: 'de' });
      await ctx.emit({ kind: 'caption', item, text: 'again' });
    })`,
    {},
    { priority: 3, deadlineMs: 30_000, settings: { prompt: 'Was siehst du?' }, partials: true },
  );
  const long = `${'word '.repeat(60)}end`;
  host.engine.reply = () => resultOf(long, { finishReason: 'length', slice: 'e2b' });
  const id = host.frame();
  await until(() => host.bus.events.length === 2);
  expect(host.engine.asked).toEqual([
    {
      messages: [
        {
          role: 'user',
          parts: [
            { type: 'image', image: { width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 4, 5, 6) } },
            { type: 'text', text: 'Was siehst du?' },
          ],
        },
      ],
      maxTokens: 7,
      sampling: { temperature: 0 },
    },
  ]);
  const [event, again] = host.bus.events;
  const { ts, captured_ts, latency_ms, first_token_ms, ...rest } = event!;
  expect(rest).toEqual({
    v: 1,
    id,
    kind: 'caption',
    node: 'pi5',
    stream: 'door',
    source: { topic: 'hearth/in/door/x', sha256: 'ab'.repeat(32) },
    plugin: 'probe',
    model: 'nano',
    slice: 'e2b',
    tokens: { prompt: 10, completion: 3 },
    truncated: true,
    text: long,
    summary: `${'word '.repeat(49)}word…`.slice(0, 250),
    lang: 'de',
  });
  expect(latency_ms).toBe(Math.round((ts - captured_ts) * 1000));
  expect(first_token_ms).toBeGreaterThanOrEqual(0);
  expect(first_token_ms).toBeLessThanOrEqual(latency_ms);
  expect(again).toMatchObject({ kind: 'caption', text: 'again', summary: 'again' });
  expect(again!.id).not.toBe(id);
  expect(again).not.toHaveProperty('model');
  expect(host.bus.partials).toEqual([{ stream: 'door', partial: { id, seq: 0, text: long } }]);
});

test('the media of a request are decoded by the daemon; read gives copies of them', async () => {
  await start(
    { verbs: ['look'] },
    `ctx.onRequest('look', async ({ payload, image, audio }) => {
      const picture = image && (await ctx.read(image)).image;
      const sound = audio && (await ctx.read(audio)).audio;
      return { payload, size: picture && [picture.width, picture.height, picture.data.length], samples: sound && sound.samples.length };
    })`,
  );
  const png = readFileSync(join(process.cwd(), 'test/fixtures/media/tree.png')).toString('base64');
  const wav = readFileSync(join(process.cwd(), 'test/fixtures/media/speech-002.wav'));
  const answer = (await host.bus.ask('look', { image: png, audio: wav.toString('base64'), more: 1 })) as Record<string, unknown>;
  // 44 bytes of header, 16 bit mono at 16 kHz.
  expect(answer).toEqual({ payload: { more: 1 }, size: [256, 256, 256 * 256 * 3], samples: (wav.length - 44) / 2 });
  expect(await host.bus.ask('look', { image: `data:image/png;base64,${png}` })).toMatchObject({ size: [256, 256, 196608] });
});

test('hostile request payloads end in an error with a code, and the plugin lives on', async () => {
  await start({ verbs: ['look'] }, 'ctx.onRequest("look", ({ payload }) => payload)');
  const cases: [payload: Record<string, unknown>, code: string][] = [
    [{ image: 5 }, 'REQUEST_INVALID'],
    [{ image: '' }, 'REQUEST_INVALID'],
    [{ image: null }, 'REQUEST_INVALID'],
    [{ image: { toString: 'x' } }, 'REQUEST_INVALID'],
    [{ image: '!!!' }, 'MEDIA_BAD_ENVELOPE'],
    [{ image: Buffer.from('no picture at all').toString('base64') }, 'MEDIA_NOT_AN_IMAGE'],
    [{ audio: ['x'] }, 'REQUEST_INVALID'],
    [{ audio: '\u0000' }, 'REQUEST_INVALID'],
    [{ audio: Buffer.from('RIFF\x00\x00\x00\x00WAVE').toString('base64') }, 'MEDIA_BROKEN_WAV'],
  ];
  for (const [payload, code] of cases) {
    expect({ payload, code: (await failureOf(host.bus.ask('look', payload))).code }).toEqual({ payload, code });
  }
  const odd = JSON.parse('{"__proto__": {"x": 1}, "constructor": "y", "deep": [[[[{}]]]]}') as Record<string, unknown>;
  expect(JSON.stringify(await host.bus.ask('look', odd))).toContain('"constructor":"y"');
  expect(host.bus.lastState('probe')).toEqual({ state: 'running', restarts: 0 });
});

test('media and items are a plugin’s only while their handler runs', async () => {
  await start(
    { consumes: ['frame'], emits: ['caption'], verbs: ['late'] },
    `let kept; ctx.onFrame((item) => { kept = item; });
     const code = (work) => work.then(() => 'fine', (error) => error.code);
     ctx.onRequest('late', async () => [
       await code(ctx.read(kept.media)),
       await code(ctx.emit({ kind: 'caption', item: kept, text: 'late' })),
       await code(ctx.generate({ item: kept, messages: [{ role: 'user', parts: [{ type: 'text', text: 'x' }] }] })),
       await code(ctx.generate({ messages: [{ role: 'user', parts: [{ type: 'media', media: kept.media }] }] })),
     ]);`,
  );
  host.frame();
  await until(() => host.store.count === 0);
  expect(await host.bus.ask('late', {})).toEqual(['MEDIA_GONE', 'PLUGIN_EMIT_INVALID', 'PLUGIN_EMIT_INVALID', 'MEDIA_GONE']);
  expect(host.bus.events).toEqual([]);
});

test('what a plugin asks for is checked: events, prompts, values that cannot cross', async () => {
  await start(
    { consumes: ['segment'], emits: ['transcript'], verbs: ['try'] },
    `const code = async (work) => { try { await work(); return 'fine'; } catch (error) { return error.code ?? error.name; } };
     const ask = (parts, more) => () => ctx.generate({ messages: [{ role: 'user', parts, ...more }] });
     ctx.onSegment(async (item) => ctx.emit({ kind: 'transcript', item, text: JSON.stringify([
       await code(() => ctx.emit({ kind: 'caption', item, text: 'x' })),
       await code(() => ctx.emit({ kind: 'skipped', item })),
       await code(() => ctx.emit({ kind: 'transcript', item, text: 5 })),
       await code(() => ctx.emit({ kind: 'transcript', item, id: 'my-own' })),
       await code(() => ctx.emit({ kind: 'transcript', item, result: { job: 'none' } })),
       await code(() => ctx.emit(null)),
       await code(() => ctx.generate(null)),
       await code(() => ctx.generate({ messages: 'x' })),
       await code(ask([{ type: 'text', text: 5 }])),
       await code(ask([{ type: 'picture' }])),
       await code(ask([{ type: 'media', media: 'ref' }])),
       await code(ask([{ type: 'image', image: { width: 2, height: 2, data: new Uint8Array(3) } }])),
       await code(ask([{ type: 'audio', audio: { samples: [1, 2] } }])),
       await code(ask([], { role: 'root' })),
       await code(() => ctx.generate({ messages: [], schema: () => 1 })),
       await code(() => ctx.publish('a', 'b')),
     ]) }));
     ctx.onRequest('try', () => () => 1);`,
  );
  host.segment();
  await until(() => host.bus.events.length > 0);
  expect(JSON.parse(host.bus.events[0]?.text ?? host.bus.events[0]?.error?.message ?? '')).toEqual([
    ...Array<string>(6).fill('PLUGIN_EMIT_INVALID'),
    ...Array<string>(8).fill('PROMPT_INVALID'),
    'DataCloneError',
    'PLUGIN_TOPIC_UNDECLARED',
  ].map((code) => (code === 'DataCloneError' ? (expect.anything() as string) : code)));
  expect(await failureOf(host.bus.ask('try', {}))).toMatchObject({ code: 'PLUGIN_FAILED', message: expect.stringContaining('could not be cloned') as string });
  expect(host.engine.asked).toEqual([]);
  expect(host.bus.lastState('probe')).toEqual({ state: 'running', restarts: 0 });
});

test('only declared topics, with the configuration filled in', async () => {
  await start(
    {
      verbs: ['publish', 'subscribe', 'heard'],
      topics: { publish: ['home/{config.room}/set', '{config.more.*.topic}', 'w/+/x'], subscribe: ['in/+', 'zigbee/#'] },
      configSchema: {
        type: 'object',
        properties: { room: { type: 'string' }, more: { type: 'array', items: { type: 'object', properties: { topic: { type: 'string' } } } } },
      },
    },
    `const heard = [];
     ctx.onRequest('publish', ({ payload }) => ctx.publish(payload.topic, payload.bytes ? Buffer.from('bytes') : 'text', { qos: 1, retain: true }));
     ctx.onRequest('subscribe', ({ payload }) => ctx.subscribe(payload.filter, (topic, bytes) => { heard.push([topic, Buffer.from(bytes).toString()]); }));
     ctx.onRequest('heard', () => heard);`,
    { room: 'kitchen', more: [{ topic: 'lights/{arguments.room}/on' }, { topic: 'plain' }] },
  );
  const publish = async (topic: unknown): Promise<unknown> => {
    try {
      await host.bus.ask('publish', { topic });
      return 'published';
    } catch (error) {
      return (error as { code: unknown }).code;
    }
  };
  for (const topic of ['home/kitchen/set', 'lights/hall/on', 'plain', 'w/1/x']) expect([topic, await publish(topic)]).toEqual([topic, 'published']);
  for (const topic of ['home/hall/set', 'home/kitchen/set/x', 'lights/a/b/on', 'plain/', 'hearth/pi5/state', '', '#', 'w/+', 5, null]) {
    expect([topic, await publish(topic)]).toEqual([topic, 'PLUGIN_TOPIC_UNDECLARED']);
  }
  expect(host.bus.published[0]).toEqual({ topic: 'home/kitchen/set', payload: 'text', options: { qos: 1, retain: true } });
  await host.bus.ask('publish', { topic: 'plain', bytes: true });
  expect(host.bus.published.at(-1)?.payload).toBe('bytes');

  for (const filter of ['#', '+', 'in/#', 'in', 'zig/#', '$SYS/#', '']) {
    expect([filter, (await failureOf(host.bus.ask('subscribe', { filter }))).code]).toEqual([filter, 'PLUGIN_TOPIC_UNDECLARED']);
  }
  await host.bus.ask('subscribe', { filter: 'zigbee/+/state' });
  await host.bus.ask('subscribe', { filter: 'in/a' });
  expect([...host.bus.subscriptions.keys()]).toEqual(['zigbee/+/state', 'in/a']);
  const info = { retain: false, receivedTs: 0, properties: {} };
  host.bus.subscriptions.get('in/a')?.('in/a', Buffer.from('hello'), info);
  expect(await host.bus.ask('heard', {})).toEqual([['in/a', 'hello']]);
  await host.host.stop();
  expect(host.bus.subscriptions.size).toBe(0);
});

test('messages faster than a plugin takes them are dropped, not piled up', async () => {
  await start(
    { verbs: ['count', 'go'], topics: { subscribe: ['flood'] } },
    `let count = 0; let go; const gate = new Promise((resolve) => { go = resolve; });
     await ctx.subscribe('flood', async () => { await gate; count++; });
     ctx.onRequest('go', () => { go(); }); ctx.onRequest('count', () => count);`,
  );
  const info = { retain: false, receivedTs: 0, properties: {} };
  for (let i = 0; i < 1000; i++) host.bus.subscriptions.get('flood')?.('flood', Buffer.from('x'), info);
  await host.bus.ask('go', {});
  let count: unknown;
  for (let i = 0; i < 500 && count !== 64; i++) count = await host.bus.ask('count', {});
  expect(count).toBe(64);
});

test('two plugins: the second to claim a verb is quarantined; a stream can name who gets it', async () => {
  const first = directory.write('first.cjs', pluginSource({ name: 'first', verbs: ['same'], consumes: ['frame'], emits: ['caption'] }, 'ctx.onRequest("same", () => "first"); ctx.onFrame((item) => ctx.emit({ kind: "caption", item, text: "first" }))'));
  const second = directory.write('second.cjs', pluginSource({ name: 'second', consumes: ['frame'], emits: ['caption'] }, 'ctx.onFrame((item) => ctx.emit({ kind: "caption", item, text: "second" }))'));
  const third = directory.write('third.cjs', pluginSource({ name: 'third', verbs: ['same'] }, 'await new Promise((r) => setTimeout(r, 300)); ctx.onRequest("same", () => "third")'));
  const policy: StreamPolicy = { priority: 0, deadlineMs: 30_000, settings: {}, partials: false };
  host = makeHost(
    [
      { name: 'first', path: first },
      { name: 'second', path: second },
      { name: 'third', path: third },
    ],
    { policy: (_kind, stream) => (stream === 'door' ? { ...policy, plugins: ['second'] } : policy) },
  );
  host.host.start();
  await host.host.settled();
  expect(host.bus.lastState('third')).toMatchObject({ state: 'quarantined', reason: expect.stringMatching(/^PLUGIN_MANIFEST_INVALID: verbs/) as string });
  expect(await host.bus.ask('same', {})).toBe('first');
  host.frame('door');
  await until(() => host.bus.events.length === 1);
  host.frame('garden');
  await until(() => host.bus.events.length === 3);
  expect(host.bus.events.map(({ stream, plugin, text }) => [stream, plugin, text]).sort()).toEqual([
    ['door', 'second', 'second'],
    ['garden', 'first', 'first'],
    ['garden', 'second', 'second'],
  ]);
  expect(host.host.status().map(({ name, state, verbs }) => [name, state, verbs])).toEqual([
    ['first', 'running', ['same']],
    ['second', 'running', []],
    ['third', 'quarantined', []],
  ]);
});
