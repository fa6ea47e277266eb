/**
 * What the kernel objects show to the linker. An inline function that two instruction sets share would be one weak symbol,
 * and the linker might keep the AVX-512 copy for a machine without it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { output, root } from './repository';

interface Symbol {
  readonly name: string;
  /** The letter of nm(1); upper case is visible to other objects. */
  readonly type: string;
}

function symbolsOf(object: string, nm = 'nm'): Symbol[] {
  return output(nm, [object])
    .split('\n')
    .flatMap((line) => {
      const [, type, name] = /^(?:[0-9a-f]+)?\s+(\w)\s+(\S+)$/.exec(line) ?? [];
      return type === undefined || name === undefined ? [] : [{ type, name }];
    });
}

const isWeak = ({ type }: Symbol): boolean => /[WwVvu]/.test(type);

/** Objects of addon/kernels/ by build; the builds for other machines and with sanitizers are made in CI. */
function kernelObjects(): string[] {
  const release = join(root, 'build/Release/obj.target');
  const folders = [
    ...(existsSync(release) ? readdirSync(release).map((library) => join(release, library, 'addon/kernels')) : []),
    join(root, 'build/native/addon/kernels'),
  ].filter((folder) => existsSync(folder));
  return folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith('.o'))
      .map((name) => join(folder, name)),
  );
}

const objects = kernelObjects();

test('the addon is built, with its scalar kernels and those of this machine', () => {
  const names = objects.filter((object) => object.includes('/Release/')).map((object) => basename(object));
  expect(names).toEqual(expect.arrayContaining(['scalar.o', 'dispatch.o']));
  expect(names.length).toBeGreaterThanOrEqual(4);
});

test.each(objects.map((object) => [object.slice(root.length + 1), object]))(
  '%s has no weak symbol',
  (_name, object) => {
    const symbols = symbolsOf(object);
    expect(symbols).not.toEqual([]);
    expect(symbols.filter(isWeak)).toEqual([]);
  },
);

test.each(
  objects.filter((object) => !object.endsWith('dispatch.o')).map((object) => [object.slice(root.length + 1), object]),
)('%s shows its table, and needs nothing', (_name, object) => {
  const symbols = symbolsOf(object);
  const visible = symbols.filter(({ type }) => /[A-TV-Z]/.test(type)).map(({ name }) => name);
  expect(visible).toEqual([`hearth_kernels_${basename(object, '.o')}`]);
  const needed = symbols.filter(({ type }) => type === 'U').map(({ name }) => name);
  expect(needed.filter((name) => !/^(_GLOBAL_OFFSET_TABLE_|mem(cpy|set|move))$/.test(name))).toEqual([]);
});

test('a weak symbol would be found', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-symbols-'));
  try {
    const source = join(folder, 'bad.cc');
    writeFileSync(
      source,
      'template <typename T> T Twice(T x) { return x + x; }\nint (*const kept)(int) = &Twice<int>;\nint use() { return kept(1); }\n',
    );
    const object = join(folder, 'bad.o');
    const { status, stderr } = spawnSync('g++', ['-O0', '-c', source, '-o', object], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    expect(
      symbolsOf(object)
        .filter(isWeak)
        .map(({ name }) => name),
    ).toEqual(['_Z5TwiceIiET_S0_']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
