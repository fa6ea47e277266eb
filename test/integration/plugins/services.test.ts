/** What a plugin can ask of the daemon, through a real worker: media, jobs, events, topics. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { model } from '@hearth/testkit';
import { HearthError } from '../../../daemon/errors';
import { failureOf, type Made, make, source, until, withTest, write } from './support';

let made: Made;

async function start(
  manifest: Readonly<Record<string, unknown>>,
  body: string,
  options: Parameters<typeof withTest>[2] = {},
): Promise<void> {
  made = withTest(`async start(ctx) { ${body} }`, manifest, options);
  await made.start('test');
  expect(made.bus.states.get('test')?.at(-1)).toEqual({ state: 'running', restarts: 0 });
}

test('what start is given: configuration with defaults, node and model', async () => {
  await start(
    {
      verbs: ['look'],
      configSchema: {
        type: 'object',
        additionalProperties: false,
        properties: {
          a: { type: 'integer', default: 3 },
          list: { type: 'array', items: { type: 'object', properties: { b: { default: true } } } },
        },
      },
    },
    'ctx.onRequest("look", () => ({ config: ctx.config, node: ctx.node, model: ctx.model }))',
    { config: { list: [{}] } },
  );
  expect(await made.bus.request('look', {})).toEqual({ config: { a: 3, list: [{ b: true }] }, node: 'pi5', model });
});

test('a frame by reference: the pixels reach the engine, the event is completed from the item and the job', async () => {
  await start(
    { consumes: ['frame'], emits: ['caption'] },
    `ctx.onFrame(async (item) => {
      const result = await ctx.generate({ item, messages: [{ role: 'user', parts: [{ type: 'media', media: item.media }, { type: 'text', text: item.settings.prompt }] }], maxTokens: 7, sampling: { temperature: 0 } });
      await ctx.emit({ kind: 'caption', item, result, text: result.text, lang: 'de' });
      await ctx.emit({ kind: 'caption', item, text: 'again' });
    })`,
    { streams: { front: { priority: 3, settings: { prompt: 'Was siehst du?' }, partials: true } } },
  );
  const long = `${'word '.repeat(60)}end`;
  made.engine.reply = () => ({ text: long, finishReason: 'length', slice: 'e4b' });
  const id = made.frame();
  await until(() => made.bus.events.length === 2);
  expect(made.engine.jobs).toEqual([
    {
      messages: [
        {
          role: 'user',
          parts: [
            { type: 'image', image: { width: 1, height: 1, data: Uint8Array.of(255, 0, 0) } },
            { type: 'text', text: 'Was siehst du?' },
          ],
        },
      ],
      maxTokens: 7,
      sampling: { temperature: 0 },
    },
  ]);
  const [event, again] = made.bus.events;
  const { ts, captured_ts, latency_ms, first_token_ms, ...rest } = event!;
  expect(rest).toEqual({
    v: 1,
    id,
    kind: 'caption',
    node: 'pi5',
    stream: 'front',
    source: { topic: 'hearth/in/front/frame', sha256: 'c'.repeat(64) },
    plugin: 'test',
    model: 'nano',
    slice: 'e4b',
    tokens: { prompt: 11, completion: 5, cached: 0 },
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
  // The rest comes sooner than a quarter of a second after the first word.
  expect(made.bus.partials[0]).toEqual({ stream: 'front', partial: { id, seq: 0, text: 'word ' } });
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
  const answer = (await made.bus.request('look', { image: png, audio: wav.toString('base64'), more: 1 })) as Record<
    string,
    unknown
  >;
  // 44 bytes of header, 16 bit mono at 16 kHz.
  expect(answer).toEqual({ payload: { more: 1 }, size: [256, 256, 256 * 256 * 3], samples: (wav.length - 44) / 2 });
  expect(await made.bus.request('look', { image: `data:image/png;base64,${png}` })).toMatchObject({
    size: [256, 256, 196608],
  });
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
    expect({ payload, code: (await failureOf(made.bus.request('look', payload))).code }).toEqual({ payload, code });
  }
  const odd = JSON.parse('{"__proto__": {"x": 1}, "constructor": "y", "deep": [[[[{}]]]]}') as Record<string, unknown>;
  expect(JSON.stringify(await made.bus.request('look', odd))).toContain('"constructor":"y"');
  expect(made.bus.states.get('test')?.at(-1)).toEqual({ state: 'running', restarts: 0 });
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
  made.frame();
  await until(() => made.store.count === 0);
  expect(await made.bus.request('late', {})).toEqual([
    'MEDIA_GONE',
    'PLUGIN_EMIT_INVALID',
    'PLUGIN_EMIT_INVALID',
    'MEDIA_GONE',
  ]);
  expect(made.bus.events).toEqual([]);
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
  made.segment();
  await until(() => made.bus.events.length > 0);
  expect(JSON.parse(made.bus.events[0]?.text ?? made.bus.events[0]?.error?.message ?? '')).toEqual([
    ...Array<string>(6).fill('PLUGIN_EMIT_INVALID'),
    ...Array<string>(8).fill('PROMPT_INVALID'),
    DOMException.DATA_CLONE_ERR,
    'PLUGIN_TOPIC_UNDECLARED',
  ]);
  expect(await failureOf(made.bus.request('try', {}))).toMatchObject({
    code: 'PLUGIN_FAILED',
    message: expect.stringContaining('could not be cloned') as string,
  });
  expect(made.engine.jobs).toEqual([]);
  expect(made.bus.states.get('test')?.at(-1)).toEqual({ state: 'running', restarts: 0 });
});

test('only declared topics, with the configuration filled in', async () => {
  await start(
    {
      verbs: ['publish', 'subscribe', 'heard'],
      topics: {
        publish: ['home/{config.room}/set', '{config.more.*.topic}', 'w/+/x'],
        subscribe: ['in/+', 'zigbee/#'],
      },
      configSchema: {
        type: 'object',
        properties: {
          room: { type: 'string' },
          more: { type: 'array', items: { type: 'object', properties: { topic: { type: 'string' } } } },
        },
      },
    },
    `const heard = [];
     ctx.onRequest('publish', ({ payload }) => ctx.publish(payload.topic, payload.bytes ? Buffer.from('bytes') : 'text', { qos: 1, retain: true }));
     ctx.onRequest('subscribe', ({ payload }) => ctx.subscribe(payload.filter, (topic, bytes) => { heard.push([topic, Buffer.from(bytes).toString()]); }));
     ctx.onRequest('heard', () => heard);`,
    { config: { room: 'kitchen', more: [{ topic: 'lights/{arguments.room}/on' }, { topic: 'plain' }] } },
  );
  const publish = async (topic: unknown): Promise<unknown> => {
    try {
      await made.bus.request('publish', { topic });
      return 'published';
    } catch (error) {
      return (error as { code: unknown }).code;
    }
  };
  for (const topic of ['home/kitchen/set', 'lights/hall/on', 'plain', 'w/1/x'])
    expect([topic, await publish(topic)]).toEqual([topic, 'published']);
  for (const topic of [
    'home/hall/set',
    'home/kitchen/set/x',
    'lights/a/b/on',
    'plain/',
    'hearth/pi5/state',
    '',
    '#',
    'w/+',
    5,
    null,
  ]) {
    expect([topic, await publish(topic)]).toEqual([topic, 'PLUGIN_TOPIC_UNDECLARED']);
  }
  expect(made.bus.published[0]).toEqual({
    topic: 'home/kitchen/set',
    payload: 'text',
    options: { qos: 1, retain: true },
  });
  await made.bus.request('publish', { topic: 'plain', bytes: true });
  expect(made.bus.published.at(-1)).toMatchObject({ payload: 'bytes', options: { qos: 1, retain: true } });
  expect(made.bus.published.at(-1)?.options).not.toHaveProperty('utf8');

  for (const filter of ['#', '+', 'in/#', 'in', 'zig/#', '$SYS/#', '']) {
    expect([filter, (await failureOf(made.bus.request('subscribe', { filter }))).code]).toEqual([
      filter,
      'PLUGIN_TOPIC_UNDECLARED',
    ]);
  }
  await made.bus.request('subscribe', { filter: 'zigbee/+/state' });
  await made.bus.request('subscribe', { filter: 'in/a' });
  expect(made.bus.subscriptions.map(({ filter }) => filter)).toEqual(['zigbee/+/state', 'in/a']);
  made.bus.receive('in/a', 'hello');
  expect(await made.bus.request('heard', {})).toEqual([['in/a', 'hello']]);
  await made.host.stop();
  expect(made.bus.subscriptions).toEqual([]);
});

test('messages faster than a plugin takes them are dropped, not piled up', async () => {
  await start(
    { verbs: ['count', 'go'], topics: { subscribe: ['flood'] } },
    `let count = 0; let go; const gate = new Promise((resolve) => { go = resolve; });
     await ctx.subscribe('flood', async () => { await gate; count++; });
     ctx.onRequest('go', () => { go(); }); ctx.onRequest('count', () => count);`,
  );
  for (let i = 0; i < 1000; i++) made.bus.receive('flood', 'x');
  await made.bus.request('go', {});
  let count: unknown;
  for (let i = 0; i < 500 && count !== 64; i++) count = await made.bus.request('count', {});
  expect(count).toBe(64);
});

test('two plugins: the second to claim a verb is quarantined; a stream can name who gets it', async () => {
  const echo = (name: string): string => `ctx.onFrame((item) => ctx.emit({ kind: 'caption', item, text: '${name}' }));`;
  const plugin = (name: string, manifest: Record<string, unknown>, body: string) => ({
    name,
    path: write(source(`async start(ctx) { ${body} }`, { name, ...manifest })),
  });
  const frames = { consumes: ['frame'], emits: ['caption'] };
  made = make(
    [
      plugin('first', { ...frames, verbs: ['same'] }, `ctx.onRequest('same', () => 'first'); ${echo('first')}`),
      plugin('second', frames, echo('second')),
      // Asks the engine before it claims the verb.
      plugin(
        'third',
        { verbs: ['same'] },
        `await ctx.generate({ messages: [{ role: 'user', parts: [{ type: 'text', text: 'go?' }] }] }); ctx.onRequest('same', () => 'third');`,
      ),
    ],
    { streams: { front: { plugins: ['second'] } } },
  );
  made.engine.reply = async () => {
    await until(() => made.bus.state('first') === 'running');
    return 'go';
  };
  await made.start('third');
  await made.host.settled();
  expect(made.bus.reason('third')).toMatch(/^PLUGIN_MANIFEST_INVALID: verbs: /);
  expect(await made.bus.request('same')).toBe('first');
  made.frame('front');
  await until(() => made.bus.events.length === 1);
  made.frame('garden');
  await until(() => made.bus.events.length === 3);
  expect(made.bus.events.map(({ stream, plugin: name, text }) => [stream, name, text]).sort()).toEqual([
    ['front', 'second', 'second'],
    ['garden', 'first', 'first'],
    ['garden', 'second', 'second'],
  ]);
  expect(made.host.status().map(({ name, state, verbs }) => [name, state, verbs])).toEqual([
    ['first', 'running', ['same']],
    ['second', 'running', []],
    ['third', 'quarantined', []],
  ]);
});

test('items that wait for a plugin on its way back are handled in order; none is lost or skipped', async () => {
  await start(
    { consumes: ['segment'], emits: ['transcript'] },
    `ctx.onSegment(async (item) => {
      if (item.id.endsWith('-0')) process.exit(1);
      await ctx.emit({ kind: 'transcript', item, text: 'heard' });
    });`,
  );
  const ids = [made.segment(), made.segment(), made.segment()];
  await until(() => made.bus.events.length === 3);
  expect(made.bus.events.map(({ id, kind }) => [id, kind])).toEqual([
    [ids[0], 'error'],
    [ids[1], 'transcript'],
    [ids[2], 'transcript'],
  ]);
  await until(() => made.store.count === 0);
});

test('a job the queue refuses makes the item a skipped one; one after a result makes an error', async () => {
  await start(
    { consumes: ['frame'], emits: ['caption'] },
    `ctx.onFrame(async (item) => {
      if (item.stream === 'used') await ctx.emit({ kind: 'caption', item, text: 'one' });
      await ctx.generate({ messages: [{ role: 'user', parts: [{ type: 'text', text: 'x' }] }] });
    });`,
  );
  made.engine.reply = () => {
    throw new HearthError('QUEUE_FULL', 'full');
  };
  made.frame('unused');
  await until(() => made.bus.events.length === 1);
  expect(made.bus.events[0]).toMatchObject({ stream: 'unused', kind: 'skipped', reason: 'queue-full' });
  made.frame('used');
  await until(() => made.bus.events.length === 3);
  expect(made.bus.events.slice(1).map(({ kind, error }) => [kind, error?.code])).toEqual([
    ['caption', undefined],
    ['error', 'QUEUE_FULL'],
  ]);
});

test('stopping: a handler that ends in time counts, one that does not makes a skipped item', async () => {
  await start(
    { consumes: ['frame'], emits: ['caption'] },
    `ctx.onFrame(async (item) => {
      if (item.stream === 'slow') await new Promise(() => {});
      await ctx.emit({ kind: 'caption', item, text: 'seen' });
    });`,
  );
  const quick = made.frame('quick');
  const slow = made.frame('slow');
  await made.host.stop();
  await until(() => made.store.count === 0);
  expect(
    made.bus.events.map(({ id, stream, kind, reason }) => [kind === 'skipped' ? stream : id, kind, reason]),
  ).toEqual([
    [quick, 'caption', undefined],
    ['slow', 'skipped', 'shutdown'],
  ]);
  expect(slow).not.toBe(quick);
});

test('a native addon does not load in a worker', async () => {
  await start(
    { verbs: ['load'] },
    `ctx.onRequest('load', () => { try { process.dlopen({ exports: {} }, '/nonexistent.node'); } catch (error) { return error.code; } });`,
  );
  expect(await made.bus.request('load')).toBe('ERR_DLOPEN_DISABLED');
});

test('what a plugin posts past its API is ignored, and what it prints is no concern of the daemon', async () => {
  await start(
    { verbs: ['post', 'ping'] },
    `const { parentPort } = await import('node:worker_threads');
     ctx.onRequest('post', () => {
       for (const message of [
         null, 5, 'text', {}, [], { type: 'call' }, { type: 'call', id: 1, method: 'constructor', args: [] }, { type: 'call', id: 2, method: 'emit', args: 5 },
         { type: 'notice', method: 'log', args: [] }, { type: 'notice', method: 'log', args: ['fatal', null] }, { type: 'notice', method: 'toString', args: [] },
         { type: 'notice', method: 'log' }, { type: 'result', id: 99 }, { type: 'error', id: 0 }, { type: 'error' },
       ]) parentPort.postMessage(message);
       console.log('x'.repeat(100000)); console.error('y'); process.stdout.write('no end of line');
       ctx.log.info({ toString: () => 'odd' }, { deep: { self: 1n } });
     });
     ctx.onRequest('ping', () => 'pong');`,
  );
  // A made-up error for a call in hand may end that call, nothing else.
  await made.bus.request('post').catch(() => undefined);
  expect(await made.bus.request('ping')).toBe('pong');
  expect(made.bus.states.get('test')?.at(-1)).toEqual({ state: 'running', restarts: 0 });
});

describe('a picture the plugin gets by itself', () => {
  const png = readFileSync(join(process.cwd(), 'test/fixtures/media/tree.png')).toString('base64');
  const manifest = { verbs: ['look', 'keep'], emits: ['caption'] };
  const body = `
    const kept = [];
    ctx.onRequest('look', async ({ payload }) => await ctx.withFrame(
      { stream: payload.stream ?? 'yard', topic: 'elsewhere/events', load: async () => {
        if (payload.fail === 'load') throw Object.assign(new Error('nothing there'), { code: 'WEB_REQUEST_FAILED' });
        return Buffer.from(payload.bytes, 'base64');
      } },
      async (frame) => {
        if (payload.fail === 'handler') throw new Error('no idea');
        const result = await ctx.generate({ item: frame, messages: [{ role: 'user', parts: [{ type: 'media', media: frame.media }] }] });
        await ctx.emit({ kind: 'caption', item: frame, result, text: result.text });
        return { width: frame.width, settings: frame.settings, base: ctx.baseTopic };
      },
    ));
    ctx.onRequest('keep', async () => {
      const open = () => ctx.withFrame({ stream: 'yard', topic: 't', load: () => new Promise(() => undefined) }, () => undefined);
      for (let i = 0; i < 4; i++) open().catch(() => undefined);
      await open();
    });
  `;

  test('is an item of a stream, with the stream’s own settings', async () => {
    await start(manifest, body, { streams: { yard: { settings: { prompt: 'Who?' }, priority: 3 } } });
    made.engine.reply = () => 'A tree.';
    expect(await made.bus.request('look', { bytes: png })).toEqual({
      width: 256,
      settings: { prompt: 'Who?' },
      base: 'hearth',
    });
    expect(made.bus.events).toEqual([
      expect.objectContaining({
        kind: 'caption',
        stream: 'yard',
        text: 'A tree.',
        plugin: 'test',
        source: { topic: 'elsewhere/events', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string },
      }),
    ]);
    expect(made.engine.jobs[0]?.messages[0]?.parts).toMatchObject([
      { type: 'image', image: { width: 256, height: 256 } },
    ]);
  });

  test.each([
    [{ fail: 'load' }, 'WEB_REQUEST_FAILED', undefined],
    [{ bytes: png, fail: 'handler' }, 'PLUGIN_FAILED', expect.stringMatching(/^[0-9a-f]{64}$/)],
    [{ bytes: 'AAAA' }, 'MEDIA_NOT_AN_IMAGE', undefined],
    [{ bytes: png.slice(0, 4000) }, 'MEDIA_BROKEN_IMAGE', undefined],
    [{ bytes: 'A'.repeat(200_000) }, 'MEDIA_TOO_LARGE', undefined],
  ])('what fails is an error event of the stream: %#', async (payload, code, sha256) => {
    await start(manifest, body);
    expect((await failureOf(made.bus.request('look', payload))).code).toBe(code);
    expect(made.bus.events).toMatchObject([{ kind: 'error', stream: 'yard', error: { code } }]);
    expect(made.bus.events[0]?.source).toEqual({ topic: 'elsewhere/events', ...(sha256 !== undefined && { sha256 }) });
  });

  test('needs the name of a stream; at most four at a time; those of a plugin that ends are errors', async () => {
    await start(manifest, body);
    expect((await failureOf(made.bus.request('look', { stream: 'a/b', bytes: png }))).code).toBe('STREAM_NAME_INVALID');
    expect((await failureOf(made.bus.request('keep'))).code).toBe('MEDIA_STORE_FULL');
    expect(made.bus.events).toEqual([]);
    await made.host.stop();
    expect(made.bus.events.map(({ kind, error }) => [kind, error?.code])).toEqual(Array(4).fill(['error', 'SHUTDOWN']));
  });
});

test('an item every plugin hands back is skipped; one that another uses is not', async () => {
  const body = (then: string): string =>
    write(
      source(
        `start(ctx) { ctx.onSegment((item) => { if (item.stream === 'kitchen') throw Object.assign(new Error('not mine'), { code: 'ITEM_UNWANTED' }); ${then} }); }`,
        { consumes: ['segment'] },
      ),
    );
  made = make([{ name: 'test', path: body('') }]);
  await made.start('test');
  made.segment('kitchen');
  made.segment('hall');
  await until(() => made.bus.events.length === 1 && made.dispatcher.used()['hall'] === 1);
  expect(made.bus.events).toMatchObject([
    { kind: 'skipped', stream: 'kitchen', reason: 'no-consumer', error: { code: 'ITEM_UNWANTED' } },
  ]);
});

describe('someone begins to speak while a plugin makes something of what was said before', () => {
  /** Asks three times over a segment, whatever comes of it, and gives up with the last error. */
  const persistent = (options: string): string => `ctx.onSegment(async (item) => {
    let last;
    for (let i = 0; i < 3; i++) {
      try { await ctx.generate({ item, messages: [{ role: 'user', parts: [{ type: 'text', text: 'go on' }] }]${options} }); }
      catch (error) { last = error; }
    }
    if (last !== undefined) throw last;
  })`;
  const speech = (mode: 'answers' | 'all'): void => {
    made.bargeIn.speechBegins('kitchen', Date.now() / 1000 + 1, { mode, streams: [] });
  };

  test.each([
    ['translation', 'all'],
    ['answer', 'answers'],
    ['answer', 'all'],
  ] as const)('its %s is given up with bargeIn %s, and no further job for it is let in', async (emits, mode) => {
    await start({ consumes: ['segment'], emits: [emits] }, persistent(''));
    made.engine.hang();
    made.segment();
    await until(() => made.engine.jobs.length === 1);
    speech(mode);
    await until(() => made.bus.events.length === 1);
    expect(made.bus.events[0]).toMatchObject({
      kind: 'skipped',
      stream: 'kitchen',
      reason: 'barge-in',
      error: { code: 'BARGE_IN', message: 'job for kitchen: was interrupted by speech into kitchen', retryable: false },
    });
    expect([made.engine.jobs.length, made.engine.aborted.length]).toEqual([1, 1]);
  });

  test.each([
    ['a translation with bargeIn answers', 'translation', '', 'answers'],
    ['a job that says it has to end', 'transcript', ', bargeIn: false', 'all'],
  ] as const)('%s goes on', async (_what, emits, options, mode) => {
    await start({ consumes: ['segment'], emits: [emits] }, persistent(options));
    let finish: (text: string) => void = () => undefined;
    made.engine.reply = async () => await new Promise<string>((resolve) => (finish = resolve));
    made.segment();
    for (let jobs = 1; jobs <= 3; jobs++) {
      await until(() => made.engine.jobs.length === jobs);
      speech(mode);
      finish('done');
    }
    await until(() => made.dispatcher.used()['kitchen'] === 1);
    expect(made.engine.jobs[0]).not.toHaveProperty('bargeIn');
    expect(made.bus.events).toEqual([]);
  });
});
