import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../../daemon/config';
import { pluginHostOptions } from '../../../daemon/plugins/options';
import { StateFile } from '../../../daemon/state-file';
import { StreamSettings } from '../../../daemon/streams/stream-settings';

function optionsOf(yaml: string) {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-options-'));
  try {
    const file = join(directory, 'hearth.yaml');
    writeFileSync(file, yaml);
    const config = loadConfig({ env: { STATE_DIRECTORY: '/x' }, file });
    const log = { info: () => undefined, warn: () => undefined };
    const settings = new StreamSettings({ config, file: new StateFile('/dev/null/nowhere.json'), log });
    return { ...pluginHostOptions(config, 4, settings), settings };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('the built-in plugins run without being listed, unless they are switched off', () => {
  expect(optionsOf('{}').plugins.map(({ name }) => name)).toEqual([
    'captions',
    'transcribe',
    'translate',
    'function-calls',
  ]);
  const { plugins } = optionsOf(
    'plugins: { transcribe: { enabled: false }, captions: { config: { maxTokens: 9 } }, mine: { path: /opt/mine } }',
  );
  expect(plugins).toMatchObject([
    { name: 'captions', config: { maxTokens: 9 } },
    { name: 'translate', config: {} },
    { name: 'function-calls', config: {} },
    { name: 'mine', path: '/opt/mine', config: {} },
  ]);
});

test('a stream has its own plugins, prompt, language, priority and deadline; others have the defaults', async () => {
  const { policy, settings } = optionsOf(`
queue: { defaultDeadlineMs: 7000 }
defaults: { camera: { prompt: What is there? } }
streams:
  door: { kind: camera, plugins: [captions], prompt: Who?, language: de, priority: 3, deadlineMs: 900, partials: true }
  mic: { kind: microphone }
`);
  expect(policy('frame', 'door')).toEqual({
    priority: 3,
    deadlineMs: 900,
    plugins: ['captions'],
    settings: { prompt: 'Who?', language: 'de' },
    partials: true,
  });
  expect(policy('segment', 'mic')).toEqual({ priority: 5, deadlineMs: 7000, settings: {}, partials: false });
  expect(policy('frame', 'unlisted')).toEqual({
    priority: 0,
    deadlineMs: 7000,
    settings: { prompt: 'What is there?' },
    partials: false,
  });
  // From the next item on.
  await settings.set('door', { prompt: 'How many?', priority: 9 }, false);
  expect(policy('frame', 'door')).toMatchObject({ priority: 9, settings: { prompt: 'How many?', language: 'de' } });
});
