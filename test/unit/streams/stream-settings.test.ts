/** What `stream/set` changes, what becomes of it when the daemon starts again, and what it takes for wrong. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../../daemon/config';
import { HearthError } from '../../../daemon/errors';
import { setStream } from '../../../daemon/requests/stream-set';
import { StateFile } from '../../../daemon/state-file';
import { StreamSettings } from '../../../daemon/streams/stream-settings';

let directory: string;
const stateFile = (): string => join(directory, 'state', 'streams.json');

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-settings-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const house = `
streams:
  door: { kind: camera, prompt: Who is there?, priority: 3, motion: { threshold: 20 } }
  hall: { kind: microphone, language: de }
`;

async function start({ yaml = house, path = stateFile() } = {}) {
  const file = join(directory, 'hearth.yaml');
  writeFileSync(file, yaml);
  const warnings: unknown[] = [];
  const config = loadConfig({ env: { STATE_DIRECTORY: '/x' }, file });
  const log = { info: () => undefined, warn: (fields: { reason: string }) => void warnings.push(fields.reason) };
  const settings = new StreamSettings({ config, file: new StateFile(path), log: log as never });
  await settings.load();
  const admit = (name: string): void => {
    if (name === 'Bad Name') throw new HearthError('STREAM_NAME_INVALID', 'no');
  };
  const set = async (payload: Record<string, unknown>) => await setStream({ admit }, settings, { payload });
  return { settings, set, warnings };
}

test('an option that is set holds above the configuration, and after a restart; null and reset take it back', async () => {
  const first = await start();
  const changed: string[] = [];
  first.settings.change$.subscribe((stream) => changed.push(stream));
  expect(await first.set({ stream: 'door', minIntervalMs: 5, 'motion.threshold': 8, prompt: 'A cat?' })).toEqual({
    stream: 'door',
    enabled: true,
    schedule: [],
    priority: 3,
    deadlineMs: null,
    prompt: 'A cat?',
    language: null,
    minIntervalMs: 5,
    duplicateThreshold: 2,
    'motion.threshold': 8,
    set: { minIntervalMs: 5, 'motion.threshold': 8, prompt: 'A cat?' },
    kept: true,
  });
  await first.set({ stream: 'hall', enabled: false, schedule: ['mon-fri 07:00-22:00'] });
  expect(changed).toEqual(['door', 'hall']);

  const { settings, set, warnings } = await start();
  expect(warnings).toEqual([]);
  expect(settings.changedStreams()).toEqual(['door', 'hall']);
  expect(settings.camera('door')).toMatchObject({
    prompt: 'A cat?',
    minIntervalMs: 5,
    motion: { threshold: 8, minArea: 0.002 },
  });
  expect(settings.microphone('hall')).toMatchObject({ enabled: false, language: 'de', audio: { mode: 'vad' } });
  expect(await set({ stream: 'door', minIntervalMs: null })).toMatchObject({
    minIntervalMs: 1000,
    set: { 'motion.threshold': 8, prompt: 'A cat?' },
  });
  expect(await set({ stream: 'door', reset: true, priority: 9 })).toMatchObject({
    prompt: 'Who is there?',
    'motion.threshold': 20,
    set: { priority: 9 },
  });
  expect(await set({ stream: 'door', priority: null })).toMatchObject({ priority: 3, set: {} });
  expect((await start()).settings.changedStreams()).toEqual(['hall']);
});

test('one that is not listed has the defaults of both kinds, and is kept, too', async () => {
  const { set } = await start();
  expect(await set({ stream: 'shed', enabled: false, minIntervalMs: 7 })).toMatchObject({ enabled: false });
  const { settings } = await start();
  expect(settings.camera('shed')).toMatchObject({ enabled: false, minIntervalMs: 7, priority: 0 });
  expect(settings.microphone('shed')).toMatchObject({ enabled: false, priority: 5 });
});

test.each([
  [{}, 'stream: expected the name of one'],
  [{ stream: 'door' }, 'expected an option or reset'],
  [{ stream: 'door', reset: 'yes' }, 'reset: expected true or false'],
  [{ stream: 'door', minIntervalMs: -1 }, 'minIntervalMs: expected a whole number from 0 to 3600000, received -1'],
  [{ stream: 'door', enabled: 'no' }, 'enabled: expected true or false, received "no"'],
  [
    { stream: 'door', schedule: ['always'] },
    'schedule: expected a list of times such as mon-fri 07:00-22:00, received ["always"]',
  ],
  [{ stream: 'door', minIntervalms: 3 }, '(did you mean minIntervalMs?), received "minIntervalms"'],
  [{ stream: 'door', topics: null }, 'topics: expected one of enabled, '],
  [{ stream: 'hall', duplicateThreshold: 1 }, 'duplicateThreshold: expected one of enabled, '],
  [{ stream: 'door', __proto__x: 1, 'motion.ignore': [] }, 'motion.ignore: expected one of'],
])('%j is refused and changes nothing', async (payload, message) => {
  const { set, settings } = await start();
  await expect(set(payload)).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
    message: expect.stringContaining(message) as string,
  });
  expect(settings.changedStreams()).toEqual([]);
  expect(existsSync(stateFile())).toBe(false);
});

test('a stream that is not taken is not set', async () => {
  const { set, settings } = await start();
  await expect(set({ stream: 'Bad Name', enabled: false })).rejects.toMatchObject({ code: 'STREAM_NAME_INVALID' });
  expect(settings.changedStreams()).toEqual([]);
});

test('what does not fit the configuration any more is dropped at the start, with a warning, once', async () => {
  const first = await start();
  await first.set({ stream: 'door', priority: 9, minIntervalMs: 4 });
  await first.set({ stream: 'hall', enabled: false });
  const kept = JSON.parse(readFileSync(stateFile(), 'utf8')) as {
    streams: Record<string, { options: Record<string, unknown> }>;
  };
  Object.assign(kept.streams['door']?.options ?? {}, { priority: 10, colour: 'red', deadlineMs: null });
  Object.assign(kept.streams, { '../x': { options: {} }, attic: 7 });
  writeFileSync(stateFile(), JSON.stringify(kept));

  const yaml = 'streams: { door: { kind: camera } }';
  const { settings, warnings } = await start({ yaml });
  expect(warnings).toEqual([
    'door.priority: expected a whole number from 0 to 9, received 10',
    expect.stringContaining('door.colour: expected one of enabled, '),
    'hall: expected a stream of the configuration',
    '../x: expected the options of a stream',
    'attic: expected the options of a stream',
  ]);
  expect(settings.changes('door')).toEqual({ minIntervalMs: 4 });
  expect((await start({ yaml })).warnings).toEqual([]);
});

test.each(['', '{', '[]', '{"v": 2, "streams": {}}', '{"v": 1, "streams": []}'])(
  'a file that holds %j is a warning, not an end',
  async (content) => {
    const { set } = await start();
    await set({ stream: 'door', priority: 1 });
    writeFileSync(stateFile(), content);
    const { settings, warnings } = await start();
    expect(warnings).toHaveLength(1);
    expect(settings.changedStreams()).toEqual([]);
    expect(readdirSync(join(directory, 'state'))).toEqual(['streams.json']);
  },
);

test('a state directory that cannot be written: the change holds, and says that it will not last', async () => {
  const { set, settings, warnings } = await start({ path: '/dev/null/streams.json' });
  warnings.length = 0;
  expect(await set({ stream: 'door', priority: 7 })).toMatchObject({ priority: 7, kept: false });
  expect(settings.camera('door').priority).toBe(7);
  expect(warnings).toEqual([expect.stringContaining('/dev/null/streams.json')]);
});

test('changes that come at the same time are all kept', async () => {
  const { set } = await start();
  await Promise.all(Array.from({ length: 20 }, (_, i) => set({ stream: `cam${i}`, priority: i % 10 })));
  expect((await start()).settings.changedStreams()).toHaveLength(20);
});
