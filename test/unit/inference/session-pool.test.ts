import { SessionPool } from '../../../daemon/inference/session-pool';

test('sessions are made when needed, up to the limit, and the one used last comes first', () => {
  let made = 0;
  const pool = new SessionPool(() => ({ name: ++made, kvBytes: 0 }), 2);
  const first = pool.take();
  pool.give(first);
  expect(pool.take()).toBe(first);
  const second = pool.take();
  expect(second.name).toBe(2);
  expect(pool.available).toBe(false);
  expect(() => pool.take()).toThrow('beyond the 2 there may be');
  pool.give(second);
  pool.give(first);
  expect(pool.available).toBe(true);
  expect([pool.take(), pool.take()]).toEqual([first, second]);
  expect(made).toBe(2);
});

test('their memory is what it was when they were idle', () => {
  const pool = new SessionPool(() => ({ kvBytes: 10 }), 3);
  expect(pool.kvBytes).toBe(0);
  const session = pool.take();
  pool.take();
  expect(pool.kvBytes).toBe(20);
  session.kvBytes = 500;
  expect(pool.kvBytes).toBe(20);
  pool.give(session);
  expect(pool.kvBytes).toBe(510);
});

test('a session that could not be made takes no place', () => {
  let fail = true;
  const pool = new SessionPool(() => {
    if (fail) throw new Error('no memory');
    return { kvBytes: 0 };
  }, 1);
  expect(() => pool.take()).toThrow('no memory');
  fail = false;
  expect(pool.available).toBe(true);
  expect(pool.take()).toBeDefined();
});
