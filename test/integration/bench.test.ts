/** The bench from its command line to its report, on the smallest model and without llama.cpp. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EngineChild } from '../bench/engine/child';
import type { EncodersResult, TextResult } from '../bench/report/result';

function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['dist/test/bench/main.js', ...args], { encoding: 'utf8' });
}

test('help lists what can be measured, and the options of each', () => {
  expect(bench('--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('text [options]') });
  const { status, stdout } = bench('text', '--help');
  expect(status).toBe(0);
  for (const flag of ['--model', '--runs', '--figures', '--no-peer', '--peer-settings', '--reference', '--json'])
    expect(stdout).toContain(`${flag} `.replace('--no-peer ', '--no-peer'));
});

test.each([
  [['--runs', '0'], 'Expected a whole number from 1 to 1000'],
  [['--model', 'e8b'], 'Allowed choices are e2b, e4b, tiny, both'],
  [['--figures', 'speed'], 'Expected some of load, prefill'],
  [['--peer-settings', 'flash=maybe'], 'Expected flash=on or flash=off'],
  [['--turbo'], "unknown option '--turbo'"],
])('%j is refused: %s', (args, message) => {
  expect(bench('text', ...args)).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining(message) });
});

test.each([
  [['--parts', 'storm'], 'Expected some of flood, restarts, slow-consumer, large-frames'],
  [['--protocols', '3'], 'Expected a whole number from 4 to 5'],
  [['--kills', '0'], 'Expected a whole number from 1 to 50'],
])('bus: %j is refused: %s', (args, message) => {
  expect(bench('bus', ...args)).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining(message) });
});

describe('a run', () => {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-bench-'));
  afterAll(() => rmSync(directory, { recursive: true }));

  test('measures what it is asked to, writes Markdown and JSON', () => {
    const json = join(directory, 'result.json');
    const numbers = ['--prefill', '48', '--decode-tokens', '4', '--prefix', '64', '--suffix', '4', '--runs', '2'];
    const what = ['--model', 'tiny', '--no-peer', '--no-parity', '--figures', 'load,prefill,first-token,slice,threads'];
    const { status, stdout, stderr } = bench('text', ...what, ...numbers, '--cache', directory, '--json', json);
    expect([status, stderr.split('\n').filter((line) => !line.startsWith('bench: '))]).toEqual([0, ['']]);
    expect(stdout).toContain('## TINY');
    expect(stdout).toContain('| prefill 48 |');
    const result = JSON.parse(readFileSync(json, 'utf8')) as TextResult;
    const [model] = result.models;
    expect(model?.figures.map(({ id }) => id)).toEqual([
      'load',
      'peak-rss',
      'prefill-48',
      'first-token',
      'first-token-cached',
      'cached-prefix',
      'slice-e2b',
      'slice-switch',
      'threads-prefill',
      'threads-decode',
    ]);
    for (const { sides } of model?.figures ?? []) {
      for (const { samples, summary } of sides) {
        expect(samples).toHaveLength(2);
        expect(summary.min > 0 && summary.median >= summary.min && summary.max >= summary.median).toBe(true);
      }
    }
    expect([result.parity, result.targets, model?.failures]).toEqual([undefined, [], []]);
    expect(result.warnings).toContainEqual(expect.stringContaining('Only 2 runs'));
  }, 120_000);

  test('measures the encoders, on pictures and sounds, against float32', () => {
    const json = join(directory, 'encoders.json');
    const what = ['--model', 'tiny', '--runs', '2', '--images', '256,768', '--clips', '5'];
    const python = ['--python', join(directory, 'no-python')];
    const { status, stdout } = bench('encoders', ...what, ...python, '--cache', directory, '--json', json);
    expect(status).toBe(0);
    expect(stdout).toContain('| vision, 768 px |');
    expect(stdout).toContain('PyTorch was not measured');
    const result = JSON.parse(readFileSync(json, 'utf8')) as EncodersResult;
    expect(result.rows.map(({ figure }) => figure.id)).toEqual(['vision-256', 'vision-768', 'audio-5']);
    for (const { figure, cosine, peerMissing } of result.rows) {
      expect(figure.sides.map(({ name, samples }) => [name, samples.length])).toEqual([['hearth', 2]]);
      expect(cosine?.least).toBeGreaterThan(0.99);
      expect(cosine?.least).toBeLessThanOrEqual(1 + 1e-9);
      expect(peerMissing).toContain('no-python');
    }
    // All of it is bounded: a picture's maps, however wide the encoder.
    expect(result.scratchBytes).toBeLessThan(300e6);
  }, 120_000);

  test('of the bus says what came of each part', () => {
    const json = join(directory, 'bus.json');
    const numbers = ['--seconds', '2', '--large-rate', '2', '--protocols', '4', '--parts', 'large-frames'];
    const { status, stdout } = bench('bus', ...numbers, '--json', json);
    expect(status).toBe(0);
    expect(stdout).toContain('| 2 MiB frames: sent, of them one byte too large | 5, 1 |');
    expect(JSON.parse(readFileSync(json, 'utf8'))).toMatchObject({
      bench: 'bus',
      results: [{ protocol: 4, largeFrames: { sent: 5, tooLarge: 1, bytes: 4 * (2 << 20) } }],
    });
  }, 120_000);

  test.each([
    [['--images', '300'], 'Expected one of 256, 512, 768'],
    [['--clips', '31'], 'Expected a whole number from 1 to 30'],
    [['--model', 'half'], 'Allowed choices are full, tiny'],
  ])('encoders: %j is refused: %s', (args, message) => {
    expect(bench('encoders', ...args)).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringContaining(message),
    });
  });

  test('an engine that cannot load says why', async () => {
    const options = {
      modelPath: join(directory, 'none.gguf'),
      threads: 1,
      contextLength: 64,
      isa: '',
      peer: undefined,
    };
    await expect(EngineChild.open('hearth', options)).rejects.toThrow(/^hearth: load: .*none\.gguf/);
  });
});
