/** The addon and the native tests are two builds of the same sources: their flags and their lists agree. */
import { output, trackedPaths } from './repository';

interface Target {
  readonly target_name: string;
  readonly sources: readonly string[];
  readonly cflags_cc?: readonly string[];
}
interface Condition {
  readonly targets: readonly Target[];
}
interface Gyp {
  readonly target_defaults: { readonly cflags_cc: readonly string[] };
  readonly targets: readonly Target[];
  readonly conditions: readonly (readonly [string, Condition])[];
}

const gyp = JSON.parse(
  output('python3', ['-c', 'import ast, json; print(json.dumps(ast.literal_eval(open("binding.gyp").read())))']),
) as Gyp;

/** What make would run for a machine of this kind, by source file. */
function commandsOf(arch: string): Map<string, readonly string[]> {
  const plan = output('make', ['-n', '-B', '-f', 'test/native/Makefile', 'build', `ARCH=${arch}`]);
  const commands = new Map<string, readonly string[]>();
  for (const line of plan.split('\n')) {
    const words = line.trim().split(/\s+/);
    const source = words.find((word) => word.endsWith('.cc'));
    if (words.includes('-c') && source !== undefined) commands.set(source, words);
  }
  return commands;
}

function targetsOf(gypArch: string): Target[] {
  const extra = gyp.conditions.filter(([condition]) => condition === `target_arch=='${gypArch}'`);
  return [...gyp.targets, ...extra.flatMap(([, { targets }]) => targets)];
}

/** The sources of a target; gyp's `<!@(...)` is what a shell command prints. */
function sourcesOf({ sources }: Target): string[] {
  return sources.flatMap((source) => {
    const [, command] = /^<!@\((.*)\)$/.exec(source) ?? [];
    return command === undefined ? [source] : output('sh', ['-c', command]).trim().split('\n');
  });
}

/** Flags that decide what is computed. */
const decisive = (flags: readonly string[]): string[] =>
  flags.filter((flag) => /^-(m|std=|O|ffp-|fno-exceptions)/.test(flag)).sort();

const isLibrary = ({ target_name: name }: Target): boolean => name === 'hearth_core' || name.startsWith('kernels_');

describe.each([
  ['x64', 'x86_64'],
  ['arm64', 'aarch64'],
])('%s', (gypArch, machine) => {
  const commands = commandsOf(machine);
  const libraries = targetsOf(gypArch).filter(isLibrary);

  test('the native tests build every source of the addon', () => {
    const ours = libraries.flatMap(sourcesOf).sort();
    const built = [...commands.keys()].filter((source) => source.startsWith('addon/')).sort();
    expect(built).toEqual(ours);
  });

  test.each(libraries.map((target) => [target.target_name, target] as const))(
    '%s has the same flags in both',
    (_name, target) => {
      const flags = decisive([...gyp.target_defaults.cflags_cc, ...(target.cflags_cc ?? [])]);
      for (const source of sourcesOf(target))
        expect([source, decisive(commands.get(source) ?? [])]).toEqual([source, flags]);
    },
  );

  test('no flag lets the result depend on the compiler or on the machine that builds', () => {
    const all = [...gyp.target_defaults.cflags_cc, ...targetsOf(gypArch).flatMap(({ cflags_cc: flags = [] }) => flags)];
    expect(all).toContain('-ffp-contract=off');
    expect(all.filter((flag) => /fast-math|funsafe|native|flto|-Ofast/.test(flag))).toEqual([]);
  });
});

test('every source of the runtime is in a target', () => {
  const built = new Set(['x64', 'arm64'].flatMap((arch) => targetsOf(arch).flatMap(sourcesOf)));
  const sources = trackedPaths(/^addon\/(?!tools\/).*\.cc$/);
  expect(sources.filter((source) => !built.has(source))).toEqual([]);
});
