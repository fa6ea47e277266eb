/** A new run of a plugin takes over from the one before: nothing is lost, nothing is answered twice. */
import type { PluginSettings } from '../../../daemon/plugins/ports';
import { failureOf, make, replace, source, until, withTest, write } from './support';

const kinds = {
  consumes: ['frame', 'segment'],
  emits: ['caption'],
  verbs: ['ask'],
  topics: { subscribe: ['door/#'], publish: ['heard'] },
};

/** Takes its version into all it does; asks the engine in every handler. */
const body = (version: string): string => `async start(ctx) {
  const ask = async (item, text) => (await ctx.generate({ item, messages: [{ role: 'user', parts: [{ type: 'text', text }] }] })).text;
  const seen = async (item) => ctx.emit({ kind: 'caption', item, text: '${version}: ' + await ask(item, item.stream) });
  ctx.onFrame(seen);
  ctx.onSegment(seen);
  ctx.onRequest('ask', async (item) => '${version}: ' + await ask(item, 'request'));
  await ctx.subscribe('door/#', async (topic, payload) => {
    await ctx.publish('heard', '${version} ' + Buffer.from(payload).toString());
  });
}`;

/** An engine whose replies wait until they are let go. */
function held(made: ReturnType<typeof make>): () => void {
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  made.engine.reply = async () => {
    await gate;
    return 'done';
  };
  return release;
}

test('what is in hand ends in the old run, what comes meanwhile waits for the new one, each exactly once', async () => {
  const file = write(source(body('old'), kinds));
  const made = make([{ name: 'test', path: file }]);
  await made.start('test');
  const release = held(made);

  const inHand = [made.frame('front'), made.segment('kitchen')];
  const asked = made.bus.request('ask');
  await until(() => made.engine.jobs.length === 1);
  replace(file, source(body('new'), kinds));
  const restarted = made.bus.request('plugin/restart', { plugin: 'test' });
  await until(() => made.bus.state('test') === 'starting');

  // None of these finds a run that would take it now.
  const waiting = [made.frame('yard'), made.segment('hall')];
  const askedMeanwhile = made.bus.request('ask');
  for (const word of ['one', 'two']) made.bus.receive('door/front', word);
  expect(made.bus.published).toEqual([]);
  release();

  expect(await restarted).toMatchObject({ state: 'running', restarts: 0 });
  expect(await Promise.all(inHand.map(async (id) => (await made.eventOf(id)).text))).toEqual(
    Array(2).fill('old: done'),
  );
  expect(await Promise.all(waiting.map(async (id) => (await made.eventOf(id)).text))).toEqual(
    Array(2).fill('new: done'),
  );
  expect(await Promise.all([asked, askedMeanwhile])).toEqual(['old: done', 'new: done']);
  made.bus.receive('door/front', 'three');
  await until(() => made.bus.published.length === 3);
  expect(made.bus.published.map(({ payload }) => payload)).toEqual(['new one', 'new two', 'new three']);
  expect(made.bus.events.map(({ kind }) => kind)).toEqual(Array(4).fill('caption'));
  expect(made.engine.jobs).toHaveLength(6);
  expect(made.bus.subscriptions).toHaveLength(1);
});

test('a handler that does not end within the bound ends in an error, and the new run takes over all the same', async () => {
  const file = write(source(body('old'), kinds));
  const made = make([{ name: 'test', path: file }], { timing: { drainLimitMs: 100 } });
  await made.start('test');
  made.engine.hang();
  const id = made.frame();
  await until(() => made.engine.jobs.length === 1);
  replace(file, source(body('new'), kinds));
  await made.bus.request('plugin/restart', { plugin: 'test' });
  expect(await made.eventOf(id)).toMatchObject({ kind: 'error', error: { code: 'PLUGIN_UNAVAILABLE' } });
  made.engine.reply = 'done';
  expect(await made.bus.request('ask')).toBe('new: done');
});

test.each([
  ['a module that does not load', 'export default {', 'PLUGIN_LOAD_FAILED'],
  ['a manifest for another API', source('start() {}', { ...kinds, apiVersion: '^2.0.0' }), 'PLUGIN_INCOMPATIBLE'],
])('%s does not take the place of one that works', async (_name, text, code) => {
  const file = write(source(body('old'), kinds));
  const made = make([{ name: 'test', path: file }]);
  await made.start('test');
  made.engine.reply = 'done';
  replace(file, text);
  expect(await failureOf(made.bus.request('plugin/restart', { plugin: 'test' }))).toMatchObject({ code });
  expect(await made.bus.request('ask')).toBe('old: done');
  expect(made.bus.state('test')).toBe('running');
});

