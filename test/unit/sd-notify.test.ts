/** Messages to the service manager, received on a real datagram socket. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serviceManager } from '../../daemon/config/service-manager';
import { createSdNotify } from '../../daemon/health/sd-notify';
import { type DatagramReceiver, receiveDatagrams } from '../helpers/datagram-receiver';

let directory: string;
let receiver: DatagramReceiver | undefined;
let problems: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-notify-'));
  problems = [];
});

afterEach(async () => {
  await receiver?.close();
  receiver = undefined;
  rmSync(directory, { recursive: true, force: true });
});

function notifyTo(socketPath: string | undefined) {
  return createSdNotify({ socketPath, onError: (reason) => problems.push(reason) });
}

test.each([
  ['a file', () => join(directory, 'notify')],
  ['an abstract name', () => `@hearth-test-${process.pid}`],
])('messages arrive whole and in order at %s', async (_kind, path) => {
  receiver = await receiveDatagrams(path());
  const notify = notifyTo(path());
  notify('READY=1\nSTATUS=modèle prêt');
  notify('WATCHDOG=1');
  notify('STOPPING=1');
  await receiver.next((message) => message === 'STOPPING=1');
  expect(receiver.messages).toEqual(['READY=1\nSTATUS=modèle prêt', 'WATCHDOG=1', 'STOPPING=1']);
  expect(problems).toEqual([]);
});

test.each([
  ['/nonexistent/notify', 'No such file or directory'],
  ['@hearth-nobody-listens', 'Connection refused'],
  ['relative', "expected an absolute path or '@' and a name"],
  ['@', "expected an absolute path or '@' and a name"],
  [`/${'x'.repeat(120)}`, 'File name too long'],
])('%s: nothing is thrown, the reason is told', (path, reason) => {
  notifyTo(path)('READY=1');
  expect(problems).toEqual([`${path}: ${reason}`]);
});

test('without a socket nothing is sent', () => {
  notifyTo(undefined)('READY=1');
  expect(problems).toEqual([]);
});

test.each([
  [{}, { notifySocket: undefined, watchdogMs: undefined }],
  [
    { NOTIFY_SOCKET: '/run/systemd/notify', WATCHDOG_USEC: '60000000' },
    { notifySocket: '/run/systemd/notify', watchdogMs: 60_000 },
  ],
  [
    { WATCHDOG_USEC: '500', WATCHDOG_PID: String(process.pid) },
    { notifySocket: undefined, watchdogMs: 0.5 },
  ],
  [
    { WATCHDOG_USEC: '500', WATCHDOG_PID: '1' },
    { notifySocket: undefined, watchdogMs: undefined },
  ],
  [
    { NOTIFY_SOCKET: '', WATCHDOG_USEC: 'soon' },
    { notifySocket: undefined, watchdogMs: undefined },
  ],
  [{ WATCHDOG_USEC: '0' }, { notifySocket: undefined, watchdogMs: undefined }],
])('the environment %j means %j', (env, expected) => {
  expect(serviceManager(env)).toEqual(expected);
});
