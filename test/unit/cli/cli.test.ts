import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCli } from '../../../daemon/cli';

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(...args: string[]): Promise<Outcome> {
  let out = '';
  let err = '';
  const stdout = jest.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    out += String(chunk);
    return true;
  });
  const stderr = jest.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
    err += String(chunk);
    return true;
  });
  try {
    return { code: await runCli(args), out, err };
  } finally {
    stdout.mockRestore();
    stderr.mockRestore();
  }
}

async function outcome(...args: string[]): Promise<Outcome> {
  const { code, ...rest } = await run(...args);
  return { code, ...rest };
}

test.each([
  [['rnu'], 64, "USAGE: unknown command 'rnu' (Did you mean run?)\n"],
  [['run', '--mqtt-ulr', 'x'], 64, "USAGE: unknown option '--mqtt-ulr' (Did you mean --mqtt-url?)\n"],
  [[], 64, 'USAGE: expected a command; --help lists them\n'],
  [
    ['model', 'convert', 'a', 'b', '--type', 'q9'],
    64,
    "USAGE: option '--type <type>' argument 'q9' is invalid. Allowed choices are f32, f16, bf16, q8_0, q4_0.\n",
  ],
  [['check-config', '--config', '/nonexistent.yaml'], 66, 'FILE_UNREADABLE: configuration /nonexistent.yaml: ENOENT\n'],
])('%j ends with %i', async (args, code, err) => {
  expect(await outcome(...args)).toEqual({ code, out: '', err });
});

test('each problem of a configuration is a line of its own', async () => {
  const { code, err } = await outcome(
    'check-config',
    '--config',
    '/dev/null',
    '--queue-capacity',
    '0',
    '--log-level',
    'loud',
  );
  expect(code).toBe(78);
  expect(err.trimEnd().split('\n')).toEqual([
    'CONFIG_INVALID: queue.capacity: expected a whole number from 1 to 1024, received 0 (--queue-capacity)',
    'CONFIG_INVALID: log.level: expected one of trace, debug, info, warn, error, fatal, silent, received "loud" (--log-level)',
  ]);
});

test('check-config prints what is in force, without secrets', async () => {
  const { code, out } = await outcome(
    'check-config',
    '--config',
    '/dev/null',
    '--node-id',
    'pi5',
    '--mqtt-password',
    'hunter2',
  );
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ node: { id: 'pi5' }, mqtt: { password: '***', url: null } });
  expect(out).not.toContain('hunter2');
});

test('help and version are no failures', async () => {
  expect(await outcome('--version')).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string,
    err: '',
  });
  const { code, out } = await outcome('run', '--help');
  expect(code).toBe(0);
  expect(out).toContain('--mqtt-password-file <value>');
});

test('plugin new writes a plugin once; plugin list says what runs', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-cli-'));
  try {
    const { code, out } = await outcome('plugin', 'new', 'gate', '--dir', directory);
    expect(code).toBe(0);
    const files = ['gate/index.ts', 'gate/README.md', 'gate/gate.test.ts'];
    expect(out.trim().split('\n')).toEqual(files.map((file) => join(directory, file)));
    expect(readFileSync(join(directory, 'gate/index.ts'), 'utf8')).toContain("name: 'gate'");
    expect(await outcome('plugin', 'new', 'gate', '--dir', directory)).toMatchObject({
      err: expect.stringMatching(/^PLUGIN_EXISTS: [^\n]*\n$/) as string,
    });
    expect(await outcome('plugin', 'new', '../x', '--dir', directory)).toMatchObject({
      err: expect.stringMatching(/^PLUGIN_NAME_INVALID: /) as string,
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const { out } = await outcome('plugin', 'list', '--config', '/dev/null');
  expect(out.split('\n')[0]).toMatch(/^enabled {2}captions: .*captions\/index\.js$/);
  // It comes with hearth and runs once it is named.
  expect(out).toMatch(/^disabled hermes: .*hermes\/index\.js$/m);
});
