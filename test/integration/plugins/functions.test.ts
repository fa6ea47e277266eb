/** Functions of one plugin, called from another: in a thread and in a process, and while a new run of it takes over. */
import type { PluginSettings, PluginTiming } from '../../../daemon/plugins/ports';
import { type Made, make, replace, source, until, write } from './support';

const parameters = { type: 'object', properties: {} };

/** Says its version, once the engine has answered, where it is asked to. */
const owner = (version: string, names: readonly string[], more = '', first = ''): string =>
  source(
    `async start(ctx) {
      const ask = async () => (await ctx.generate({ messages: [{ role: 'user', parts: [{ type: 'text', text: 'x' }] }] })).text;
      const run = async ({ ask: asks }) => {
        if (asks) await ask();
        return '${version}';
      };
      ${first}
      for (const name of ${JSON.stringify(names)})
        this.ends.push(await ctx.registerFunction({ name, parameters: ${JSON.stringify(parameters)} }, run));
      ctx.onRequest('own', async () => { await ask(); return await ctx.callFunction('now', {}, { id: 'c', source: 'text' }); });
      ${more}
    },
    ends: [],
    // Tidy, as a plugin may be: its functions stay for the next run all the same.
    async stop() { for (const end of this.ends) await end(); }`,
    { verbs: ['own'], topics: { subscribe: ['names'] } },
  );

const caller = source(
  `start(ctx) {
    ctx.onRequest('functions', async () => (await ctx.functions()).map(({ name }) => name));
    ctx.onRequest('run', async ({ payload: { name, ...args } }) => await ctx.callFunction(name, args, { id: 'c', source: 'text' }));
  }`,
  { name: 'caller', verbs: ['functions', 'run'] },
);

interface Both {
  readonly made: Made;
  readonly file: string;
  readonly run: (name: string, args?: object) => Promise<unknown>;
  readonly names: () => Promise<unknown>;
}

async function both(
  text: string,
  settings: Partial<PluginSettings> = {},
  timing: Partial<PluginTiming> = {},
): Promise<Both> {
  const file = write(text);
  const made = make(
    [
      { name: 'test', path: file, ...settings },
      { name: 'caller', path: write(caller) },
    ],
    { timing },
  );
  await made.start('test');
  await until(() => made.bus.state('caller') === 'running');
  return {
    made,
    file,
    run: async (name, args = {}) => await made.bus.request('run', { name, ...args }),
    names: async () => await made.bus.request('functions'),
  };
}

const restart = async ({ made }: Both): Promise<unknown> =>
  await made.bus.request('plugin/restart', { plugin: 'test' });

describe.each(['worker', 'process'] as const)('in a %s', (isolation) => {
  test('what a function returns comes back, and what it cannot return is an error', async () => {
    const body = `async start(ctx) {
      const add = (name, run) => ctx.registerFunction({ name, parameters: ${JSON.stringify(parameters)} }, run);
      await add('echo', async (args, context) => ({ args, context }));
      await add('odd', async () => () => 1);
      await add('fail', async () => { throw Object.assign(new Error('no'), { code: 'NOT_NOW' }); });
      await add('end', () => process.exit(3));
    }`;
    const { run, names, made } = await both(source(body), { isolation });
    expect(await names()).toEqual(['echo', 'odd', 'fail', 'end']);
    expect(await run('echo', { a: [1] })).toEqual({ args: { a: [1] }, context: { id: 'c', source: 'text' } });
    await expect(run('odd')).rejects.toThrow(/could not be cloned/);
    await expect(run('fail')).rejects.toMatchObject({ code: 'PLUGIN_FAILED', message: expect.stringContaining('no') });
    await expect(run('end')).rejects.toMatchObject({ code: 'PLUGIN_CRASHED' });
    await until(() => made.bus.state('test') === 'running');
    expect(await run('echo')).toMatchObject({ args: {} });
  });

  test('a new run takes the functions over: no call is lost, and none is gone in between', async () => {
    const started = await both(owner('old', ['now', 'later']), { isolation });
    const { made, file, run, names } = started;
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    made.engine.reply = async () => {
      await gate;
      return 'done';
    };
    const inHand = run('later', { ask: true });
    await until(() => made.engine.jobs.length === 1);
    replace(file, owner('new', ['now', 'later']));
    const restarted = restart(started);
    await until(() => made.bus.state('test') === 'starting');
    // What is in hand may need it: it still runs there.
    expect(await run('now')).toBe('old');
    release();

    // One after the other until the new run has taken over.
    const answers: unknown[] = [];
    const listed: unknown[] = [];
    while (answers.at(-1) !== 'new') {
      listed.push(await names());
      answers.push(await run('now'));
    }
    expect(await inHand).toBe('old');
    expect(await restarted).toMatchObject({ state: 'running', restarts: 0 });
    expect(new Set(answers.slice(0, -1))).toEqual(answers.length > 1 ? new Set(['old']) : new Set());
    expect(new Set(listed.map((each) => JSON.stringify(each)))).toEqual(new Set(['["now","later"]']));
    expect([await run('later'), await names()]).toEqual(['new', ['now', 'later']]);
  });
});

