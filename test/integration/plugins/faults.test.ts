/** Plugins that misbehave, in real workers: the daemon stays up, every item ends in an event, every request in an answer. */

import { model } from '@hearth/testkit';
import type { ModelInfo } from '../../../daemon/inference/types';
import { make, source, until, withTest, write } from './support';

const frames = { consumes: ['frame'], emits: ['caption'] };
const echo = `ctx.onFrame((item) => ctx.emit({ kind: 'caption', item, text: 'seen' }));`;

/** Does `how` with a frame of the stream `bad`, and sees every other. */
const diesOf = (how: string): string => `start(ctx) { ctx.onFrame(async (item) => {
  if (item.stream === 'bad') { ${how} }
  await ctx.emit({ kind: 'caption', item, text: 'seen' });
}); }`;

test.each([
  [
    'a throw outside a handler',
    `setImmediate(() => { throw new Error('out of nowhere'); }); await new Promise(() => undefined);`,
    'out of nowhere',
  ],
  [
    'an unhandled rejection',
    `Promise.reject(new Error('forgotten')); await new Promise(() => undefined);`,
    'forgotten',
  ],
  ['process.exit', 'process.exit(3);', 'exit code 3'],
  ['a full heap', `const held = []; for (;;) held.push(new Array(1e5).fill({}));`, 'heap'],
])('%s ends the item in hand in an error event, and the plugin starts again', async (_name, how, reason) => {
  const made = withTest(diesOf(how), frames, { memoryMb: 32 });
  await made.start('test');
  const bad = made.frame('bad');
  expect(await made.eventOf(bad)).toMatchObject({
    kind: 'error',
    plugin: 'test',
    stream: 'bad',
    source: { topic: 'hearth/in/bad/frame' },
    error: { code: 'PLUGIN_CRASHED', retryable: true, message: expect.stringContaining(reason) },
  });
  const good = made.frame('good');
  expect(await made.eventOf(good)).toMatchObject({ kind: 'caption', text: 'seen' });
  expect(made.bus.states.get('test')?.map(({ state }) => state)).toEqual([
    'starting',
    'running',
    'restarting',
    'running',
  ]);
  expect(made.bus.states.get('test')?.at(-1)?.restarts).toBe(1);
  await until(() => made.store.count === 0);
});

test('an endless loop is ended; what it had in hand is an error', async () => {
  const made = withTest(diesOf('for (;;);'), frames, { hangTimeoutMs: 400 });
  await made.start('test');
  const bad = made.frame('bad');
  expect(await made.eventOf(bad)).toMatchObject({
    kind: 'error',
    error: { code: 'PLUGIN_CRASHED', message: expect.stringContaining('blocked') },
  });
  await until(() => made.bus.state('test') === 'running');
});

test('buffers outside the heap count, too', async () => {
  const hoard = `globalThis.held = Array.from({ length: 100 }, () => new Uint8Array(1 << 20)); await new Promise(() => undefined);`;
  const made = withTest(diesOf(hoard), frames, { hangTimeoutMs: 2000, memoryMb: 32 });
  await made.start('test');
  expect(await made.eventOf(made.frame('bad'))).toMatchObject({
    kind: 'error',
    error: { code: 'PLUGIN_CRASHED', message: expect.stringContaining('buffers') },
  });
});

test('a handler that never ends is ended with its plugin', async () => {
  const made = withTest(diesOf('await new Promise(() => undefined);'), frames, { timing: { handlerTimeoutMs: 300 } });
  await made.start('test');
  expect(await made.eventOf(made.frame('bad'))).toMatchObject({ kind: 'error', error: { code: 'PLUGIN_TIMEOUT' } });
});

test('after too many crashes it is quarantined: streams are without it, requests are told, and a restart helps', async () => {
  const body = `start(ctx) { ctx.onFrame(() => process.exit(1)); ctx.onRequest('ping', () => 'pong'); }`;
  const made = withTest(body, { ...frames, verbs: ['ping'] });
  await made.start('test');
  expect(await made.bus.request('ping')).toBe('pong');
  for (let crash = 1; crash <= 3; crash++) {
    expect(await made.eventOf(made.frame())).toMatchObject({ kind: 'error' });
    await until(() => made.bus.state('test') === (crash < 3 ? 'running' : 'quarantined'));
  }
  expect(made.bus.reason('test')).toContain('exit code 1');
  expect(made.dispatcher.wants('frame', 'front')).toBe(false);
  await expect(made.bus.request('ping')).rejects.toMatchObject({
    code: 'PLUGIN_UNAVAILABLE',
    message: expect.stringContaining('quarantined'),
  });
  await expect(made.bus.request('plugin/restart', { plugin: 'tset' })).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
  });
  expect(await made.bus.request('plugin/restart', { plugin: 'test' })).toMatchObject({ state: 'running' });
  expect(await made.bus.request('ping')).toBe('pong');
});

