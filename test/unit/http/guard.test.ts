import type { FastifyRequest } from 'fastify';
import { isLoopback } from '../../../daemon/config';
import { HearthError } from '../../../daemon/errors';
import { Guard, type GuardOptions } from '../../../daemon/http/guard';
import { asHearthError, shapeFor, statusOf } from '../../../daemon/http/status';

const request = (headers: Record<string, string>): FastifyRequest => ({ headers }) as unknown as FastifyRequest;
const guard = (options: Partial<GuardOptions> = {}): Guard =>
  new Guard({ loopback: true, token: null, allowedHosts: [], allowedOrigins: [], ...options });
const codeOf = (run: () => void): string => {
  try {
    run();
  } catch (error) {
    return (error as HearthError).code;
  }
  return 'fine';
};

test.each([
  ['127.0.0.1', true],
  ['127.9.9.9', true],
  ['localhost', true],
  ['[::1]', true],
  ['::1', true],
  ['0.0.0.0', false],
  ['::', false],
  ['192.168.1.5', false],
  ['127.0.0.1.example', false],
  ['1.127.0.0.1', false],
  ['localhost.example', false],
])('%s is loopback: %p', (host, expected) => expect(isLoopback(host)).toBe(expected));

test.each([
  [{}, 'HTTP_HOST_REFUSED'],
  [{ host: '' }, 'HTTP_HOST_REFUSED'],
  [{ host: 'a b' }, 'HTTP_HOST_REFUSED'],
  [{ host: 'localhost:80:80' }, 'HTTP_HOST_REFUSED'],
  [{ host: 'evil.example' }, 'HTTP_HOST_REFUSED'],
  [{ host: 'localhost:8474' }, 'fine'],
  [{ host: 'localhost.' }, 'fine'],
  [{ host: 'localhost', origin: 'null' }, 'HTTP_ORIGIN_REFUSED'],
  [{ host: 'localhost', origin: 'http://localhost:3000' }, 'HTTP_ORIGIN_REFUSED'],
  [{ host: 'localhost:3000', origin: 'http://localhost:3000' }, 'fine'],
])('on loopback, %j: %s', (headers, expected) => {
  expect(codeOf(() => guard().checkSource(request(headers as Record<string, string>)))).toBe(expected);
});

test('opened, any name leads here unless some are listed; a page of another origin does not get in by any', () => {
  const open = guard({ loopback: false, token: 'x'.repeat(16) });
  expect(codeOf(() => open.checkSource(request({ host: 'pi5.lan' })))).toBe('fine');
  expect(codeOf(() => open.checkSource(request({ host: 'pi5.lan', origin: 'https://evil.example' })))).toBe(
    'HTTP_ORIGIN_REFUSED',
  );
  const listed = guard({ loopback: false, token: 'x'.repeat(16), allowedHosts: ['Pi5.lan'] });
  expect(codeOf(() => listed.checkSource(request({ host: 'pi5.LAN:8474' })))).toBe('fine');
  expect(codeOf(() => listed.checkSource(request({ host: 'other.lan' })))).toBe('HTTP_HOST_REFUSED');
});

test('the token is the whole of it, and only with its scheme', () => {
  const token = 'sixteen-and-more';
  const withToken = guard({ token });
  for (const authorization of [`Bearer ${token}`, `bearer  ${token}`])
    expect(codeOf(() => withToken.checkToken(request({ authorization })))).toBe('fine');
  for (const authorization of [
    '',
    token,
    `Bearer ${token} x`,
    `Bearer ${token.slice(0, -1)}`,
    `Bearer ${token}${token}`,
  ])
    expect(codeOf(() => withToken.checkToken(request({ authorization })))).toBe('HTTP_UNAUTHORIZED');
  expect(codeOf(() => guard().checkToken(request({})))).toBe('fine');
});

test('errors have a status by what they mean, and the shape of the door they leave by', () => {
  expect(
    ['QUEUE_FULL', 'ENGINE_NOT_READY', 'SHUTDOWN', 'INTERNAL', 'CONTEXT_FULL'].map((code) => statusOf(code as never)),
  ).toEqual([503, 503, 503, 500, 400]);
  const error = new HearthError('QUEUE_FULL', 'full');
  expect(shapeFor('/v1/chat/completions')(error)).toEqual({
    error: { message: 'full', type: 'server_error', param: null, code: 'QUEUE_FULL' },
  });
  expect(shapeFor('/api/chat')(error)).toEqual({ error: 'QUEUE_FULL: full', code: 'QUEUE_FULL' });
  expect(shapeFor('/apis')(error)).toEqual({ error: { code: 'QUEUE_FULL', message: 'full', retryable: true } });
  // What is ours to hide is hidden, what is the client's doing is said.
  expect(asHearthError(new TypeError('secret path')).message).not.toContain('secret');
  expect(asHearthError({ code: 'FST_ERR_CTP_BODY_TOO_LARGE', statusCode: 413, message: 'x' }).code).toBe(
    'REQUEST_TOO_LARGE',
  );
  expect(asHearthError({ statusCode: 418, message: 'tea' })).toMatchObject({ code: 'REQUEST_INVALID', message: 'tea' });
});
