/** The kit a plugin is tested with: it has to fail where the daemon would. */
import { FakeEngine, frame, MemoryBus, request, startPlugin } from '@hearth/testkit';
import { apiVersion, definePlugin } from '../../../daemon/plugins/api';

const manifest = {
  name: 'birds',
  version: '1.0.0',
  apiVersion: '^1.1.0',
  description: 'for a test',
  consumes: ['frame'],
  verbs: ['ask', 'publish'],
  emits: ['answer'],
  topics: { publish: ['garden/#'], subscribe: ['door/+'] },
} as const;

const birds = definePlugin({
  manifest,
  async start(ctx) {
    const schema = { type: 'object', properties: { bird: { type: 'string' } }, required: ['bird'] };
    const ask = async (text: string, extra = {}) =>
      (await ctx.generate({ messages: [{ role: 'user', parts: [{ type: 'text', text }] }], ...extra })).text;
    ctx.onFrame(async (item) => {
      const seen = Number((await ctx.storage.get('seen')) ?? 0) + 1;
      await ctx.storage.set('seen', seen);
      ctx.metrics.counter('seen_total', 'Frames.').inc();
      await ctx.emit({ kind: 'answer', item, text: await ask('Which bird?', { item }) });
    });
    ctx.onRequest(
      'ask',
      async ({ payload }) => await ask(String(payload['text']), payload['json'] === true ? { schema } : {}),
    );
    ctx.onRequest('publish', async ({ payload }) => await ctx.publish(String(payload['topic']), 'x'));
    await ctx.subscribe('door/+', (topic, payload) => ctx.log.warn(`${topic}: ${Buffer.from(payload).toString()}`));
  },
});

test('a frame becomes an event, completed as the daemon completes it', async () => {
  const running = await startPlugin(birds, { replies: ['A wren.'], storage: { seen: 6 } });
  const event = running.event('answer');
  await running.frame({ stream: 'garden' });
  expect(await event).toMatchObject({
    v: 1,
    id: frame.id,
    stream: 'garden',
    node: 'pi5',
    plugin: 'birds',
    text: 'A wren.',
  });
  expect(running.stored()).toEqual({ seen: 7 });
  expect(running.metrics).toEqual([{ name: 'seen_total', value: 1, labels: {} }]);
  expect([running.consumes, running.verbs]).toEqual([['frame'], ['ask', 'publish']]);
});

test('replies go by the prompt, then in order, then by default; none is an error', async () => {
  const engine = new FakeEngine(['first', 'second'])
    .when('wren', 'by text')
    .when(/^robin$/, ({ messages }) => `${messages.length}`);
  const running = await startPlugin(birds, { engine });
  const ask = async (text: string): Promise<unknown> => await running.request(request('ask', { text }));
  expect([await ask('a wren?'), await ask('x'), await ask('robin'), await ask('y')]).toEqual([
    'by text',
    'first',
    '1',
    'second',
  ]);
  await expect(ask('z')).rejects.toThrow('no reply for job 5: z');
  engine.reply = 'default';
  expect(await ask('z')).toBe('default');
});

test('a reply the engine could not have written under the schema fails, unless it is let through', async () => {
  const ask = async (reply: ConstructorParameters<typeof FakeEngine>[0]): Promise<unknown> => {
    const running = await startPlugin(birds, { engine: new FakeEngine(reply) });
    return await running.request(request('ask', { text: 'x', json: true }));
  };
  expect(await ask(['{"bird": "wren"}'])).toBe('{"bird": "wren"}');
  await expect(ask(['A wren.'])).rejects.toThrow('is JSON, this one is not');
  await expect(ask(['{"bird": 5}'])).rejects.toThrow('does not fit the schema');
  expect(await ask([{ text: 'A wren.', unchecked: true }])).toBe('A wren.');
  expect(await ask([{ text: '{"bird": "wr', finishReason: 'length' }])).toBe('{"bird": "wr');
});

