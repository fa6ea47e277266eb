/** What the READMEs say is so. */
import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import { generatedBlocks, generatedParts, withGeneratedBlocks } from './generated-docs';
import { output, readText, readTracked, root, type SourceFile } from './repository';

const documents = readTracked(/\.md$/);
const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> };

/** Lines a reader would type: those of the shell blocks, with continued ones joined. */
function commandsOf({ text }: SourceFile): string[] {
  return [...text.matchAll(/^```(?:sh|bash|console)\n([\s\S]*?)^```/gm)]
    .flatMap(([, body]) => (body ?? '').replace(/\\\n\s*/g, ' ').split('\n'))
    .map((line) =>
      line
        .replace(/^\$ /, '')
        .replace(/\s#.*$/, '')
        .trim(),
    )
    .filter((line) => line !== '' && !line.startsWith('#'));
}

test('generated parts are where they are expected, and those of the sources', () => {
  const found = documents.map(({ path, text }) => [path, generatedBlocks(text)] as const);
  expect(Object.fromEntries(found.filter(([, blocks]) => blocks.length > 0))).toEqual(generatedParts);
  // `npm run docs` makes it so.
  for (const path of Object.keys(generatedParts)) {
    const text = readText(path);
    expect(text).toBe(withGeneratedBlocks(text));
  }
});

test('generated parts are replaced, and a mark that makes no sense is an error', () => {
  const made = withGeneratedBlocks('a\n<!-- generated:errors -->\nold\n<!-- /generated -->\nz');
  expect(made).toContain('| `INTERNAL` | A defect in hearth. | no | 70 |');
  expect(made).not.toContain('\nold\n');
  expect(withGeneratedBlocks(made)).toBe(made);
  expect(() => withGeneratedBlocks('<!-- generated:nothing -->\n<!-- /generated -->')).toThrow(
    'expected one of configuration, errors',
  );
  expect(() => withGeneratedBlocks('<!-- generated:errors -->\n')).toThrow('0 of them end');
});

test('every npm script that is named exists', () => {
  const named = documents.flatMap(({ path, text }) =>
    [...text.matchAll(/\bnpm run ([a-z][\w:-]*)/g)].map(([, name]) => ({ path, name: name ?? '' })),
  );
  expect(named.filter(({ name }) => scripts[name] === undefined)).toEqual([]);
});

test('every hearth command and flag in a shell block exists', () => {
  const cli = (...args: string[]): string => output(process.execPath, ['dist/daemon/cli.js', ...args, '--help'], {});
  const top = cli();
  const problems: string[] = [];
  for (const document of documents) {
    for (const line of commandsOf(document)) {
      const words = line.replace(/^(sudo( -u \w+)?|npx) /, '').split(/\s+/);
      const [, daemon] = /^(?:.*\/)?hearth(d?)$/.exec(words[0] ?? '') ?? [];
      if (daemon === undefined) continue;
      const rest = daemon === 'd' ? ['run', ...words.slice(1)] : words.slice(1);
      const command = rest[0] ?? '';
      if (command.startsWith('-')) continue;
      if (!new RegExp(`^  ${command}\\b`, 'm').test(top)) {
        problems.push(`${document.path}: no command: ${line}`);
        continue;
      }
      const group = new RegExp(`^  ${rest[1] ?? '-'}\\b`, 'm').test(cli(command)) && /Commands:/.test(cli(command));
      const help = group ? cli(command, rest[1] ?? '') : cli(command);
      for (const flag of rest.filter((word) => /^--[a-z]/.test(word))) {
        const name = flag.split('=')[0] ?? '';
        if (name !== '--help' && !new RegExp(`${name}\\b`).test(help))
          problems.push(`${document.path}: no ${name}: ${line}`);
      }
    }
  }
  expect(problems).toEqual([]);
});

test('every relative link leads to a file', () => {
  const broken = documents.flatMap(({ path, text }) =>
    [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map(([, target]) => target ?? '')
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => !existsSync(posix.join(root, posix.dirname(path), target)))
      .map((target) => `${path}: ${target}`),
  );
  expect(broken).toEqual([]);
});
