import { configFlags, loadConfig, optionTable } from '../../../daemon/config';
import { leaves, schema } from '../../../daemon/config/schema';

const table = optionTable();

test('every option is in the table once, with its environment name and flag', () => {
  for (const { path, env, arg, option } of leaves(schema)) {
    const rows = table.split('\n').filter((line) => line.startsWith(`| \`${path}\` |`));
    expect(rows.length).toBeGreaterThan(0);
    const row = rows[0] ?? '';
    expect(row).toContain(option.doc.replaceAll('|', '\\|'));
    if (env !== undefined) expect(row).toContain(`| \`${env}\` | \`--${arg}\` |`);
  }
  expect(table).toContain(
    '| `mqtt.baseTopic` | `hearth` | levels of A-Z a-z 0-9 _ - | `HEARTH_MQTT_BASE_TOPIC` | `--mqtt-base-topic` |',
  );
});

test('every row has as many cells as its head', () => {
  let cells = 0;
  for (const line of table.split('\n').filter((text) => text.startsWith('|'))) {
    const count = line.replaceAll('\\|', '').split('|').length;
    if (line.startsWith('| option')) cells = count;
    expect(`${count} ${line}`).toBe(`${cells} ${line}`);
  }
});

test('environment names and flags are unique', () => {
  const flags = configFlags();
  expect(new Set(flags.map(({ arg }) => arg)).size).toBe(flags.length);
  expect(new Set(flags.map(({ env }) => env)).size).toBe(flags.length);
});

test('every default fits its own option', () => {
  const config = loadConfig({ env: { STATE_DIRECTORY: '/x' }, file: '/dev/null' });
  expect(config.mqtt.embedded.port).toBe(1883);
});