test('what the daemon refuses is refused', async () => {
  const running = await startPlugin(birds);
  const publish = async (topic: string): Promise<unknown> => await running.request(request('publish', { topic }));
  await publish('garden/birds');
  await expect(publish('house/birds')).rejects.toMatchObject({ code: 'PLUGIN_TOPIC_UNDECLARED' });
  expect(running.published).toEqual([{ topic: 'garden/birds', payload: 'x', options: { qos: 0, retain: false } }]);
  await expect(startPlugin({ ...birds, manifest: { ...manifest, apiVersion: '^2.0.0' } })).rejects.toMatchObject({
    code: 'PLUGIN_INCOMPATIBLE',
    message: expect.stringContaining(
      `birds 1.0.0 is made for version "^2.0.0" of the plugin API, and this is ${apiVersion}`,
    ) as string,
  });
  await expect(startPlugin({ ...birds, manifest: { ...manifest, verbs: [] } })).rejects.toMatchObject({
    code: 'PLUGIN_MANIFEST_INVALID',
  });
  await expect(startPlugin(birds, { config: { x: 1 } })).rejects.toMatchObject({ code: 'PLUGIN_CONFIG_INVALID' });
});

test('functions it registers can be called, and it calls those the test gives it', async () => {
  const parameters = { type: 'object', properties: { grams: { type: 'integer' } } };
  const feeder = definePlugin({
    manifest: { name: 'feeder', version: '1.0.0', apiVersion: '^1.2.0', description: 'for a test' },
    async start(ctx) {
      const end = await ctx.registerFunction({ name: 'stop', parameters }, async () => await end());
      await ctx.registerFunction({ name: 'feed', parameters }, async ({ grams }, context) => {
        const names = (await ctx.functions()).map(({ name }) => name);
        return [grams, context.source, names, await ctx.callFunction('weigh', { grams }, context)];
      });
    },
  });
  const running = await startPlugin(feeder, {
    functions: [{ declaration: { name: 'weigh', parameters }, run: ({ grams }) => Number(grams) * 2 }],
  });
  expect(running.functions().map(({ name }) => name)).toEqual(['stop', 'feed']);
  expect(await running.call('feed', { grams: 5 }, { source: 'speech' })).toEqual([
    5,
    'speech',
    ['weigh', 'stop', 'feed'],
    10,
  ]);
  expect(running.called).toEqual([{ name: 'weigh', args: { grams: 5 }, context: { id: 'c1', source: 'speech' } }]);
  await running.call('stop', {});
  expect(running.functions().map(({ name }) => name)).toEqual(['feed']);
  await expect(running.call('stop', {})).rejects.toMatchObject({ code: 'CALL_FUNCTION_UNKNOWN' });
});

test('messages arrive by the filters of the plugin, from the test or over the bus', async () => {
  const bus = new MemoryBus();
  const running = await startPlugin(birds, { bus });
  await running.receive('door/front', 'open');
  await running.receive('door/front/bell', 'not for it');
  bus.receive('door/back', 'shut');
  while (running.warnings().length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(running.warnings().map(({ msg }) => msg)).toEqual(['door/front: open', 'door/back: shut']);
  expect(running.filters()).toEqual(['door/+']);
});

test('fields of a log line are plain and bounded; what they cannot be is said', async () => {
  const running = await startPlugin(
    definePlugin({
      manifest: { name: 'talker', version: '1.0.0', apiVersion: '^1.1.0', description: 'for a test' },
      start(ctx) {
        const cyclic: Record<string, unknown> = {};
        cyclic['self'] = cyclic;
        ctx.log.info('fits', { bird: 'wren' });
        ctx.log.info('long', { samples: 'x'.repeat(20_000) });
        ctx.log.info('cyclic', cyclic);
      },
    }),
  );
  expect(running.logged.map(({ msg, fields }) => [msg, fields])).toEqual([
    ['fits', { bird: 'wren' }],
    ['long', { fields: '20014 characters' }],
    ['cyclic', { fields: 'not JSON' }],
  ]);
});
