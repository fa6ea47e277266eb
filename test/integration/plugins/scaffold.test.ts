/** What `hearth plugin new` writes, compiled and run in a real worker. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { createPlugin } from '../../../daemon/plugins/scaffold';
import { make, until, write } from './support';

test('a new plugin runs as it was written', async () => {
  const checkout = mkdtempSync(join(tmpdir(), 'hearth-new-'));
  const files = createPlugin('doorbell', join(checkout, 'plugins'));
  for (const path of files.filter((name) => name.endsWith('.ts'))) {
    const { outputText } = ts.transpileModule(readFileSync(path, 'utf8'), {
      compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
    });
    writeFileSync(path.replace(/ts$/, 'js'), outputText);
  }
  const [file = ''] = files;
  mkdirSync(join(checkout, 'daemon', 'plugins'), { recursive: true });
  symlinkSync(join(__dirname, '../../../daemon/plugins/api.js'), join(checkout, 'daemon/plugins/api.js'));
  mkdirSync(join(checkout, 'node_modules', '@hearth'), { recursive: true });
  symlinkSync(join(process.cwd(), 'daemon/testkit'), join(checkout, 'node_modules/@hearth/testkit'));

  const made = make([{ name: 'doorbell', path: dirname(file) }]);
  await made.start('doorbell');
  expect(made.bus.state('doorbell')).toBe('running');
  made.engine.reply = 'Nobody. ';
  expect(await made.eventOf(made.frame())).toMatchObject({
    kind: 'answer',
    plugin: 'doorbell',
    text: 'Nobody.',
    tokens: { prompt: 11, completion: 5, cached: 0 },
  });
  expect(made.engine.jobs[0]?.messages[0]?.parts).toEqual([
    { type: 'image', image: { width: 1, height: 1, data: Uint8Array.of(255, 0, 0) } },
    { type: 'text', text: 'Is anybody in this picture?' },
  ]);
  expect(await made.bus.request('doorbell', { question: 'Why?' })).toEqual({ text: 'Nobody.' });

  const jestBin = join(process.cwd(), 'node_modules/jest/bin/jest.js');
  const config = { rootDir: checkout, testMatch: ['**/doorbell.test.js'] };
  const args = ['--config', JSON.stringify(config), '--json', '--silent'];
  const { stdout } = spawnSync(process.execPath, [jestBin, ...args], { cwd: checkout, encoding: 'utf8' });
  expect(JSON.parse(stdout)).toMatchObject({ success: true, numPassedTests: 2, numTotalTests: 2 });
  rmSync(checkout, { recursive: true });
});

test('the example in the README of plugins runs', async () => {
  const [, example = ''] =
    /```js\n\/\/ [^\n]*\n([^`]*(?:`[^`]+`[^`]*)*?)\n```/.exec(
      readFileSync(join(process.cwd(), 'plugins/README.md'), 'utf8'),
    ) ?? [];
  const made = make([{ name: 'birds', path: write(example), config: { species: ['robin', 'wren'] } }]);
  await made.start('birds');
  made.engine.reply = 'A wren.';
  expect(await made.eventOf(made.frame())).toMatchObject({ kind: 'answer', plugin: 'birds', text: 'A wren.' });
  expect(made.engine.jobs[0]?.messages[0]?.parts[1]).toEqual({
    type: 'text',
    text: 'Which of these birds is in the picture: robin, wren?',
  });
  // It publishes after it has emitted.
  await until(() => made.bus.published.length > 0);
  expect(made.bus.published).toEqual([
    { topic: 'garden/birds', payload: 'A wren.', options: { qos: 1, retain: false } },
  ]);
});
