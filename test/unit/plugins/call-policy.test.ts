import { auditEntry, bounded } from '../../../plugins/function-calls/audit';
import { type Origin, Policy, type PolicyOptions } from '../../../plugins/function-calls/policy';

const options: PolicyOptions = { allow: {}, allowStreams: {}, dryRun: false, confirmSeconds: 60, rateLimit: null };
const light = { name: 'light.on', arguments: {} };
const lock = { name: 'lock.open', arguments: {} };
const kitchen: Origin = { source: 'speech', stream: 'kitchen' };
const door: Origin = { source: 'picture', stream: 'door' };
const written: Origin = { source: 'text', stream: null };
const refused = (reason: string) => ({ verdict: 'refuse', reason });
const execute = { verdict: 'execute' };

test('without lists everything may be called, from everywhere', () => {
  const policy = new Policy(options);
  for (const origin of [kitchen, door, written]) expect(policy.decide(lock, origin, {}, false)).toEqual(execute);
});

test('the list of a source and the list of a stream both have to allow a call', () => {
  const policy = new Policy({
    ...options,
    allow: { speech: ['light.*', 'lock.open'], picture: [] },
    allowStreams: { kitchen: ['light.on'] },
  });
  expect(policy.decide(light, kitchen, {}, false)).toEqual(execute);
  expect(policy.decide(lock, kitchen, {}, false)).toEqual(refused('not-allowed'));
  expect(policy.decide(lock, { ...kitchen, stream: 'hall' }, {}, false)).toEqual(execute);
  expect(policy.decide(light, door, {}, false)).toEqual(refused('not-allowed'));
  expect(policy.decide({ name: 'light', arguments: {} }, kitchen, {}, false)).toEqual(refused('not-allowed'));
  expect(policy.decide(lock, written, {}, false)).toEqual(execute);
});

test('a stream named like a member of every object has no list of its own', () => {
  const policy = new Policy(options);
  expect(policy.decide(light, { source: 'speech', stream: 'constructor' }, {}, false)).toEqual(execute);
});

test('a rate limit holds for one function and one stream, and gives calls back with time', () => {
  let now = 1_000_000;
  const policy = new Policy({ ...options, rateLimit: { calls: 2, seconds: 10 } }, () => now);
  const decide = (call = light, origin = kitchen) => policy.decide(call, origin, {}, false);
  expect([decide(), decide(), decide()]).toEqual([execute, execute, refused('rate-limited')]);
  expect(decide(lock)).toEqual(execute);
  expect(decide(light, door)).toEqual(execute);
  now += 4999;
  expect(decide()).toEqual(refused('rate-limited'));
  now += 1;
  expect(decide()).toEqual(execute);
  expect(decide()).toEqual(refused('rate-limited'));
  now += 3_600_000;
  expect([decide(), decide(), decide()]).toEqual([execute, execute, refused('rate-limited')]);
  // A clock that is set back gives nothing and takes nothing.
  now -= 3_600_000;
  expect(decide()).toEqual(refused('rate-limited'));
});

test('a function’s own rate limit goes before the general one', () => {
  const policy = new Policy({ ...options, rateLimit: { calls: 9, seconds: 10 } }, () => 0);
  const own = { rateLimit: { calls: 1, seconds: 60 } };
  expect(policy.decide(light, kitchen, own, false)).toEqual(execute);
  expect(policy.decide(light, kitchen, own, false)).toEqual(refused('rate-limited'));
});

test('a dry run is asked for by the caller, by the function or for all, and goes before confirmation', () => {
  const dry = { verdict: 'dry-run' };
  expect(new Policy(options).decide(light, kitchen, {}, true)).toEqual(dry);
  expect(new Policy(options).decide(light, kitchen, { dryRun: true, confirm: true }, false)).toEqual(dry);
  expect(new Policy({ ...options, dryRun: true }).decide(light, kitchen, {}, false)).toEqual(dry);
});

test('a call is confirmed or rejected once, and not after it has expired', () => {
  let now = 0;
  const policy = new Policy(options, () => now);
  expect(policy.decide(lock, kitchen, { confirm: true }, false)).toEqual({ verdict: 'confirm' });
  expect(policy.hold('a', lock, kitchen)).toEqual({ id: 'a', call: lock, origin: kitchen, expiresAt: 60_000 });
  policy.hold('b', lock, kitchen);
  expect(policy.release('a').call).toBe(lock);
  expect(() => policy.release('a')).toThrow(expect.objectContaining({ code: 'CALL_NOT_PENDING' }));
  now = 59_999;
  expect(policy.expire()).toEqual([]);
  now = 60_000;
  expect(policy.expire().map(({ id }) => id)).toEqual(['b']);
  expect(() => policy.release('b')).toThrow(expect.objectContaining({ code: 'CALL_NOT_PENDING' }));
});

test('at most 64 calls wait to be confirmed', () => {
  const policy = new Policy(options, () => 0);
  for (let i = 0; i < 64; i++) policy.hold(String(i), lock, kitchen);
  expect(policy.decide(lock, kitchen, { confirm: true }, false)).toEqual(refused('too-many-pending'));
  policy.release('7');
  expect(policy.decide(lock, kitchen, { confirm: true }, false)).toEqual({ verdict: 'confirm' });
});

test('the audit shows no secrets, whatever they are in', () => {
  expect(
    bounded({ password: 'x', user: 'a', pin: 1234, spin: 1, list: [{ apiKey: 'k', door_pin: 5 }], code: '99' }, [
      'code',
    ]),
  ).toEqual({
    password: '[redacted]',
    user: 'a',
    pin: '[redacted]',
    spin: 1,
    list: [{ apiKey: '[redacted]', door_pin: '[redacted]' }],
    code: '[redacted]',
  });
});

test('the audit bounds what is long, wide or deep', () => {
  expect(bounded('x'.repeat(1000))).toBe(`${'x'.repeat(200)}...`);
  expect(bounded(Array.from({ length: 100 }, (_, i) => i))).toHaveLength(33);
  let deep: unknown = 1;
  for (let i = 0; i < 5000; i++) deep = [deep];
  expect(bounded(deep)).toEqual([[[[[['...']]]]]]);
  const wide = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, 'y'.repeat(1000)]));
  const entry = auditEntry(
    'proposed',
    { id: 'i', call: { name: 'f', arguments: wide }, origin: written },
    { node: 'pi5', reason: 'z'.repeat(1000) },
  );
  expect(entry).toMatchObject({ arguments: '...', source: 'text', stream: null, step: 'proposed' });
  expect(entry.reason).toHaveLength(300);
});
