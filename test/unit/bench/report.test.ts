/** From samples to the report: medians, ratios, targets, tables. */

import { compareLogits } from '../../bench/parity/compare';
import { makeFigure } from '../../bench/report/figure';
import { shown, textMarkdown, warningsOf } from '../../bench/report/markdown';
import type { Machine, ModelResult, PeerTrial, TextResult } from '../../bench/report/result';
import { interleave, median, summarise } from '../../bench/report/statistics';
import { shareOfBandwidth } from '../../bench/text/bandwidth';
import { parsePeerSettings } from '../../bench/text/options';
import { inOrder } from '../../bench/text/peer-settings';
import { promptIds } from '../../bench/text/prompt-ids';
import { compareToTargets, textTargets, verdictOf } from '../../bench/text/targets';

const machine: Machine = { cpu: 'Cortex-A76', cores: 4, memoryBytes: 8e9, kernel: '6.12', node: '20.17.0', load: 0.1 };

function resultOf(model: string, ...figures: ModelResult['figures']): ModelResult {
  return {
    model,
    hearth: { version: '1', isa: 'scalar', threads: '2' },
    peer: { version: 'peer 2', mmap: 'on' },
    file: { path: 'm.gguf', bytes: 2.78e9 },
    figures,
    decodeBytes: { dense: 1.63e9, sparse: 1.45e9, screened: 1.19e9, hearth: 'screened', share: 0.9 },
    sameChoice: { equal: 63, of: 64 },
    peerTrials: [],
    failures: [],
  };
}

test.each([
  [[3], 3],
  [[9, 1, 5], 5],
  [[4, 1, 3, 2], 2.5],
  [[10, 9, 100, 8, 11], 10],
])('the median of %j', (values, expected) => {
  expect(median(values)).toBe(expected);
});

test('the median of nothing is no number; samples keep their order', () => {
  const samples = [3, 1, 2];
  expect(median([])).toBeNaN();
  expect(summarise(samples)).toEqual({ median: 2, min: 1, max: 3, runs: 3 });
  expect(samples).toEqual([3, 1, 2]);
});

test('sides take turns', async () => {
  const calls: string[] = [];
  const side = (name: string) => (run: number) => {
    calls.push(name);
    return Promise.resolve(run + (name === 'b' ? 10 : 0));
  };
  const samples = await interleave(3, [side('a'), side('b')]);
  expect(calls).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
  expect(samples).toEqual([
    [0, 1, 2],
    [10, 11, 12],
  ]);
});

test('a ratio says how many times better the first side is', () => {
  expect(makeFigure('p', 'p', 'tokens/s', { hearth: [300, 100, 200], 'llama.cpp': [50, 50, 50] }).ratio).toBe(4);
  expect(makeFigure('t', 't', 'ms', { hearth: [10], 'llama.cpp': [30] }).ratio).toBe(3);
  expect(makeFigure('m', 'm', 'bytes', { hearth: [4], 'llama.cpp': [2] }).ratio).toBe(0.5);
  expect(makeFigure('p', 'p', 'tokens/s', { hearth: [1], 'llama.cpp': undefined }).ratio).toBeUndefined();
});

test('targets: every row of both models, reached or not', () => {
  const rows = textTargets.map(({ model, value, must, aim }) => `${model} ${value} ${must} ${aim}`);
  expect(rows).toEqual([
    'e2b prefill-512 3 5',
    'e2b decode-0 1.4 1.8',
    'e4b prefill-512 3.5 6',
    'e4b decode-0 1.4 1.8',
    'e2b bandwidth-share 0.85 0.95',
    'e4b bandwidth-share 0.85 0.95',
    'e2b peak-rss-gb 2 1.7',
    'e4b peak-rss-gb 3 2.6',
    'e2b cached-prefix 20 30',
    'e4b cached-prefix 20 30',
    'e4b slice-e2b 1.6 1.8',
    'e4b slice-switch-share 0.1 0.01',
    'e2b threads-prefill 0.8 0.95',
    'e2b threads-decode 0.8 0.95',
    'e4b threads-prefill 0.8 0.95',
    'e4b threads-decode 0.8 0.95',
  ]);
  const [prefill] = textTargets;
  const rss = textTargets.find(({ value }) => value === 'peak-rss-gb');
  expect([2.9, 3, 4.9, 5, NaN].map((value) => verdictOf(prefill!, value))).toEqual([
    'missed',
    'must met',
    'must met',
    'aim met',
    'not measured',
  ]);
  expect([2.1, 2, 1.7].map((value) => verdictOf(rss!, value))).toEqual(['missed', 'must met', 'aim met']);
});

test('what was measured is found for its target; other models have none', () => {
  const e4b = resultOf(
    'e4b',
    makeFigure('prefill-512', '', 'tokens/s', { hearth: [400], 'llama.cpp': [100] }),
    makeFigure('peak-rss', '', 'bytes', { hearth: [2.5e9], 'llama.cpp': [6e9] }),
    makeFigure('slice-switch', '', 'ms', { switch: [0.01], token: [50] }),
  );
  const targets = compareToTargets([e4b]);
  const found = Object.fromEntries(targets.map(({ what, measured, verdict }) => [what, [measured, verdict]]));
  expect(found).toEqual({
    'prefill 512, E4B Q4_0 / llama.cpp': [4, 'must met'],
    'decode, E4B Q4_0 / llama.cpp': [undefined, 'not measured'],
    'share of the read bandwidth used at decode, E4B': [0.9, 'must met'],
    'peak RSS, E4B': [2.5, 'aim met'],
    'time to first token, cold / with a cached prefix, E4B': [undefined, 'not measured'],
    'decode of the e2b slice of an E4B file / full E4B': [undefined, 'not measured'],
    'switching a tail slice for every token, share of the time': [0.0002, 'aim met'],
    'prefill 512 with twice the threads / with one a core, E4B': [undefined, 'not measured'],
    'decode with twice the threads / with one a core, E4B': [undefined, 'not measured'],
  });
  expect(targets.find(({ what }) => what.startsWith('switching'))?.must).toBe('no re-prefill, no copy');
});

