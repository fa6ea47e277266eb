/** The error catalogue against the sources that use it. */
import { catalogue } from '../../daemon/errors';
import { readText, readTracked } from './repository';

const codes = Object.keys(catalogue);

test('codes are AREA_PROBLEM, sorted, each with a sentence', () => {
  expect(codes).toEqual([...codes].sort());
  for (const code of codes) expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/);
  for (const { meaning } of Object.values(catalogue)) expect(meaning).toMatch(/^[A-Z][^|\n]+\.$/);
});

test('the catalogue has every code of the native runtime', () => {
  const native = [...readText('addon/base/error_codes.inc').matchAll(/^HEARTH_ERROR_CODE\((\w+)\)$/gm)].map(
    ([, code]) => code as string,
  );
  expect(native.length).toBeGreaterThan(15);
  expect(native.filter((code) => !codes.includes(code))).toEqual([]);
});

test('every code is raised somewhere', () => {
  const product = readTracked(/^(daemon|plugins|addon)\/.*\.(ts|cc|h)$/).filter(
    ({ path }) => path !== 'daemon/errors.ts',
  );
  const raised = new Set(
    product.flatMap(({ path, text }) =>
      path.endsWith('.ts')
        ? [...text.matchAll(/'([A-Z]+(?:_[A-Z]+)*)'/g)].map(([, code]) => code as string)
        : [...text.matchAll(/\bCode::([A-Z_]+)\b/g)].map(([, code]) => code as string),
    ),
  );
  expect(codes.filter((code) => !raised.has(code))).toEqual([]);
});
