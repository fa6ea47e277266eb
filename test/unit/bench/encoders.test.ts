/** The encoders' random models have the converter's structure; cosines, the report and PyTorch's process. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkStructure } from '../../../daemon/models/convert/check-structure';
import { encodersMarkdown } from '../../bench/encoders/markdown';
import { cosineOf } from '../../bench/encoders/measure';
import { NoPyTorch, PyTorch } from '../../bench/encoders/pytorch';
import { compareEncoders } from '../../bench/encoders/targets';
import { encoderLayout, releasedVision, tinyVision } from '../../bench/model/encoder-layout';
import { textLayout } from '../../bench/model/layout';
import { encoderConfig } from '../../bench/model/random-encoders';
import { makeFigure } from '../../bench/report/figure';
import type { EncodersResult } from '../../bench/report/result';

test.each([
  ['full', releasedVision],
  ['tiny', tinyVision],
] as const)('%s: every tensor of both encoders and no other, each in its shape', (size, vision) => {
  const config = encoderConfig(size);
  const plans = [...textLayout(config.text), ...encoderLayout(config, vision)];
  const parts = plans.map(({ info }) => {
    const stacked = /^altup_(unembd_)?proj/.test(info.name);
    const shape = (stacked ? info.dims.slice(0, 2) : info.dims).toReversed();
    // What the converter makes matrices of: 1x1 convolutions, and depthwise ones along time.
    const pointwise = info.name.startsWith('v.') && shape.length === 2;
    const depthwise = info.name.endsWith('conv_dw.weight');
    const source = pointwise ? [...shape, 1, 1] : depthwise ? [shape[0] as number, 1, shape[1] as number] : shape;
    return [info.name, { source: info.name, shape: source }] as const;
  });
  expect(() => checkStructure(new Map(parts), config)).not.toThrow();
});

test('the released shapes: 84 blocks, the parameters of both encoders', () => {
  const layout = encoderLayout(encoderConfig('full'), releasedVision);
  const parameters = (prefix: string): number =>
    layout
      .filter(({ info }) => info.name.startsWith(prefix))
      .reduce((sum, { info }) => sum + info.dims.reduce((product, dim) => product * dim, 1), 0);
  expect(releasedVision.stages.map((blocks) => blocks.length)).toEqual([3, 5, 37, 39]);
  expect(Math.round(parameters('v.') / 1e6)).toBe(294);
  expect(Math.round(parameters('a.') / 1e6)).toBe(681);
});

const softTokens = (rows: readonly (readonly number[])[]) => ({
  count: rows.length,
  rows: Float32Array.from(rows.flat()),
});

test('cosines are taken row by row', () => {
  const a = softTokens([
    [1, 0],
    [3, 4],
    [0, 0],
  ]);
  const b = softTokens([
    [2, 0],
    [4, 3],
    [0, 0],
  ]);
  expect(cosineOf(a, b)).toEqual({ least: 24 / 25, mean: (1 + 24 / 25 + 1) / 3, rows: 3 });
  expect(() => cosineOf(a, softTokens([[1, 0]]))).toThrow('3 and 1 soft tokens');
});

const result = (peer: readonly number[] | undefined, missing: string | undefined): EncodersResult => {
  const rows = [
    {
      figure: makeFigure('vision-768', 'vision, 768 px', 'ms', { hearth: [100, 110, 90], PyTorch: peer }),
      cosine: { least: 0.9987, mean: 0.9991, rows: 256 },
      realTimeFactor: undefined,
      peerMissing: missing,
    },
  ];
  return {
    bench: 'encoders',
    date: 'today',
    commit: 'abc',
    machine: { cpu: 'a CPU', cores: 2, memoryBytes: 8e9, kernel: '6', node: '22', load: 0 },
    options: {},
    hearth: { isa: 'scalar' },
    peer: peer && { torch: '2' },
    file: { path: 'x', bytes: 1e9 },
    rows,
    scratchBytes: 120e6,
    targets: compareEncoders(rows, 120e6),
    warnings: [],
  };
};

test('the report has the times of both sides, the ratio and the cosine', () => {
  const report = encodersMarkdown(result([1300, 1200, 1250], undefined));
  expect(report).toContain(
    '| vision, 768 px | 100 ms (90.0–110) | 1250 ms (1200–1300) | 12.5x | 0.99870 (mean 0.99910) |  |',
  );
  expect(report).toContain('| vision 768 px / PyTorch | 12.5x | 6.00x | 12.0x | aim met |');
  expect(report).toContain('PyTorch, float32: torch 2');
  expect(report).toContain('0.120 GB above the loaded model');
});

test('without PyTorch the report says why', () => {
  const report = encodersMarkdown(result(undefined, "python3: No module named 'torch'"));
  expect(report).toContain("- PyTorch was not measured: python3: No module named 'torch'");
  expect(report).toContain('| vision, 768 px | 100 ms (90.0–110) | not measured |  |');
  expect(report).toContain('| vision 768 px / PyTorch | – |');
});

describe('PyTorch', () => {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-pytorch-'));
  afterAll(() => rmSync(directory, { recursive: true }));

  /** Something that takes python's place. */
  function python(name: string, ...lines: readonly string[]): string {
    const path = join(directory, name);
    writeFileSync(path, ['#!/bin/sh', ...lines, ''].join('\n'));
    chmodSync(path, 0o755);
    return path;
  }

  test('says its versions, then the time of every request', async () => {
    const path = python(
      'works',
      `echo "{\\"ready\\": {\\"torch\\": \\"$2\\"}}"`,
      'read request',
      `echo '{"ms": 12.5}'`,
    );
    const peer = await PyTorch.open(path, 'script', 3);
    expect(peer.versions).toEqual({ torch: '3' });
    expect(await peer.run({ image: 256 })).toBe(12.5);
    await expect(peer.run({ audio: 100 })).rejects.toThrow('PyTorch ended over {"audio":100}');
    peer.close();
  });

  test.each([
    ['lacks', [`echo '{"missing": "no timm"}'`], 'no timm'],
    ['silent', ['exit 1'], 'it did not start'],
    ['babbles', ['echo hello'], 'it said "hello"'],
  ] as const)('a python that %s is a reason', async (name, lines, reason) => {
    await expect(PyTorch.open(python(name, ...lines), 'script', 1)).rejects.toThrow(new NoPyTorch(reason));
  });

  test('so is none at all', async () => {
    await expect(PyTorch.open(join(directory, 'none'), 'script', 1)).rejects.toBeInstanceOf(NoPyTorch);
  });
});
