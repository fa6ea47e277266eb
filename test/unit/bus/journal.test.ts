import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { Journal, type JournalOptions, type Stored } from '../../../daemon/bus/journal';

let directory: string;
let path: string;
let said: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-journal-'));
  path = join(directory, 'state', 'outbox.journal');
  said = [];
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function open(options: Partial<JournalOptions> = {}): Journal {
  const log = pino({ level: 'info' }, { write: (line: string) => void said.push(line) });
  return Journal.open({ path, destination: 'mqtt://a hearth', maxFileBytes: 1 << 20, log, ...options });
}

function message(text: string, more: Partial<Stored> = {}): Stored {
  return {
    topic: 't',
    payload: Buffer.from(text),
    options: { qos: 1 },
    expiresAtMs: Number.POSITIVE_INFINITY,
    ...more,
  };
}

const texts = (journal: Journal): string[] => [...journal.waiting.values()].map(({ payload }) => payload.toString());

test('what was not removed is there again, in order and whole, for a process that did not close the file', () => {
  const before = open();
  const whole = message('ä\0binary', {
    topic: 'hearth/pi5/response/generate',
    expiresAtMs: 1_795_500_000_123,
    options: { qos: 1, retain: true, contentType: 'application/json', utf8: true, expirySeconds: 60, durable: true },
  });
  const correlated = message('x', { options: { qos: 1, correlationData: Buffer.from([0, 255, 7]) } });
  before.put(message('gone'));
  const key = before.put(message('done'));
  before.put(whole);
  before.put(correlated);
  before.remove(1);
  before.remove(key);
  before.remove(key);
  const after = open();
  expect([...after.waiting]).toEqual([
    [3, whole],
    [4, correlated],
  ]);
  after.put(message('next'));
  after.remove(3);
  expect([...open().waiting.keys()]).toEqual([4, 5]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(said).toEqual([]);
});

test.each(Array.from({ length: 12 }, (_, i) => i * 9 + 1))(
  'a file that a crash cut %i bytes short gives every record before the cut',
  (bytes) => {
    const before = open();
    const sizes: number[] = [];
    for (const text of ['a', 'b', 'c']) {
      before.put(message(text));
      sizes.push(statSync(path).size);
    }
    const size = statSync(path).size - bytes;
    truncateSync(path, size);
    const after = open();
    expect(texts(after)).toEqual(['a', 'b', 'c'].filter((_, i) => (sizes[i] ?? 0) <= size));
    expect(said.some((line) => line.includes('cut off'))).toBe(!sizes.includes(size));
    after.put(message('d'));
    expect(texts(open()).at(-1)).toBe('d');
  },
);

test('a record with a changed byte ends the file there; garbage is no file at all', () => {
  const before = open();
  before.put(message('a'));
  const { size } = statSync(path);
  before.put(message('b'));
  before.put(message('c'));
  const bytes = readFileSync(path);
  bytes.writeUInt8((bytes.readUInt8(size + 20) ^ 1) & 255, size + 20);
  writeFileSync(path, bytes);
  expect(texts(open())).toEqual(['a']);
  writeFileSync(path, Buffer.alloc(5000, 0xff));
  expect(texts(open())).toEqual([]);
  writeFileSync(path, Buffer.alloc(5000));
  expect(texts(open())).toEqual([]);
});

test('the file is emptied when nothing waits, and written anew before it outgrows its bound', () => {
  const journal = open({ maxFileBytes: 4000 });
  const { size: empty } = statSync(path);
  const kept = journal.put(message('kept'));
  for (let i = 0; i < 200; i++) {
    journal.remove(journal.put(message('x'.repeat(300))));
    expect(statSync(path).size).toBeLessThanOrEqual(4000);
  }
  expect(texts(open())).toEqual(['kept']);
  const other = open();
  other.remove(kept);
  expect(statSync(path).size).toBe(empty);
  other.close();
  expect(texts(open())).toEqual([]);
});

test('what waited for another broker is not sent to this one', () => {
  open().put(message('private'));
  const other = open({ destination: 'mqtt://b hearth' });
  expect(texts(other)).toEqual([]);
  expect(said.join()).toContain('for another broker');
  expect(readFileSync(path, 'latin1')).not.toContain('private');
});

test('without a file that can be written messages wait in memory, and the log says so', () => {
  mkdirSync(join(directory, 'state'));
  mkdirSync(path);
  const journal = open();
  const key = journal.put(message('a'));
  expect(texts(journal)).toEqual(['a']);
  journal.remove(key);
  journal.close();
  expect(said.join()).toContain('FILE_WRITE_FAILED');
});

test('what stands behind a record that was cut off is lost, and counted', () => {
  open().put(message('a'));
  appendFileSync(path, Buffer.from('half a record'));
  expect(texts(open())).toEqual(['a']);
  expect(JSON.parse(said[0] ?? '{}')).toMatchObject({ lostBytes: 13 });
});