test('one that crashes while the new run is being loaded is followed by the new code', async () => {
  const crashing = `start(ctx) { ctx.onRequest('ask', () => process.exit(1)); }`;
  const file = write(source(crashing, { verbs: ['ask'] }));
  const made = make([{ name: 'test', path: file }]);
  await made.start('test');
  replace(file, `await new Promise((resolve) => setTimeout(resolve, 500));\n${source(body('new'), kinds)}`);
  const restarted = made.bus.request('plugin/restart', { plugin: 'test' });
  expect(await failureOf(made.bus.request('ask'))).toMatchObject({ code: 'PLUGIN_CRASHED' });
  await restarted;
  await until(() => made.bus.state('test') === 'running');
  made.engine.reply = 'done';
  expect(await made.bus.request('ask')).toBe('new: done');
});

test('a stop of the daemon does not wait for a run that is being replaced', async () => {
  const made = withTest(body('old'), kinds);
  await made.start('test');
  made.engine.hang();
  made.frame();
  await until(() => made.engine.jobs.length === 1);
  const restarted = made.bus.request('plugin/restart', { plugin: 'test' });
  await until(() => made.bus.state('test') === 'starting');
  await made.host.stop();
  await restarted.catch(() => undefined);
  await until(() => made.bus.events.length > 0);
  expect(made.bus.events).toMatchObject([{ kind: 'skipped', reason: 'shutdown', stream: 'front' }]);
  expect(made.bus.state('test')).toBe('stopped');
});

describe('with a configuration that is read again', () => {
  const module = (name: string): string =>
    write(
      source(`start(ctx) { ctx.onRequest('${name}', () => ctx.config.word); }`, {
        name,
        verbs: [name],
        configSchema: { type: 'object', properties: { word: { type: 'string' } } },
      }),
    );

  test('what changed, what is new and what is gone are as they should be', async () => {
    const settings = (name: string, path: string, word: string): PluginSettings => ({
      name,
      path,
      config: { word },
      memoryMb: 64,
      hangTimeoutMs: 20_000,
    });
    const [one, two, three] = [module('one'), module('two'), module('three')];
    let current = [settings('one', one, 'first'), settings('two', two, 'first')];
    const made = make(current, {
      catalogue: { settings: () => current, setEnabled: () => Promise.resolve() },
    });
    await made.start('one');
    await until(() => made.bus.state('two') === 'running');
    current = [settings('two', two, 'second'), settings('three', three, 'first')];
    await made.host.reload();
    expect(made.host.status().map(({ name, state }) => [name, state])).toEqual([
      ['two', 'running'],
      ['three', 'running'],
    ]);
    expect([await made.bus.request('two'), await made.bus.request('three')]).toEqual(['second', 'first']);
    expect(made.bus.state('one')).toBe('stopped');
    await expect(made.bus.request('one')).rejects.toMatchObject({ code: 'REQUEST_UNKNOWN_VERB' });
  });

  test('a plugin is switched off and on; what cannot be read changes nothing', async () => {
    const path = module('one');
    const off = new Set<string>();
    let broken = false;
    const settings = { name: 'one', path, config: { word: 'here' }, memoryMb: 64, hangTimeoutMs: 20_000 };
    const made = make([settings], {
      catalogue: {
        settings: () => {
          if (broken) throw Object.assign(new Error('no such option'), { code: 'CONFIG_INVALID' });
          return off.has('one') ? [] : [settings];
        },
        setEnabled: (name, enabled) => {
          if (enabled) off.delete(name);
          else off.add(name);
          return Promise.resolve();
        },
      },
    });
    await made.start('one');
    expect(await made.bus.request('plugin/disable', { plugin: 'one' })).toMatchObject({
      name: 'one',
      state: 'stopped',
    });
    await expect(made.bus.request('one')).rejects.toMatchObject({ code: 'REQUEST_UNKNOWN_VERB' });
    expect(await made.bus.request('plugin/enable', { plugin: 'one' })).toMatchObject({ name: 'one', state: 'running' });
    expect(await made.bus.request('one')).toBe('here');
    broken = true;
    await made.host.reload();
    expect(await failureOf(made.bus.request('plugin/restart', { plugin: 'one' }))).toMatchObject({
      message: 'no such option',
    });
    expect(await made.bus.request('one')).toBe('here');
    expect(await failureOf(made.bus.request('plugin/enable', {}))).toMatchObject({ code: 'REQUEST_INVALID' });
  });
});
