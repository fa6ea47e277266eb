/** What may be in a file under version control, and how long it may be. */
import { execFileSync } from 'node:child_process';
import { hostname } from 'node:os';
import { readTracked, root, trackedPaths } from './repository';

const binary = /\.(gguf|png|jpg|jpeg|webp|wav|safetensors|model|bin|ico)$/;
/** Written by others, or by programs. */
const foreign = /^(package-lock\.json|LICENSE|(test\/fixtures|daemon\/demo\/media)\/.*\.json)$/;
const texts = readTracked(/./).filter(({ path }) => !binary.test(path) && !foreign.test(path));

const maxLines = 700;
/** With the reason why each is longer. */
const mayBeLonger: Readonly<Record<string, string>> = {};

test('no file is longer than a reader can hold', () => {
  const long = texts.filter(({ text }) => text.split('\n').length > maxLines).map(({ path }) => path);
  // Neither without a reason, nor a reason that is no longer needed.
  expect(long).toEqual(Object.keys(mayBeLonger).sort());
});

test.each([
  ['an unfinished place', /\b(TO[D]O|FIX[M]E|X[X]X)\b/],
  [
    'a path of the machine it was written on',
    /(?<![\w.])\/(home\/(?!pi\b)\w+|root\/\w+|work\/(main|shared|\.\w+)|tmp\/(lead|brief|T\d))/,
  ],
  ['a package registry', /\b(registry\.(?!npmjs\.org)[a-z-]+\.[a-z]|npmmirror|artifactory|verdaccio)/i],
  // Of a machine: the networks themselves are anybody's.
  [
    'an address in a private network',
    /\b(?!(?:10\.0|172\.16)\.0\.0\b)(10\.\d+\.\d+\.\d+|172\.(1[6-9]|2\d|3[01])\.\d+\.\d+)\b/,
  ],
  ['a token or a private key', /-----BEGIN [A-Z ]*PRIVATE KEY-----|\b(ghp|npm|xox[bp])_[A-Za-z0-9]{20,}/],
])('no file has %s', (_what, pattern) => {
  const found = texts.flatMap(({ path, text }) =>
    text
      .split('\n')
      .flatMap((line, index) =>
        pattern.test(line) && path !== 'test/meta/tracked-files.test.ts'
          ? [`${path}:${index + 1}: ${line.trim().slice(0, 120)}`]
          : [],
      ),
  );
  expect(found).toEqual([]);
});

test('no file names the machine it was written on', () => {
  const name = hostname().toLowerCase();
  // Too common a word to tell anything.
  const telling = name.length >= 8 && name !== 'localhost' && name !== 'raspberrypi';
  const found = telling ? texts.filter(({ text }) => text.toLowerCase().includes(name)).map(({ path }) => path) : [];
  expect(found).toEqual([]);
});

test('the lock file names no registry but the public one', () => {
  const [lock] = readTracked(/^package-lock\.json$/);
  const hosts = new Set([...(lock?.text ?? '').matchAll(/"resolved": "https?:\/\/([^/"]+)/g)].map(([, host]) => host));
  expect([...hosts].filter((host) => host !== 'registry.npmjs.org')).toEqual([]);
});

test('files end with a line end, have no trailing spaces, no tabs but in Makefiles, and are UTF-8', () => {
  const problems = texts.flatMap(({ path, text }) => [
    ...(text !== '' && !text.endsWith('\n') ? [`${path}: no line end at the end`] : []),
    ...(/[ \t]$/m.test(text) ? [`${path}: trailing spaces`] : []),
    ...(/\t/.test(text) && !/Makefile$/.test(path) ? [`${path}: a tab`] : []),
    ...(text.includes('\uFFFD') ? [`${path}: not UTF-8`] : []),
    ...(text.includes('\r') ? [`${path}: a carriage return`] : []),
  ]);
  expect(problems).toEqual([]);
});

test('nothing that is built is under version control', () => {
  expect(trackedPaths(/^(build|dist|node_modules|coverage|models)\//)).toEqual([]);
});

test('scripts that are run are executable', () => {
  const modes = execFileSync('git', ['ls-files', '-s'], { cwd: root, encoding: 'utf8' }).split('\n');
  const scripts = texts
    .filter(({ text, path }) => text.startsWith('#!') && !path.endsWith('.ts'))
    .map(({ path }) => path);
  const notExecutable = scripts.filter(
    (path) => !modes.some((line) => line.startsWith('100755') && line.endsWith(`\t${path}`)),
  );
  expect(notExecutable).toEqual([]);
});
