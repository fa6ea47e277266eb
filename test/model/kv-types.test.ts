/** Keys and values in Q8_0 on the trained nano model: what half the memory costs. */
import { klDivergence } from '../helpers/golden';
import { Nano } from '../helpers/nano';
import { evalWidths, mediaOf, readEvalItems } from '../helpers/nano-eval';
import { logitsOfEach } from '../helpers/native';

describe('keys and values in Q8_0', () => {
  const items = readEvalItems();
  let narrow: Nano;
  let exact: Nano;

  beforeAll(async () => {
    narrow = await Nano.open({ kvType: 'q8_0' });
    exact = await Nano.open({ kvType: 'f32' });
  });

  test('their memory is known before anything is computed, for either type', () => {
    const { kvType, kvBytes, kvBytesF16, kvBytesQ8 } = narrow.engine.info;
    expect(kvType).toBe('q8_0');
    expect(kvBytes).toBe(kvBytesQ8);
    // 34 bytes for 32 values.
    expect(kvBytesQ8 / kvBytesF16).toBe(34 / 64);
    expect(exact.engine.info).toMatchObject({ kvType: 'f32', kvBytes: 2 * kvBytesF16, kvBytesF16, kvBytesQ8 });
  });

  test.each(evalWidths)(
    '%s width: mean KL against float32 keys and values at most 1e-4',
    async (slice) => {
      let sum = 0;
      let positions = 0;
      for (const { prompt } of items.filter(({ kind }) => kind === 'text').slice(0, 15)) {
        const ids = Int32Array.of(narrow.engine.info.special.bos, ...narrow.engine.tokenize(prompt));
        const rows: Float32Array[][] = [];
        for (const { engine } of [narrow, exact]) {
          const session = engine.newSession();
          session.setSlice(slice);
          rows.push(await logitsOfEach(session, ids));
        }
        const [actual, expected] = rows as [Float32Array[], Float32Array[]];
        sum += expected.reduce((total, row, i) => total + klDivergence(row, actual[i] as Float32Array), 0);
        positions += ids.length;
      }
      expect(positions).toBeGreaterThan(300);
      // It is Q8_0 indeed, and it is as good.
      expect(sum / positions).toBeGreaterThan(0);
      expect(sum / positions).toBeLessThanOrEqual(1e-4);
    },
    120_000,
  );

  test('the reference’s answer to at least 149 of 150 pictures, recordings and texts', async () => {
    const wrong: string[] = [];
    for (const item of items) {
      const { text } = await narrow.ask(await mediaOf(item), item.prompt);
      if (text !== item.reference) wrong.push(`${item.file ?? item.prompt}: ${text} instead of ${item.reference}`);
    }
    expect(items).toHaveLength(150);
    expect(wrong.slice(1)).toEqual([]);
  }, 240_000);
});
