/** What a plugin keeps, counts, and runs in: storage, metrics, isolation, through real workers and processes. */
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { PluginMetricSet } from '../../../daemon/health/plugin-metrics';
import { failureOf, temporaryDirectory, until, withTest } from './support';

const storing = `start(ctx) {
  ctx.onRequest('set', ({ payload }) => ctx.storage.set(payload.key, payload.value));
  ctx.onRequest('set-odd', ({ payload }) => {
    const cyclic = {}; cyclic.self = cyclic;
    return ctx.storage.set('odd', { cyclic, nothing: undefined, call: () => 1, big: 1n }[payload.what]);
  });
  ctx.onRequest('get', async ({ payload }) => ({ value: await ctx.storage.get(payload.key) }));
  ctx.onRequest('delete', ({ payload }) => ctx.storage.delete(payload.key));
  ctx.onRequest('list', ({ payload }) => ctx.storage.list(payload.prefix));
  ctx.onRequest('set-and-die', async () => { await ctx.storage.set('last', 'word'); process.kill(process.pid, 'SIGKILL'); });
}`;
const verbs = { verbs: ['set', 'set-odd', 'get', 'delete', 'list', 'set-and-die'] };

describe.each(['worker', 'process'] as const)('in a %s', (isolation) => {
  test('what is stored is there again, whatever the keys are called', async () => {
    const stateDirectory = temporaryDirectory('hearth-state-');
    const keys = ['a', '__proto__', 'constructor', '../../etc/passwd', 'ü\u0000\n', '\ud800', ' '];
    const made = withTest(storing, verbs, { stateDirectory, isolation });
    await made.start('test');
    for (const [index, key] of keys.entries()) await made.bus.request('set', { key, value: { [key]: [index, null] } });
    await made.bus.request('set', { key: 'gone', value: 1 });
    expect(await made.bus.request('delete', { key: 'gone' })).toBe(true);
    expect(await made.bus.request('delete', { key: 'gone' })).toBe(false);
    await made.host.stop();

    const again = withTest(storing, verbs, { stateDirectory, isolation });
    await again.start('test');
    expect(await again.bus.request('list')).toEqual([...keys].sort());
    expect(await again.bus.request('list', { prefix: 'con' })).toEqual(['constructor']);
    for (const [index, key] of keys.entries()) {
      const { value } = (await again.bus.request('get', { key })) as { value: Record<string, unknown> };
      expect(Object.entries(value)).toEqual([[key, [index, null]]]);
    }
    expect(await again.bus.request('get', { key: 'gone' })).toEqual({ value: undefined });
  });

  test('a heap beyond the limit ends the plugin and nothing else', async () => {
    const body = `start(ctx) {
      ctx.onRequest('grow', () => { const held = []; for (;;) held.push(new Array(1e5).fill({})); });
      ctx.onRequest('ping', () => 'pong');
    }`;
    const made = withTest(body, { verbs: ['grow', 'ping'] }, { memoryMb: 32, isolation });
    await made.start('test');
    expect(await failureOf(made.bus.request('grow'))).toMatchObject({
      code: 'PLUGIN_CRASHED',
      message: expect.stringContaining('heap took more than 32 MB') as string,
    });
    await until(() => made.bus.state('test') === 'running');
    expect(await made.bus.request('ping')).toBe('pong');
    expect(made.host.stats()['test']).toMatchObject({ restarts: 1, handled: 2, errors: 1 });
  });

  test('buffers beyond the limit do, too', async () => {
    const body = `start(ctx) { ctx.onRequest('grow', async () => {
      globalThis.held = Array.from({ length: 100 }, () => new Uint8Array(1 << 20).fill(1));
      await new Promise(() => undefined);
    }); }`;
    const made = withTest(body, { verbs: ['grow'] }, { memoryMb: 32, hangTimeoutMs: 2000, isolation });
    await made.start('test');
    expect(await failureOf(made.bus.request('grow'))).toMatchObject({
      code: 'PLUGIN_CRASHED',
      message: expect.stringContaining('buffers') as string,
    });
  });

  test('an endless loop is ended', async () => {
    const made = withTest(
      `start(ctx) { ctx.onRequest('loop', () => { for (;;); }); }`,
      { verbs: ['loop'] },
      { hangTimeoutMs: 1000, isolation },
    );
    await made.start('test');
    expect(await failureOf(made.bus.request('loop'))).toMatchObject({ code: 'PLUGIN_CRASHED' });
  });

  test('pictures and results cross; the environment does not', async () => {
    const body = `start(ctx) {
      ctx.onFrame(async (item) => {
        const { image } = await ctx.read(item.media);
        const own = { type: 'image', image: { width: 1, height: 1, data: Uint8Array.of(1, 2, 3) } };
        const result = await ctx.generate({ item, messages: [{ role: 'user', parts: [own] }] });
        await ctx.emit({ kind: 'caption', item, result, text: [...image.data, result.text, ...Object.keys(process.env)].join() });
      });
      ctx.onSegment(async (item) => {
        const { audio } = await ctx.read(item.media);
        await ctx.emit({ kind: 'caption', item, text: audio.samples.constructor.name + ' ' + [...audio.samples].join() });
      });
    }`;
    const made = withTest(body, { consumes: ['frame', 'segment'], emits: ['caption'] }, { isolation });
    await made.start('test');
    expect(await made.eventOf(made.frame())).toMatchObject({ kind: 'caption', text: '255,0,0,a reply' });
    expect(made.engine.jobs[0]?.messages[0]?.parts).toEqual([
      { type: 'image', image: { width: 1, height: 1, data: Uint8Array.of(1, 2, 3) } },
    ]);
    expect(await made.eventOf(made.segment())).toMatchObject({ kind: 'caption', text: 'Float32Array 0.25,-0.5' });
  });
});

