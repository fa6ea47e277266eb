import { LoadProgress } from '../../../daemon/health/load-progress';
import type { Log } from '../../../daemon/log';

function setUp() {
  let now = 1000;
  const lines: string[] = [];
  let reports = 0;
  const log = { info: (_facts: object, text: string) => lines.push(text) } as unknown as Log;
  const progress = new LoadProgress({ report: () => reports++, log, now: () => now });
  return { progress, lines, reports: () => reports, pass: (ms: number) => (now += ms) };
}

test('a load of a moment says nothing', () => {
  const { progress, lines, reports, pass } = setUp();
  for (const fraction of [0, 0.3, 0.7, 1]) {
    progress.note(fraction);
    pass(100);
  }
  expect(lines).toEqual([]);
  expect(reports()).toBe(0);
});

test('a long load says how far it is: every 10 s in the log, every 2 s in health', () => {
  const { progress, lines, reports, pass } = setUp();
  for (let i = 0; i <= 250; i++) {
    progress.note(i / 300);
    pass(100);
  }
  expect(lines).toEqual(['the model is loaded to 33 %', 'the model is loaded to 66 %']);
  expect(reports()).toBe(12);
});

test('another load begins anew', () => {
  const { progress, lines, reports, pass } = setUp();
  progress.note(0);
  pass(9000);
  progress.note(0.9);
  pass(60_000);
  progress.note(0);
  pass(1000);
  progress.note(0.1);
  expect(lines).toEqual([]);
  expect(reports()).toBe(1);
});
