import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pluginOptionTable } from '../../../daemon/plugins/option-table';
import captions from '../../../plugins/captions';
import frigate from '../../../plugins/frigate';
import functionCalls from '../../../plugins/function-calls';
import hermes from '../../../plugins/hermes';
import homeAssistant from '../../../plugins/home-assistant';
import transcribe from '../../../plugins/transcribe';
import translate from '../../../plugins/translate';
import zigbee2mqtt from '../../../plugins/zigbee2mqtt';

const readme = (name: string): string => readFileSync(join(process.cwd(), 'plugins', name, 'README.md'), 'utf8');

const plugins = [captions, transcribe, translate, functionCalls, homeAssistant, zigbee2mqtt, frigate, hermes];
const manifests = plugins.map(({ manifest }) => manifest);

test.each(manifests.map((manifest) => [manifest.name, manifest] as const))(
  'the README of %s has the options, verbs and kinds of its manifest',
  (name, { configSchema, verbs = [], emits = [] }) => {
    const text = readme(name);
    expect(text).toContain(`\n## Options\n\n${pluginOptionTable(configSchema)}\n\n`);
    for (const verb of verbs) {
      expect(text).toContain(`| \`hearth/<node>/request/${verb}\` | in |`);
      expect(text).toContain(`| \`hearth/<node>/response/${verb}\` | out |`);
    }
    for (const kind of emits) expect(text).toContain(`| \`hearth/<node>/out/<stream>/${kind}\` | out |`);
  },
);

test('a table has a row for each option, with default, range and the options below', () => {
  const table = pluginOptionTable({
    type: 'object',
    required: ['mode'],
    properties: {
      mode: { enum: ['a', 'b'], description: 'Either | or.' },
      count: { type: 'integer', minimum: 1, default: 2 },
      nested: { type: 'object', additionalProperties: false, properties: { on: { type: 'boolean', default: false } } },
      list: { type: 'array', items: { type: 'object', properties: { name: { type: 'string', maxLength: 9 } } } },
    },
  });
  expect(table.split('\n')).toEqual([
    '| option | default | expected | |',
    '|---|---|---|---|',
    '| `mode` | required | "a", "b" | Either \\| or. |',
    '| `count` | `2` | an integer of at least 1 |  |',
    '| `nested` |  | a mapping |  |',
    '| `nested.on` | `false` | true or false |  |',
    '| `list` |  | a list |  |',
    '| `list[].name` |  | text of at most 9 characters |  |',
  ]);
  expect(pluginOptionTable(undefined)).toBe('It has no options.');
});