test('a plugin that dies in the middle of a job: the job is aborted, item and request end, the next job runs', async () => {
  const body = `start(ctx) {
    ctx.onFrame(async (item) => {
      setTimeout(() => process.exit(1), 200);
      await ctx.generate({ messages: [{ role: 'user', parts: [{ type: 'media', media: item.media }] }], item });
    });
    ctx.onRequest('wait', () => new Promise(() => undefined));
    ctx.onRequest('ask', async (item) => (await ctx.generate({ messages: [{ role: 'user', parts: [{ type: 'text', text: 'x' }] }], item })).text);
  }`;
  const made = withTest(body, { ...frames, verbs: ['wait', 'ask'] });
  await made.start('test');
  made.engine.hang();
  const waiting = expect(made.bus.request('wait')).rejects.toMatchObject({ code: 'PLUGIN_CRASHED' });
  const id = made.frame();
  expect(await made.eventOf(id)).toMatchObject({ kind: 'error', error: { code: 'PLUGIN_CRASHED' } });
  await waiting;
  await until(() => made.engine.aborted.length === 1);
  expect(made.engine.aborted[0]?.messages[0]?.parts).toEqual([
    { type: 'image', image: { width: 1, height: 1, data: Uint8Array.of(255, 0, 0) } },
  ]);
  made.engine.reply = 'still here';
  await until(() => made.bus.state('test') === 'running');
  expect(await made.bus.request('ask')).toBe('still here');
});

test.each([
  ['no manifest', 'export default { start() {} };', 'PLUGIN_LOAD_FAILED'],
  ['no start', source('stop() {}'), 'PLUGIN_LOAD_FAILED'],
  ['a syntax error', 'export default {', 'PLUGIN_LOAD_FAILED'],
  ['a module that throws', `throw new Error('not today');`, 'PLUGIN_LOAD_FAILED'],
  ['another name', source('start() {}', { name: 'other' }), 'PLUGIN_MANIFEST_INVALID'],
  ['an unknown member', source('start() {}', { topic: [] }), 'PLUGIN_MANIFEST_INVALID'],
  ['an unknown kind', source('start() {}', { emits: ['skipped'] }), 'PLUGIN_MANIFEST_INVALID'],
  ['a broken filter', source('start() {}', { topics: { publish: ['a/#/b'] } }), 'PLUGIN_MANIFEST_INVALID'],
  ['a broken schema', source('start() {}', { configSchema: { type: 'nonsense' } }), 'PLUGIN_MANIFEST_INVALID'],
  ['a verb in capitals', source('start() {}', { verbs: ['Ping'] }), 'PLUGIN_MANIFEST_INVALID'],
  ['an undeclared verb', source(`start(ctx) { ctx.onRequest('ping', () => 1); }`), 'PLUGIN_MANIFEST_INVALID'],
  ['undeclared frames', source(`start(ctx) { ctx.onFrame(() => 1); }`), 'PLUGIN_MANIFEST_INVALID'],
  ['an older API', source('start() {}', { apiVersion: '^0.9.0' }), 'PLUGIN_INCOMPATIBLE'],
  ['a newer API', source('start() {}', { apiVersion: '>=2' }), 'PLUGIN_INCOMPATIBLE'],
  ['no range', source('start() {}', { apiVersion: 'latest' }), 'PLUGIN_INCOMPATIBLE'],
])('%s keeps a plugin from starting, for good', async (_name, text, code) => {
  const made = make([{ name: 'test', path: write(text) }]);
  await made.start('test');
  expect(made.bus.state('test')).toBe('quarantined');
  expect(made.bus.reason('test')).toContain(code);
  expect(made.bus.states.get('test')?.map(({ state }) => state)).toEqual(['starting', 'quarantined']);
});

test('a missing file and a verb that is taken keep only that plugin from starting', async () => {
  const answers = (name: string): string =>
    write(source(`start(ctx) { ctx.onRequest('ping', () => '${name}'); }`, { name, verbs: ['ping'] }));
  const made = make([
    { name: 'gone', path: '/nowhere/plugin.js' },
    { name: 'one', path: answers('one') },
  ]);
  made.bus.verbs.set('generate', () => 'the daemon');
  await made.start('one');
  await until(() => made.bus.state('gone') === 'quarantined');
  expect(made.bus.reason('gone')).toContain('/nowhere/plugin.js');
  expect(await made.bus.request('ping')).toBe('one');

  const taken = make([
    {
      name: 'test',
      path: write(source(`start(ctx) { ctx.onRequest('plugin/restart', () => 1); }`, { verbs: ['plugin/restart'] })),
    },
  ]);
  await taken.start('test');
  expect(taken.bus.reason('test')).toContain('PLUGIN_MANIFEST_INVALID');
});