test.each([
  [0, '0'],
  [5, '5.00'],
  [117.4, '117'],
  [20.34, '20.3'],
  [0.085, '0.0850'],
  [0.0000123, '1.2e-5'],
  [Infinity, 'Infinity'],
])('%d is shown as %s', (value, expected) => {
  expect(shown(value)).toBe(expected);
});

test('the report names the machine, both engines, the ratio and the verdict', () => {
  const model = resultOf(
    'e2b',
    makeFigure('prefill-512', 'prefill 512', 'tokens/s', { hearth: [400, 500, 600], 'llama.cpp': [90, 100, 110] }),
  );
  const result: TextResult = {
    bench: 'text',
    date: '2026-01-02T03:04:05.000Z',
    commit: '0123456789ab',
    machine,
    options: {},
    models: [model],
    parity: { isa: 'scalar', logits: [], answers: [] },
    targets: compareToTargets([model]),
    warnings: warningsOf(3, { ...machine, load: 2 }, 'abc with changes'),
  };
  const lines = textMarkdown(result).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      '- Cortex-A76, 4 cores, 8.00 GB, Linux 6.12, Node 20.17.0',
      '- hearth 1 against peer 2',
      '- hearth: isa scalar, threads 2',
      '- llama.cpp: mmap on',
      '- **Only 3 runs of each figure: at least 5 are needed for a median that counts.**',
      '- **The machine was not idle (load 2.00).**',
      '| prefill 512, E2B Q4_0 / llama.cpp | 5.00x | 3.00x | 5.00x | aim met |',
      '| prefill 512 | 500 tokens/s (400–600) | 100 tokens/s (90.0–110) | 5.00x |',
      'Given the same ids, both engines chose the same token 63 times of 64.',
      '## Parity, scalar',
    ]),
  );
  expect(warningsOf(5, machine, 'abc')).toEqual([]);
});

test('logits: the largest difference, KL and equal top tokens', () => {
  const rows = [Float32Array.of(1, 2, 3), Float32Array.of(3, 2, 1)];
  expect(compareLogits('same', 'itself', rows, rows)).toEqual({
    what: 'same',
    against: 'itself',
    positions: 2,
    maxLogitDifference: 0,
    meanKl: 0,
    top1Equal: 2,
  });
  const other = compareLogits('other', 'it', [Float32Array.of(1, 3.5, 3), Float32Array.of(3, 2, 1)], rows);
  expect([other.maxLogitDifference, other.top1Equal]).toEqual([1.5, 1]);
  expect(other.meanKl).toBeGreaterThan(0.1);
  expect(() => compareLogits('none', 'it', [], [])).toThrow('0 rows');
});

test("llama.cpp's settings: read from a flag, put in order by what they gave", () => {
  expect(parsePeerSettings('flash=on,batch=512,mmap=off')).toEqual({ flashAttention: true, batch: 512, mmap: false });
  expect(() => parsePeerSettings('flash=on,batch=512')).toThrow('mmap=on or mmap=off');
  expect(() => parsePeerSettings('flash=on,batch=0,mmap=on')).toThrow('from 1 to 8192');
  expect(() => parsePeerSettings('flash=on,batch=5,mmap=on,turbo=on')).toThrow('not turbo');
  const trial = (batch: number, prefill: number, mmap = true): PeerTrial => ({
    flashAttention: true,
    batch,
    mmap,
    prefill,
    decode: 20,
    loadMs: 1,
    peakRssBytes: 1,
  });
  const ordered = inOrder([trial(256, 100), trial(512, 110), trial(512, 90), trial(1024, 60), trial(512, 112, false)]);
  // Not mapping the file has to gain more than noise.
  expect(ordered.map(({ batch, mmap, prefill }) => [batch, mmap, prefill])).toEqual([
    [512, true, 110],
    [512, false, 112],
    [256, true, 100],
    [1024, true, 60],
  ]);
});

test('prompts begin with <bos>, and a short one is the beginning of a long one', () => {
  const textIds = Array.from({ length: 1000 }, (_, i) => 500 + i);
  const long = promptIds(textIds, 2, 64);
  expect([long[0], long.length]).toEqual([2, 64]);
  expect(long.slice(1).every((id) => id >= 500 && id < 1500)).toBe(true);
  expect(promptIds(textIds, 2, 16)).toEqual(long.slice(0, 16));
});

test('the share of the bandwidth is that of each run, whatever the memory gave during the others', () => {
  // 1 GB a token: 40 of 50 GB/s, 18 of 20, 36 of 40.
  expect(shareOfBandwidth(1e9, [40, 18, 36], [50, 20, 40])).toBeCloseTo(0.9, 12);
  expect(shareOfBandwidth(1e9, [], [])).toBeUndefined();
});
