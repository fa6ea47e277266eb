import type { CallContext } from '../../../daemon/plugins/api';
import { FunctionRegistry } from '../../../daemon/plugins/function-registry';

const parameters = { type: 'object', properties: { n: { type: 'integer' } } };
const context: CallContext = { id: 'c1', source: 'text' };
const failing = (code: string) => expect.objectContaining({ code });

test('a registered function is listed, called with what it was given, and gone when it ends', async () => {
  const registry = new FunctionRegistry();
  const run = jest.fn(async () => ({ ok: true, nothing: undefined }));
  const { end } = registry.register('a', { name: 'roll', description: 'Rolls.', parameters, more: 1 }, run);
  expect(registry.list()).toEqual([{ name: 'roll', description: 'Rolls.', parameters }]);
  expect(await registry.call('roll', { n: 1 }, context)).toEqual({ ok: true });
  expect(run).toHaveBeenCalledWith({ n: 1 }, context);
  end();
  expect(registry.list()).toEqual([]);
  await expect(registry.call('roll', {}, context)).rejects.toThrow(failing('CALL_FUNCTION_UNKNOWN'));
});

test('a plugin may register a name again; what ended the first leaves the second', async () => {
  const registry = new FunctionRegistry();
  const { end: endFirst } = registry.register('a', { name: 'roll', parameters }, async () => 1);
  registry.register('a', { name: 'roll', parameters }, async () => 2);
  endFirst();
  expect(await registry.call('roll', {}, context)).toBe(2);
  expect(() => registry.register('b', { name: 'roll', parameters }, async () => 3)).toThrow(
    failing('CALL_FUNCTION_INVALID'),
  );
});

test('calls wait while a function is held: for what takes its place, which no end of the first removes', async () => {
  const registry = new FunctionRegistry();
  const old = registry.register('a', { name: 'roll', parameters }, async () => 'old');
  old.hold();
  const waiting = [registry.call('roll', {}, context), registry.call('roll', {}, context)];
  expect(registry.list('a')).toHaveLength(1);
  registry.register('a', { name: 'roll', parameters }, async () => 'new');
  old.end();
  expect(await Promise.all(waiting)).toEqual(['new', 'new']);
  expect(await registry.call('roll', {}, context)).toBe('new');
});

test('calls that wait are told when nothing takes the place of a function', async () => {
  const registry = new FunctionRegistry();
  registry.register('a', { name: 'roll', parameters }, async () => 'old').hold();
  registry.register('b', { name: 'stay', parameters }, async () => 'here');
  const waiting = registry.call('roll', {}, context);
  registry.endAll('a');
  await expect(waiting).rejects.toThrow(failing('CALL_FUNCTION_UNKNOWN'));
  expect(registry.list().map(({ name }) => name)).toEqual(['stay']);
});

test('the time a call may take begins when it no longer waits', async () => {
  jest.useFakeTimers();
  try {
    const registry = new FunctionRegistry(20);
    registry.register('a', { name: 'roll', parameters }, async () => 'old').hold();
    const waiting = registry.call('roll', {}, context);
    await jest.advanceTimersByTimeAsync(100);
    registry.register('a', { name: 'roll', parameters }, async () => 'new');
    expect(await waiting).toBe('new');
  } finally {
    jest.useRealTimers();
  }
});

test('a thousand functions are taken, one more is not', () => {
  const registry = new FunctionRegistry();
  for (let i = 0; i < 1000; i++) registry.register('a', { name: `f${i}`, parameters: {} }, async () => null);
  expect(() => registry.register('b', { name: 'more', parameters: {} }, async () => null)).toThrow(
    failing('CALL_FUNCTION_INVALID'),
  );
}, 60_000);

let deep: unknown = {};
for (let i = 0; i < 50_000; i++) deep = { properties: { x: deep } };

test.each<[string, unknown]>([
  ['nothing', undefined],
  ['a list', []],
  ['no name', { parameters }],
  ['a name with a space', { name: 'a b', parameters }],
  ['a name that begins with a digit', { name: '1a', parameters }],
  ['a long name', { name: 'x'.repeat(65), parameters }],
  ['a description that is no text', { name: 'f', description: 5, parameters }],
  ['a long description', { name: 'f', description: 'x'.repeat(1025), parameters }],
  ['no parameters', { name: 'f' }],
  ['parameters that are no schema', { name: 'f', parameters: { type: 'nonsense' } }],
  ['large parameters', { name: 'f', parameters: { enum: ['x'.repeat(70_000)] } }],
  ['parameters of any depth', { name: 'f', parameters: deep }],
])('%s is refused', (_what, declaration) => {
  expect(() => new FunctionRegistry().register('a', declaration, async () => null)).toThrow(
    failing('CALL_FUNCTION_INVALID'),
  );
});

test('results are bounded JSON that comes in time; other errors are passed on', async () => {
  const registry = new FunctionRegistry(20);
  const add = (name: string, run: () => Promise<unknown>) => registry.register('a', { name, parameters }, run);
  add('large', async () => 'x'.repeat(20_000));
  add('round', async () => {
    const value: Record<string, unknown> = {};
    value['self'] = value;
    return value;
  });
  add('big', async () => 5n);
  add('nothing', async () => undefined);
  add('never', () => new Promise(() => undefined));
  add('fails', () => Promise.reject(new Error('no')));
  for (const name of ['large', 'round', 'big'])
    await expect(registry.call(name, {}, context)).rejects.toThrow(failing('CALL_RESULT_INVALID'));
  expect(await registry.call('nothing', {}, context)).toBeNull();
  await expect(registry.call('never', {}, context)).rejects.toThrow(failing('CALL_TIMEOUT'));
  await expect(registry.call('fails', {}, context)).rejects.toThrow('no');
});

test.each<[string, object]>([
  ['"not" is not enforced', { type: 'object', properties: { n: { not: { type: 'null' } } } }],
  ['#/properties/n: "format"', { type: 'object', properties: { n: { type: 'string', format: 'date' } } }],
  ['"patternProperties"', { type: 'object', patternProperties: { a: {} } }],
  [
    '59 levels',
    { type: 'object', properties: { n: { const: JSON.parse(`${'['.repeat(57)}${']'.repeat(57)}`) as unknown } } },
  ],
])('a function the runtime could not hold a reply to is refused, for %s; the others go on', (expected, given) => {
  const registry = new FunctionRegistry();
  registry.register('a', { name: 'roll', parameters }, async () => 1);
  expect(() => registry.register('a', { name: 'odd', parameters: given }, async () => 2)).toThrow(
    expect.objectContaining({ code: 'CALL_FUNCTION_INVALID', message: expect.stringContaining(expected) }),
  );
  expect(registry.list().map(({ name }) => name)).toEqual(['roll']);
});