test('a configuration that does not fit names the option', async () => {
  const configSchema = {
    type: 'object',
    additionalProperties: false,
    properties: { every: { type: 'object', properties: { seconds: { type: 'integer' } } } },
  };
  const made = withTest('start() {}', { configSchema }, { config: { every: { seconds: 'x' } } });
  await made.start('test');
  expect(made.bus.reason('test')).toContain('PLUGIN_CONFIG_INVALID: plugins.test.config.every.seconds');
});

test('a start that throws is tried again; one that hangs is ended', async () => {
  const throwing = withTest(`start() { throw new Error('no sensor'); }`);
  throwing.host.start();
  throwing.engine.ready();
  await until(() => throwing.bus.state('test') === 'quarantined');
  expect(throwing.bus.reason('test')).toContain('no sensor');
  expect(throwing.bus.states.get('test')?.filter(({ state }) => state === 'restarting')).toHaveLength(2);

  const hanging = withTest(
    'start() { return new Promise(() => undefined); }',
    {},
    { timing: { startTimeoutMs: 1500, crashLimit: 1 } },
  );
  await hanging.start('test');
  expect(hanging.bus.reason('test')).toContain('PLUGIN_TIMEOUT');
});

test('only declared topics can be published on and subscribed to', async () => {
  const body = `start(ctx) {
    const attempt = async (work) => { try { await work(); return 'ok'; } catch (error) { return error.code; } };
    ctx.onRequest('try', async ({ payload }) => ({
      publish: await Promise.all(payload.publish.map((topic) => attempt(() => ctx.publish(topic, 'x', { qos: 1, retain: true })))),
      subscribe: await Promise.all(payload.subscribe.map((filter) => attempt(() => ctx.subscribe(filter, () => undefined)))),
    }));
  }`;
  const configSchema = { type: 'object', properties: { room: { type: 'string' } } };
  const topics = { publish: ['home/{config.room}/+', 'door/#'], subscribe: ['sensor/+/state', '{config.absent}/#'] };
  const made = withTest(body, { verbs: ['try'], topics, configSchema }, { config: { room: 'attic' } });
  await made.start('test');
  const no = 'PLUGIN_TOPIC_UNDECLARED';
  expect(
    await made.bus.request('try', {
      publish: [
        'home/attic/light',
        'door/front/bell',
        'home/cellar/light',
        'home/attic',
        'home/attic/a/b',
        'hearth/pi5/state',
        '$SYS/x',
        '',
      ],
      subscribe: ['sensor/a/state', 'sensor/+/state', 'sensor/#', '+/+/state', '#', 'sensor/a/b'],
    }),
  ).toEqual({
    publish: ['ok', 'ok', no, no, no, no, no, no],
    subscribe: ['ok', 'ok', no, no, no, no],
  });
  expect(made.bus.published).toEqual([
    { topic: 'home/attic/light', payload: 'x', options: { qos: 1, retain: true } },
    { topic: 'door/front/bell', payload: 'x', options: { qos: 1, retain: true } },
  ]);
});

test('what a plugin emits is checked', async () => {
  const body = `start(ctx) { ctx.onRequest('try', async ({ payload, id }) => {
    try { await ctx.emit({ ...payload.fields, item: payload.fields.item ?? { id } }); return 'ok'; } catch (error) { return error.code; }
  }); }`;
  const made = withTest(body, { verbs: ['try'], emits: ['caption'] });
  await made.start('test');
  for (const fields of [
    { kind: 'transcript', text: 'x' },
    { kind: 'skipped' },
    { kind: 'caption', text: 5 },
    { kind: 'caption', node: 'other' },
    { kind: 'caption', item: { id: 'nobody' } },
    { kind: 'caption', text: 'an item that is a request' },
  ]) {
    expect(await made.bus.request('try', { fields })).toBe('PLUGIN_EMIT_INVALID');
  }
  expect(made.bus.events).toEqual([]);
});

