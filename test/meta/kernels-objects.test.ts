/**
 * What the kernels' objects hand to the linker. An inline function shared between files that are compiled with different
 * flags is a weak symbol, of which the linker keeps any: then a machine without AVX-512 runs AVX-512 code. So a kernel
 * object has no weak symbol, and exports its table and nothing else.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { root } from './sources';

interface NativeSymbol {
  /** As nm(1) has it: upper case for what other objects see. */
  readonly type: string;
  readonly name: string;
}

function objects(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /(^|\/)kernels\/\w+\.o$/.test(name) && !name.endsWith('/dispatch.o'))
    .map((name) => join(root, folder, name));
}

function symbols(object: string): NativeSymbol[] {
  const { status, stdout, stderr } = spawnSync('nm', ['--format=posix', object], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`nm ${object}: ${stderr}`);
  return stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [name = '', type = ''] = line.split(' ');
      return { name, type };
    });
}

const isas: Readonly<Record<string, readonly string[]>> = {
  x64: ['scalar', 'x86_avx2', 'x86_avx512vnni'],
  arm64: ['arm_neon_dotprod', 'arm_neon_i8mm', 'scalar'],
};

const built = objects('build/Release/obj.target');

test('there is one object for each instruction set of this machine', () => {
  expect(built.map((path) => basename(path, '.o')).sort()).toEqual(isas[process.arch]);
});

test.each(built.map((path) => [basename(path, '.o'), path]))('%s exports its table and nothing else', (isa, path) => {
  const all = symbols(path);
  expect(all.filter(({ type }) => 'WwVvu'.includes(type))).toEqual([]);
  expect(all.filter(({ type }) => /[A-Z]/.test(type) && type !== 'U').map(({ name }) => name)).toEqual([
    `hearth_kernels_${isa}`,
  ]);
});
