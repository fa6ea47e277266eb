/** What plugins log, in files of its own, and the command that shows it. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatLine, printPluginLogs } from '../../../daemon/commands/plugin-logs';
import { createLog } from '../../../daemon/log';
import { PluginLogFiles } from '../../../daemon/plugins/log-files';

let stateDirectory: string;
beforeEach(() => {
  stateDirectory = mkdtempSync(join(tmpdir(), 'hearth-logs-'));
});
afterEach(() => rmSync(stateDirectory, { recursive: true, force: true }));

function makeLog() {
  const files = new PluginLogFiles(stateDirectory);
  return createLog({ level: 'info', destination: { write: () => undefined }, also: (line) => files.write(line) });
}

async function shown(lines: string, name = 'birds'): Promise<string[]> {
  const printed: string[] = [];
  await printPluginLogs({ stateDirectory }, name, { lines, follow: false }, (line) => printed.push(line));
  return printed;
}

test('the lines of a plugin, and of nobody else, are kept without secrets', async () => {
  const log = makeLog();
  const birds = log.child({ ns: 'plugins' }).child({ ns: 'plugin/birds' });
  log.info('the daemon');
  birds.debug('too quiet');
  birds.info({ fields: { count: 2, token: 'x' } }, 'a wren "ns":"plugin/other"');
  birds.warn({ reason: 'PLUGIN_FAILED: x' }, 'it failed');
  expect(readdirSync(join(stateDirectory, 'plugin-logs'))).toEqual(['birds.log']);
  const [first, second, ...none] = await shown('10');
  expect(first).toMatch(/Z info {2}a wren "ns":"plugin\/other" count=2 token="\*\*\*"$/);
  expect(second).toMatch(/Z warn {2}it failed reason="PLUGIN_FAILED: x"$/);
  expect(none).toEqual([]);
  expect(await shown('1')).toEqual([second]);
  expect(formatLine('no JSON')).toBe('no JSON');
});

test('what was logged cannot steer the terminal, and a time that makes no sense is left out', () => {
  const line = (ts: number, msg: string) => formatLine(JSON.stringify({ level: 'info', ts, ns: 'plugin/birds', msg }));
  expect(line(0, 'a\tb\n\u001b[2J\u009b')).toBe('1970-01-01T00:00:00.000Z info  a\tb\n\ufffd[2J\ufffd');
  expect(line(1e300, 'late')).toBe(' info  late');
  expect(formatLine('\u001b]0;x\u0007')).toBe('\ufffd]0;x\ufffd');
});

test('two files of bounded size hold the latest', async () => {
  const birds = makeLog().child({ ns: 'plugin/birds' });
  for (let i = 0; i < 700; i++) birds.info(`${i} ${'x'.repeat(1000)}`);
  const sizes = ['birds.log', 'birds.log.1'].map(
    (name) => readFileSync(join(stateDirectory, 'plugin-logs', name)).length,
  );
  for (const size of sizes) expect(size).toBeLessThanOrEqual(256 << 10);
  const lines = await shown('1000');
  expect(lines.length).toBeGreaterThan(250);
  const numbers = lines.map((line) => Number(/ (\d+) x/.exec(line)?.[1]));
  expect(numbers).toEqual(Array.from({ length: lines.length }, (_, i) => 700 - lines.length + i));
});

test('what is logged is followed across a change of files, each line once', async () => {
  const birds = makeLog().child({ ns: 'plugin/birds' });
  birds.info('before');
  const printed: string[] = [];
  const abort = new AbortController();
  const following = printPluginLogs(
    { stateDirectory },
    'birds',
    { lines: '0', follow: true },
    (line) => printed.push(line),
    abort.signal,
  );
  for (let i = 0; i < 300; i++) birds.info(`${i} ${'x'.repeat(1000)}`);
  while (printed.length < 300) await new Promise((resolve) => setTimeout(resolve, 20));
  abort.abort();
  await following;
  expect(printed.map((line) => Number(/ (\d+) x/.exec(line)?.[1]))).toEqual(Array.from({ length: 300 }, (_, i) => i));
});

test('a directory that cannot be written is no failure; names and counts that make no sense are', async () => {
  writeFileSync(join(stateDirectory, 'plugin-logs'), 'a file');
  makeLog().child({ ns: 'plugin/birds' }).info('x');
  await expect(shown('10')).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
  rmSync(join(stateDirectory, 'plugin-logs'));
  await expect(shown('10')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  await expect(shown('ten')).rejects.toMatchObject({ code: 'USAGE' });
  await expect(shown('10', '../x')).rejects.toMatchObject({ code: 'PLUGIN_NAME_INVALID' });
});
