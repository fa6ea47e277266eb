/** Which plugins run: those that are shipped, configured, installed as packages, and switched on or off. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { listPlugins } from '../../../daemon/commands/plugin-list';
import { type Config, loadConfig } from '../../../daemon/config';
import { locatePlugin } from '../../../daemon/plugins/locate-plugin';
import { pluginsOf } from '../../../daemon/plugins/options';
import { findPackages } from '../../../daemon/plugins/packages';
import { setPluginEnabled, withSwitches } from '../../../daemon/plugins/switches';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-installed-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function file(path: string, text: string): string {
  const full = join(directory, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, text);
  return full;
}

const configOf = (text = ''): Config =>
  loadConfig({ file: file('hearth.yaml', text), env: {}, flags: { 'state-directory': directory } });
const running = (config: Config): string[] => pluginsOf(withSwitches(config)).map(({ name }) => name);
const builtIn = ['captions', 'transcribe', 'translate', 'function-calls'];
const packages = 'plugins/node_modules';

test('packages are found by their name, below a scope, too, and nothing else is', () => {
  for (const name of [
    'hearth-plugin-birds',
    '@me/hearth-plugin-bell',
    'hearth-plugin-Bad',
    'hearth-plugin-',
    'express',
    '.bin',
  ])
    file(`${packages}/${name}/index.js`, '');
  const found = findPackages(join(directory, 'plugins'));
  expect([...found]).toEqual([
    ['birds', join(directory, packages, 'hearth-plugin-birds')],
    ['bell', join(directory, packages, '@me/hearth-plugin-bell')],
  ]);
  expect(findPackages(join(directory, 'nowhere')).size).toBe(0);
});

test.each([
  [{ main: 'lib/a.cjs' }, 'lib/a.cjs'],
  [{ exports: './lib/a.mjs', main: 'lib/a.cjs' }, 'lib/a.mjs'],
  [{ exports: { '.': { require: './lib/a.cjs', import: './lib/a.mjs' } } }, 'lib/a.mjs'],
  [{ exports: { import: { types: './a.d.ts', default: './lib/a.mjs' } } }, 'lib/a.mjs'],
  [{ exports: { './other': './lib/a.mjs' } }, 'index.js'],
  [{}, 'index.js'],
])('the module of the package %j is %s', (manifest, module) => {
  for (const name of ['lib/a.cjs', 'lib/a.mjs', 'index.js']) file(`package/${name}`, '');
  file('package/package.json', JSON.stringify(manifest));
  expect(locatePlugin('x', join(directory, 'package'))).toBe(join(directory, 'package', module));
});

test('what is installed runs without being listed; what is switched is, whatever the configuration says', async () => {
  file(`${packages}/hearth-plugin-birds/index.js`, '');
  // One of a name that is taken does not get in.
  file(`${packages}/hearth-plugin-captions/index.js`, '');
  const config = configOf('plugins: { transcribe: { enabled: false }, birds: { config: { a: 1 } } }');
  expect(running(config)).toEqual(['captions', 'translate', 'function-calls', 'birds']);
  expect(withSwitches(config).plugins['birds']).toMatchObject({
    path: join(directory, packages, 'hearth-plugin-birds'),
    config: { a: 1 },
  });
  expect(withSwitches(config).plugins['captions']).toBeUndefined();

  await setPluginEnabled(config, 'birds', false);
  await setPluginEnabled(config, 'transcribe', true);
  await setPluginEnabled(config, 'frigate', true);
  expect(running(config)).toEqual([...builtIn, 'frigate']);
  expect(listPlugins(config).map((line) => line.split(':')[0])).toEqual([
    'disabled birds',
    'enabled  captions',
    'enabled  frigate',
    'enabled  function-calls',
    'disabled hermes',
    'disabled home-assistant',
    'enabled  transcribe',
    'enabled  translate',
    'disabled zigbee2mqtt',
  ]);
});

test('what is not there cannot be switched, and a file that makes no sense is said so', async () => {
  const config = configOf('plugins: { gone: { path: /nowhere } }');
  await expect(setPluginEnabled(config, 'nothing', true)).rejects.toMatchObject({ code: 'PLUGIN_LOAD_FAILED' });
  await expect(setPluginEnabled(config, 'nothing', false)).rejects.toMatchObject({ code: 'PLUGIN_LOAD_FAILED' });
  await expect(setPluginEnabled(config, 'gone', true)).rejects.toMatchObject({ code: 'PLUGIN_LOAD_FAILED' });
  for (const name of ['../x', '__proto__', '', 'A'])
    await expect(setPluginEnabled(config, name, false)).rejects.toMatchObject({ code: 'PLUGIN_NAME_INVALID' });
  await setPluginEnabled(config, 'gone', false);
  expect(running(config)).toEqual(builtIn);
  for (const text of ['{', '[]', '{"captions": 1}', '{"../x": true}']) {
    file('plugins.json', text);
    expect(() => running(config)).toThrow(expect.objectContaining({ code: 'FILE_UNREADABLE' }));
  }
});
