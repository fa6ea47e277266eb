/** What a node remembers of jobs has bounds. */
import { JobTable } from '../../../daemon/cluster/job-table';
import { jobNamed } from './simulation';

const limits = { maxOpen: 3, maxOpenBytes: 250, maxAnswered: 2, maxAnswerBytes: 200 };
const answer = (text: string) => ({ ok: true, data: text }) as const;

test('open jobs are bounded in number and bytes, and make room when they end', () => {
  const table = new JobTable(limits);
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => jobNamed(name)) as [
    ReturnType<typeof jobNamed>,
    ReturnType<typeof jobNamed>,
    ReturnType<typeof jobNamed>,
    ReturnType<typeof jobNamed>,
  ];
  expect(table.add(a.key, a, 0)).toBeDefined();
  expect(table.add(b.key, b, 0)).toBeDefined();
  expect(table.add(c.key, c, 0)).toBeUndefined();
  expect(table.add(c.key, undefined, 0)).toMatchObject({ request: undefined });
  expect(table.add(d.key, undefined, 0)).toBeUndefined();
  table.drop(a.key);
  expect(table.add(c.key, c, 5)).toMatchObject({ request: { id: 'c' }, sinceMs: 0 });
  expect(table.size).toBe(2);
});

test('answers are forgotten oldest first, by number and by bytes', () => {
  const table = new JobTable(limits);
  for (const key of ['a', 'b', 'c']) table.close(key, 'n', 1, answer(key));
  expect([table.answered('a'), table.answered('c')?.answer]).toEqual([undefined, answer('c')]);
  table.close('d', 'n', 1, answer('x'.repeat(170)));
  expect([table.answered('b'), table.answered('c'), table.answered('d')?.answer?.ok]).toEqual([
    undefined,
    undefined,
    true,
  ]);
});
