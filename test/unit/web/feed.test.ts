import { Feed } from '../../../daemon/web/feed';

const options = { maxEvents: 3, maxCharacters: 10_000, heartbeatMs: 60_000 };

interface Said {
  readonly id?: string;
  readonly event: string;
  readonly data: unknown;
}

function parse(pieces: string): Said[] {
  return pieces
    .split('\n\n')
    .filter((block) => block.includes('event: '))
    .map((block) => {
      const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s, 2) as [string, string]));
      const { id, event = '', data = 'null' } = fields;
      return { ...(id !== undefined && { id }), event, data: JSON.parse(data) as unknown };
    });
}

/** A client that reads when it is told to. */
class Reader {
  readonly #abort = new AbortController();
  readonly #pieces: AsyncGenerator<string, void>;

  constructor(feed: Feed, after?: string) {
    this.#pieces = feed.follow(after, this.#abort.signal);
  }

  async read(): Promise<Said[]> {
    const { value } = await this.#pieces.next();
    return parse(value ?? '');
  }

  async raw(): Promise<string | undefined> {
    const { value } = await this.#pieces.next();
    return value ?? undefined;
  }

  async end(): Promise<boolean> {
    this.#abort.abort();
    return (await this.#pieces.next()).done === true;
  }
}

test('a client hears what happens after the id it knows, in order, and nothing twice', async () => {
  const feed = new Feed(options);
  feed.append('event', 'a');
  const after = feed.lastId;
  feed.append('event', 'b');
  const reader = new Reader(feed, after);
  expect(await reader.raw()).toBe('retry: 2000\n\n');
  const [b] = await reader.read();
  expect(b).toMatchObject({ event: 'event', data: 'b', id: feed.lastId });
  const waiting = reader.read();
  feed.append('event', 'c');
  expect(await waiting).toEqual([{ event: 'event', data: 'c', id: feed.lastId }]);
  expect(await reader.end()).toBe(true);
  expect(feed.clients).toBe(0);
});

test('a client that reads slowly gets the events that are kept and the latest of each state', async () => {
  const feed = new Feed(options);
  const reader = new Reader(feed, feed.lastId);
  await reader.raw();
  for (let percent = 0; percent < 1000; percent++) feed.set('load', 'engine', percent);
  for (const data of ['a', 'b', 'c']) feed.append('event', data);
  feed.set('partial', 'partial', 'soon gone');
  feed.remove('partial');
  expect((await reader.read()).map(({ event, data }) => [event, data])).toEqual([
    ['event', 'a'],
    ['event', 'b'],
    ['event', 'c'],
    ['engine', 999],
  ]);
  await reader.end();
});

test('a client behind all that is kept is told to look anew, and goes on from there', async () => {
  const feed = new Feed(options);
  const reader = new Reader(feed, feed.lastId);
  await reader.raw();
  for (const data of ['a', 'b', 'c', 'd']) feed.append('event', data);
  expect(feed.recent()).toEqual(['b', 'c', 'd']);
  expect(await reader.read()).toEqual([{ event: 'reset', data: {}, id: feed.lastId }]);
  const waiting = reader.read();
  feed.append('event', 'e');
  expect(await waiting).toMatchObject([{ data: 'e' }]);
  await reader.end();
});

test.each([undefined, '', 'nonsense', '0123456789ab-4', '-1', 'x-99999999999999999999'])(
  'the id %p of another process, or of none, is no place to go on from',
  async (after) => {
    const reader = new Reader(new Feed(options), after);
    await reader.raw();
    expect(await reader.read()).toMatchObject([{ event: 'reset' }]);
    await reader.end();
  },
);

test('an id that is still to come is no place either', async () => {
  const feed = new Feed(options);
  const reader = new Reader(feed, feed.lastId.replace(/-0$/, '-7'));
  await reader.raw();
  expect(await reader.read()).toMatchObject([{ event: 'reset' }]);
  await reader.end();
});

test('what is kept is bounded in characters, too', () => {
  const feed = new Feed({ ...options, maxEvents: 1000, maxCharacters: 5000 });
  for (let i = 0; i < 100; i++) feed.append('event', 'x'.repeat(1000));
  expect(feed.recent()).toHaveLength(4);
});

test('a line end in a text does not end the event', async () => {
  const feed = new Feed(options);
  const reader = new Reader(feed, feed.lastId);
  await reader.raw();
  feed.append('event', 'one\n\nevent: reset\ndata: {}\r\n\u2028');
  expect(await reader.read()).toMatchObject([{ event: 'event', data: 'one\n\nevent: reset\ndata: {}\r\n\u2028' }]);
  await reader.end();
});

test('a comment goes out where nothing happens', async () => {
  const feed = new Feed({ ...options, heartbeatMs: 1 });
  const reader = new Reader(feed, feed.lastId);
  await reader.raw();
  expect(await reader.raw()).toBe(':\n\n');
  await reader.end();
});
