import { Guesses } from '../../../daemon/http/guesses';
import { PageSession } from '../../../daemon/http/page-session';

const token = 'a-token-of-enough-length';
const cookieOf = (setCookie: string): string => setCookie.split(';')[0] ?? '';

test('a cookie holds for 30 days, in another process, too, and not with another token', () => {
  let now = 1_000_000_000_000;
  const session = new PageSession(token, () => now);
  const cookie = cookieOf(session.issue(false));
  expect(session.accepts(cookie)).toBe(true);
  expect(session.accepts(`theme=dark; ${cookie}; other=1`)).toBe(true);
  expect(new PageSession(token, () => now).accepts(cookie)).toBe(true);
  expect(new PageSession('another-token-of-length', () => now).accepts(cookie)).toBe(false);
  now += 30 * 86_400_000;
  expect(session.accepts(cookie)).toBe(false);
});

test('one whose end or signature was changed does not hold', () => {
  const session = new PageSession(token);
  const cookie = cookieOf(session.issue(false));
  const later = cookie.replace(/\d/, (digit) => String((Number(digit) + 1) % 10));
  const forged = cookie.slice(0, -2) + (cookie.endsWith('AA') ? 'BB' : 'AA');
  for (const wrong of [later, forged, 'hearth_page=', 'hearth_page=1.2', '', undefined])
    expect(session.accepts(wrong)).toBe(false);
});

test('scripts cannot read it, other sites cannot send it, and it goes to the page alone', () => {
  const session = new PageSession(token);
  expect(session.issue(false)).toMatch(/; Path=\/ui; HttpOnly; SameSite=Strict$/);
  expect(session.issue(true)).toMatch(/; Secure$/);
});

test('after five wrong tokens an address waits for a minute, others do not', () => {
  let now = 0;
  const guesses = new Guesses(() => now);
  for (let i = 0; i < 5; i++) {
    guesses.check('a');
    guesses.wrong('a');
  }
  expect(() => guesses.check('a')).toThrow(expect.objectContaining({ code: 'HTTP_TOO_MANY_GUESSES' }));
  guesses.check('b');
  now += 60_000;
  guesses.check('a');
  guesses.wrong('a');
  guesses.check('a');
});

test('the addresses that are remembered are bounded', () => {
  const guesses = new Guesses(() => 0);
  for (let i = 0; i < 5; i++) guesses.wrong('first');
  for (let i = 0; i < 5000; i++) guesses.wrong(`address ${i}`);
  // It was the oldest: forgotten rather than kept at the expense of memory.
  guesses.check('first');
});