test('calls that come while neither run can take them wait for the new one', async () => {
  const started = await both(owner('old', ['now']));
  const { made, file, run, names } = started;
  replace(file, owner('new', ['now'], '', 'await ask();'));
  let release = (): void => undefined;
  made.engine.reply = async () =>
    await new Promise<string>((resolve) => {
      release = () => resolve('done');
    });
  const restarted = restart(started);
  // The new run is in its start, and has registered nothing yet.
  await until(() => made.engine.jobs.length === 1);
  const waiting = Array.from({ length: 20 }, async () => await run('now'));
  // Asked after the calls on the same way: they are waiting by now, and the function is still listed.
  expect(await names()).toEqual(['now']);
  release();
  expect(await Promise.all(waiting)).toEqual(Array(20).fill('new'));
  await restarted;
});

test('a handler in hand may call a function of its own while a new run waits', async () => {
  const started = await both(owner('old', ['now']));
  const { made, file } = started;
  let release = (): void => undefined;
  made.engine.reply = async () =>
    await new Promise<string>((resolve) => {
      release = () => resolve('done');
    });
  const own = made.bus.request('own');
  await until(() => made.engine.jobs.length === 1);
  replace(file, owner('new', ['now']));
  const restarted = restart(started);
  await until(() => made.bus.state('test') === 'starting');
  release();
  expect(await own).toBe('old');
  await restarted;
});

test('functions a new run registers on a message are taken over; those it has no more end after a moment', async () => {
  const started = await both(owner('old', ['now', 'gone']), {}, { functionGraceMs: 1500 });
  const { made, file, run, names } = started;
  const onMessage = `await ctx.subscribe('names', async () => {
    await ctx.registerFunction({ name: 'now', parameters: {} }, () => 'new');
  });`;
  replace(file, owner('new', [], onMessage));
  await restart(started);
  const waiting = run('now');
  const gone = run('gone');
  gone.catch(() => undefined);
  made.bus.receive('names', '');
  expect(await waiting).toBe('new');
  await expect(gone).rejects.toMatchObject({ code: 'CALL_FUNCTION_UNKNOWN' });
  expect(await names()).toEqual(['now']);
  expect(await run('now')).toBe('new');
});

test('a new run that fails at its start leaves no function that nobody runs', async () => {
  const started = await both(owner('old', ['now']), {}, { functionGraceMs: 50, crashLimit: 1 });
  const { made, file, run, names } = started;
  replace(file, owner('new', ['now'], `throw new Error('not today');`));
  await restart(started).catch(() => undefined);
  await until(() => made.bus.state('test') === 'quarantined');
  await expect(run('now')).rejects.toMatchObject({ code: 'CALL_FUNCTION_UNKNOWN' });
  expect(await names()).toEqual([]);
});

test('the functions of a plugin that crashes are gone until it runs again', async () => {
  const text = owner(
    'old',
    ['now'],
    `await ctx.registerFunction({ name: 'end', parameters: {} }, () => process.exit(1));`,
  );
  const { made, run, names } = await both(text, {}, { restartDelayMs: 60_000, maxRestartDelayMs: 60_000 });
  await expect(run('end')).rejects.toMatchObject({ code: 'PLUGIN_CRASHED' });
  await until(() => made.bus.state('test') === 'restarting');
  expect(await names()).toEqual([]);
  await expect(run('now')).rejects.toMatchObject({ code: 'CALL_FUNCTION_UNKNOWN' });
});