test('a manifest may ask for a process, and the configuration may refuse it', async () => {
  const body = `start(ctx) { ctx.onRequest('pid', () => process.pid); }`;
  const manifest = { verbs: ['pid'], isolation: 'process' };
  const own = withTest(body, manifest);
  await own.start('test');
  expect(await own.bus.request('pid')).not.toBe(process.pid);
  const thread = withTest(body, manifest, { isolation: 'worker' });
  await thread.start('test');
  expect(await thread.bus.request('pid')).toBe(process.pid);
});

test('what was stored before a process is killed is there when it is back', async () => {
  const made = withTest(storing, verbs, { isolation: 'process' });
  await made.start('test');
  expect(await failureOf(made.bus.request('set-and-die'))).toMatchObject({
    code: 'PLUGIN_CRASHED',
    message: expect.stringContaining('SIGKILL') as string,
  });
  await until(() => made.bus.state('test') === 'running');
  expect(await made.bus.request('get', { key: 'last' })).toEqual({ value: 'word' });
});

test('keys, values and amounts that cannot be kept are refused, and what was there stays', async () => {
  const stateDirectory = temporaryDirectory('hearth-state-');
  const made = withTest(storing, verbs, { stateDirectory });
  await made.start('test');
  const invalid = { code: 'PLUGIN_STORAGE_INVALID' };
  for (const key of ['', 'x'.repeat(257), 5, null, {}])
    expect(await failureOf(made.bus.request('set', { key, value: 1 }))).toMatchObject(invalid);
  for (const what of ['cyclic', 'nothing', 'call', 'big'])
    expect({ what, ...(await failureOf(made.bus.request('set-odd', { what }))) }).toMatchObject({ what, ...invalid });

  const full = { code: 'PLUGIN_STORAGE_FULL' };
  await made.bus.request('set', { key: 'big', value: 'x'.repeat((1 << 20) - 100) });
  expect(await failureOf(made.bus.request('set', { key: 'more', value: 'x'.repeat(100) }))).toMatchObject(full);
  expect(await failureOf(made.bus.request('set', { key: 'more', value: 'x'.repeat(2 << 20) }))).toMatchObject(full);
  await made.bus.request('set', { key: 'big', value: 'small' });
  await made.bus.request('set', { key: 'more', value: 'x'.repeat(100) });
  expect(await made.bus.request('list')).toEqual(['big', 'more']);
  expect(JSON.parse(readFileSync(join(stateDirectory, 'plugin-data/test.json'), 'utf8'))).toEqual({
    big: 'small',
    more: 'x'.repeat(100),
  });
});