test('media of an item are gone when its handler has ended; made-up references never were', async () => {
  const body = `start(ctx) {
    ctx.onFrame(async (item) => { kept = item.media; const part = await ctx.read(item.media); await ctx.emit({ kind: 'caption', item, text: [...part.image.data].join() }); });
    ctx.onRequest('again', async () => { try { return await ctx.read(kept); } catch (error) { return error.code; } });
    ctx.onRequest('guess', async () => { try { return await ctx.read({ ref: 'guess' }); } catch (error) { return error.code; } });
  }`;
  const made = make([
    { name: 'test', path: write(`let kept;\n${source(body, { ...frames, verbs: ['again', 'guess'] })}`) },
  ]);
  await made.start('test');
  expect(await made.eventOf(made.frame())).toMatchObject({ kind: 'caption', text: '255,0,0' });
  await until(() => made.store.count === 0);
  expect(await made.bus.request('again')).toBe('MEDIA_GONE');
  expect(await made.bus.request('guess')).toBe('MEDIA_GONE');
});

test('a worker sees nothing of the environment', async () => {
  process.env['HEARTH_TEST_SECRET'] = 'x';
  const made = withTest(`start(ctx) { ctx.onRequest('env', () => Object.keys(process.env)); }`, { verbs: ['env'] });
  await made.start('test');
  expect(await made.bus.request('env')).toEqual([]);
  delete process.env['HEARTH_TEST_SECRET'];
});

test('another model restarts it, the same one does not', async () => {
  const made = withTest(`start(ctx) { ctx.onRequest('model', () => ctx.model.name); }`, { verbs: ['model'] });
  await made.start('test');
  expect(await made.bus.request('model')).toBe('nano');
  made.engine.ready();
  const other: ModelInfo = { ...model, name: 'bigger' };
  made.engine.ready(other);
  await made.host.settled();
  expect(await made.bus.request('model')).toBe('bigger');
  expect(made.bus.states.get('test')?.map(({ state }) => state)).toEqual([
    'starting',
    'running',
    'starting',
    'running',
  ]);
});

test('a restart by hand in the middle of a restart after a crash is one start, and no crash', async () => {
  // The second start hangs until it is ended.
  const file = write(`
    import { appendFileSync, readFileSync } from 'node:fs';
    const starts = new URL('starts', import.meta.url);
    ${source(
      `async start(ctx) {
        appendFileSync(starts, '.');
        await ctx.publish('started', '');
        if (readFileSync(starts, 'utf8').length === 2) await new Promise(() => undefined);
        ctx.onFrame(() => process.exit(1));
      }`,
      { ...frames, topics: { publish: ['started'] } },
    )}`);
  const made = make([{ name: 'test', path: file }]);
  await made.start('test');
  made.frame();
  await until(() => made.bus.published.length === 2);
  await made.bus.request('plugin/restart', { plugin: 'test' });
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(made.bus.published).toHaveLength(3);
  expect(made.bus.states.get('test')?.map(({ state }) => state)).toEqual([
    'starting',
    'running',
    'restarting',
    'running',
  ]);
});

test('an ordinary plugin in CommonJS, and messages it subscribed to', async () => {
  const manifest = {
    name: 'test',
    version: '1.0.0',
    apiVersion: '1.x',
    description: 'x',
    topics: { publish: ['out'], subscribe: ['in/+'] },
  };
  const text = `module.exports = { manifest: ${JSON.stringify(manifest)}, async start(ctx) {
    await ctx.subscribe('in/+', (topic, payload) => ctx.publish('out', topic + ' ' + new TextDecoder().decode(payload)));
  } };`;
  const made = make([{ name: 'test', path: write(text, 'index.cjs') }]);
  await made.start('test');
  made.bus.receive('in/a', 'hello');
  await until(() => made.bus.published.length === 1);
  expect(made.bus.published[0]).toMatchObject({ topic: 'out', payload: 'in/a hello' });
  await made.host.stop();
  expect(made.bus.subscriptions).toEqual([]);
  expect(made.bus.state('test')).toBe('stopped');
});

test('one plugin crashing leaves the others alone', async () => {
  const made = make([
    { name: 'test', path: write(source(`start(ctx) { ctx.onFrame(() => process.exit(1)); }`, frames)) },
    { name: 'calm', path: write(source(`start(ctx) { ${echo} }`, { ...frames, name: 'calm' })) },
  ]);
  await made.start('calm');
  await until(() => made.bus.state('test') === 'running');
  made.frame();
  await until(() => made.bus.events.length === 2);
  expect(made.bus.events.map(({ kind, plugin }) => `${plugin} ${kind}`).sort()).toEqual(['calm caption', 'test error']);
  expect(made.bus.states.get('calm')?.map(({ state }) => state)).toEqual(['starting', 'running']);
});
