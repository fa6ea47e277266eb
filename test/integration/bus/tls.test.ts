/** TLS with a CA and client certificates of our own, and a password file, against a real Mosquitto. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { filter, firstValueFrom } from 'rxjs';
import { brokerOptions } from '../../../daemon/bus/broker-options';
import { probeBroker } from '../../../daemon/bus/probe';
import { loadConfig } from '../../../daemon/config';
import { createLog } from '../../../daemon/log';
import { createBus } from '../../helpers/bus';
import { freePort, type Mosquitto, startMosquitto } from '../../helpers/mosquitto';

let directory: string;
let broker: Mosquitto;
let url: string;

const log = createLog({ level: 'silent' });

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-tls-'));
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { cwd: directory, stdio: 'ignore' });
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=test ca', '-days', '2');
  for (const name of ['localhost', 'client']) {
    openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    writeFileSync(join(directory, `${name}.ext`), `subjectAltName=DNS:${name}`);
    const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', `${name}.ext`];
    openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...signed);
  }
  writeFileSync(join(directory, 'password'), 'hunter2\n');
  execFileSync('mosquitto_passwd', ['-b', '-c', join(directory, 'users'), 'hearth', 'hunter2'], { stdio: 'ignore' });
  const port = await freePort();
  url = `mqtts://localhost:${port}`;
  broker = await startMosquitto([
    `listener ${port} 127.0.0.1`,
    `cafile ${directory}/ca.pem`,
    `certfile ${directory}/localhost.pem`,
    `keyfile ${directory}/localhost.key`,
    'require_certificate true',
    'allow_anonymous false',
    `password_file ${directory}/users`,
  ]);
});

afterAll(async () => {
  await broker.stop();
  rmSync(directory, { recursive: true, force: true });
});

function options(flags: Record<string, string>): ReturnType<typeof brokerOptions> {
  const all = {
    'mqtt-url': url,
    'mqtt-tls-ca-file': join(directory, 'ca.pem'),
    'mqtt-tls-cert-file': join(directory, 'client.pem'),
    'mqtt-tls-key-file': join(directory, 'client.key'),
    'mqtt-username': 'hearth',
    'mqtt-password-file': join(directory, 'password'),
    ...flags,
  };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''));
  return brokerOptions(loadConfig({ file: '/dev/null', env: {}, flags: given }), url);
}

test('connects with CA, client certificate and password, and publishes', async () => {
  const bus = createBus(url, { broker: options({}) });
  bus.start();
  await bus.ready();
  expect(await firstValueFrom(bus.state$.pipe(filter(({ phase }) => phase === 'online')))).toMatchObject({
    protocol: 5,
  });
  await bus.publish('hearth/x', 'x', { qos: 1 });
  await bus.close();
});

test.each([
  ['a CA that did not sign the broker', { 'mqtt-tls-ca-file': '' }, /certificate|issuer|self-signed/],
  ['no client certificate', { 'mqtt-tls-cert-file': '', 'mqtt-tls-key-file': '' }, /certificate|closed|alert|reset/],
  ['a wrong password', { 'mqtt-password-file': '', 'mqtt-password': 'hunter3' }, /not authorized/i],
])('%s is refused with a reason that holds no secret', async (_what, flags, reason) => {
  const probe = probeBroker(options(flags), 'probe', 2000, log);
  await expect(probe).rejects.toMatchObject({
    code: 'BUS_CONNECT_REFUSED',
    message: expect.stringMatching(reason) as string,
  });
  await expect(probe).rejects.not.toThrow(/hunter/);
});

test('certificates, key and password that are replaced in their files are used for the next attempt', async () => {
  const names = { ca: 'ca.pem', cert: 'client.pem', key: 'client.key', password: 'password' };
  const at = (name: string): string => join(directory, `renewed-${name}`);
  const put = (name: keyof typeof names, from: string): void => copyFileSync(join(directory, from), at(name));
  // Valid files, all of somebody else's.
  put('ca', 'localhost.pem');
  put('cert', 'localhost.pem');
  put('key', 'localhost.key');
  writeFileSync(at('password'), 'hunter3');
  const flags = {
    'mqtt-tls-ca-file': at('ca'),
    'mqtt-tls-cert-file': at('cert'),
    'mqtt-tls-key-file': at('key'),
    'mqtt-password-file': at('password'),
  };
  const bus = createBus(url, { broker: { ...options(flags), reconnectMaxMs: 300 } });
  const reasons: string[] = [];
  bus.state$.subscribe((state) => {
    if (state.phase === 'offline') reasons.push(state.reason);
  });
  bus.start();
  const refused = async (reason: RegExp): Promise<void> => {
    for (let attempt = 0; !reason.test(reasons.at(-1) ?? ''); attempt++) {
      if (attempt === 500) throw new Error(`expected ${String(reason)}, received ${reasons.slice(-5).join(' | ')}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await refused(/certificate|issuer/);
  put('ca', names.ca);
  await refused(/not authorized/i);
  rmSync(at('key'));
  await refused(/mqtt\.tls\.keyFile: ENOENT/);
  put('key', names.key);
  put('cert', names.cert);
  writeFileSync(at('password'), 'hunter2');
  await bus.ready();
  await bus.close();
  expect(reasons.join()).not.toMatch(/hunter|BEGIN/);
});

test('the wrong file is said before anything connects', () => {
  writeFileSync(join(directory, 'empty.pem'), 'secret words');
  expect(() => options({ 'mqtt-tls-key-file': join(directory, 'empty.pem') })).toThrow(
    expect.objectContaining({
      code: 'FILE_UNREADABLE',
      message: expect.not.stringContaining('secret words') as string,
    }),
  );
});
