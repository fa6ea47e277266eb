/** The addon and the native tests compile each kernel file with the same flags. */
import { read } from './sources';

const isas = ['x86_avx2', 'x86_avx512vnni', 'arm_neon_dotprod', 'arm_neon_i8mm'];

/** From the `cflags_cc` of target `kernels_<isa>`. */
function flagsOfBinding(text: string, isa: string): string[] {
  const target = new RegExp(`"target_name": "kernels_${isa}",[^}]*?"cflags_cc": \\[([^\\]]*)\\]`).exec(text)?.[1];
  return [...(target ?? '').replace(/#.*$/gm, '').matchAll(/"([^"]+)"/g)].map(([, flag]) => flag as string);
}

function flagsOfMakefile(text: string, isa: string): string[] {
  const value = new RegExp(`^FLAGS_${isa} := (.*)$`, 'm').exec(text)?.[1];
  return (value ?? '').split(/\s+/).filter((flag) => flag !== '');
}

test.each(isas)('%s', (isa) => {
  const addon = flagsOfBinding(read('binding.gyp'), isa);
  expect(addon.filter((flag) => flag.startsWith('-m')).length).toBeGreaterThan(0);
  expect(flagsOfMakefile(read('test/native/Makefile'), isa)).toEqual(addon);
});

test('neither lets the compiler change what is computed', () => {
  for (const path of ['binding.gyp', 'test/native/Makefile']) {
    const flags = read(path).replace(/#.*$/gm, '');
    expect(flags).toContain('-ffp-contract=off');
    expect(flags).not.toMatch(/-ffast-math|-Ofast|-march=native|-mtune=native|-flto/);
  }
});

test('a flag that differs is seen', () => {
  const binding = '"target_name": "kernels_x86_avx2", "sources": ["a.cc"], "cflags_cc": ["-mavx2", # "-no"\n "-mfma"]';
  expect(flagsOfBinding(binding, 'x86_avx2')).toEqual(['-mavx2', '-mfma']);
  expect(flagsOfMakefile('FLAGS_x86_avx2 := -mavx2  -mf16c\n', 'x86_avx2')).toEqual(['-mavx2', '-mf16c']);
});
