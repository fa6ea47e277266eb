/** What `hearth plugin new` writes, compiled and run in a real worker. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { createPlugin } from '../../../daemon/plugins/scaffold';
import { make } from './support';

test('a new plugin runs as it was written', async () => {
  const checkout = mkdtempSync(join(tmpdir(), 'hearth-new-'));
  const [file = ''] = createPlugin('doorbell', join(checkout, 'plugins'));
  const { outputText } = ts.transpileModule(readFileSync(file, 'utf8'), {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
  });
  writeFileSync(join(dirname(file), 'index.js'), outputText);
  mkdirSync(join(checkout, 'daemon', 'plugins'), { recursive: true });
  symlinkSync(join(__dirname, '../../../daemon/plugins/api.js'), join(checkout, 'daemon/plugins/api.js'));

  const made = make([{ name: 'doorbell', path: dirname(file) }]);
  await made.start('doorbell');
  expect(made.bus.state('doorbell')).toBe('running');
  made.engine.reply = 'Nobody. ';
  expect(await made.eventOf(made.frame())).toMatchObject({
    kind: 'answer',
    plugin: 'doorbell',
    text: 'Nobody.',
    tokens: { prompt: 11, completion: 5 },
  });
  expect(made.engine.jobs[0]?.messages[0]?.parts).toEqual([
    { type: 'image', image: { width: 1, height: 1, data: Uint8Array.of(255, 0, 0) } },
    { type: 'text', text: 'Is anybody in this picture?' },
  ]);
  expect(await made.bus.request('doorbell', { question: 'Why?' })).toEqual({ text: 'Nobody.' });
  rmSync(checkout, { recursive: true });
});