test('a file that makes no sense is set aside, not lost', async () => {
  const stateDirectory = temporaryDirectory('hearth-state-');
  const first = withTest(storing, verbs, { stateDirectory });
  await first.start('test');
  await first.bus.request('set', { key: 'a', value: 1 });
  await first.host.stop();
  const file = join(stateDirectory, 'plugin-data/test.json');
  writeFileSync(file, '{"a": 1');
  const made = withTest(storing, verbs, { stateDirectory });
  await made.start('test');
  expect(await made.bus.request('list')).toEqual([]);
  expect(readFileSync(`${file}.broken`, 'utf8')).toBe('{"a": 1');
  await made.bus.request('set', { key: 'b', value: 2 });
  expect(await made.bus.request('list')).toEqual(['b']);
});

test('a file that cannot be read for a while stays, and is read then', async () => {
  const stateDirectory = temporaryDirectory('hearth-state-');
  const file = join(stateDirectory, 'plugin-data/test.json');
  mkdirSync(file, { recursive: true });
  const made = withTest(storing, verbs, { stateDirectory });
  await made.start('test');
  for (const verb of ['list', 'get', 'set', 'delete'])
    await expect(made.bus.request(verb, { key: 'a', value: 1 })).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
  expect(readdirSync(join(stateDirectory, 'plugin-data'))).toEqual(['test.json']);
  rmdirSync(file);
  writeFileSync(file, '{"a": 1}');
  expect(await made.bus.request('get', { key: 'a' })).toEqual({ value: 1 });
});

test('metrics of a plugin appear with its name, and are bounded in number and labels', async () => {
  const registry = new Registry();
  const refused: string[] = [];
  const body = `start(ctx) {
    const seen = ctx.metrics.counter('birds_total', 'Birds seen.', ['species']);
    const size = ctx.metrics.histogram('size', 'Of a bird.', [1, 10]);
    const near = ctx.metrics.gauge('near', 'Whether one is near.');
    ctx.onRequest('see', ({ payload }) => { seen.inc(payload.by, payload.labels); size.observe(5); near.set(1); });
    ctx.onRequest('flood', () => {
      for (let i = 0; i < 300; i++) seen.inc(1, { species: 'bird ' + i });
      for (let i = 0; i < 100; i++) ctx.metrics.gauge('metric_' + i, 'One of many.').set(i);
    });
    ctx.onRequest('odd', ({ payload }) => { try { ctx.metrics.counter(...payload.args); } catch (error) { return error.code; } });
  }`;
  const made = withTest(
    body,
    { verbs: ['see', 'flood', 'odd'] },
    { metricsOf: (plugin) => new PluginMetricSet(plugin, registry, (reason) => refused.push(reason)) },
  );
  await made.start('test');
  await made.bus.request('see', { by: 2, labels: { species: 'robin' } });
  await made.bus.request('see', { labels: { species: 'robin' } });
  expect((await registry.metrics()).split('\n')).toEqual(
    expect.arrayContaining([
      '# HELP hearth_plugin_test_birds_total Birds seen.',
      'hearth_plugin_test_birds_total{plugin="test",species="robin"} 3',
      'hearth_plugin_test_size_bucket{le="10",plugin="test"} 2',
      'hearth_plugin_test_near{plugin="test"} 1',
    ]),
  );
  expect(refused).toEqual([]);

  for (const [by, labels] of [
    [-1, { species: 'x' }],
    [Number.NaN, {}],
    [1, { colour: 'red' }],
    [1, { species: 5 }],
  ])
    await made.bus.request('see', { by, labels });
  await made.bus.request('flood');
  const text = await registry.metrics();
  expect(text.match(/^hearth_plugin_test_birds_total\{/gm)).toHaveLength(100);
  expect(text.match(/^# TYPE hearth_plugin_test_/gm)).toHaveLength(32);
  expect(refused).toHaveLength(64);

  for (const args of [
    ['Bad', 'x'],
    ['a', ''],
    ['a', 'x', ['plugin']],
    ['a', 'x', ['b', 'b']],
    ['a', 'x', 'b'],
    ['a-b', 'x'],
    [],
  ])
    expect({ args, code: await made.bus.request('odd', { args }) }).toEqual({ args, code: 'PLUGIN_METRIC_INVALID' });

  await made.bus.request('plugin/restart', { plugin: 'test' });
  await made.bus.request('see', { labels: { species: 'robin' } });
  expect(await registry.metrics()).toContain('hearth_plugin_test_birds_total{plugin="test",species="robin"} 4');
});
