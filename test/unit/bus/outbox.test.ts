import { Outbox, type OutboxOptions, type Outgoing } from '../../../daemon/bus/outbox';
import { HearthError } from '../../../daemon/errors';

interface Sent {
  readonly text: string;
  readonly acknowledged: (error?: HearthError) => void;
}

function setUp(limits: Partial<OutboxOptions> = {}) {
  const sent: Sent[] = [];
  const clock = { now: 1000 };
  const outbox = new Outbox({
    maxMessages: 4,
    maxBytes: 100,
    maxInFlight: 2,
    ...limits,
    now: () => clock.now,
    send: ({ payload }, acknowledged) => sent.push({ text: payload.toString(), acknowledged }),
  });
  const push = (
    text: string,
    expiresAtMs = Number.POSITIVE_INFINITY,
    more: Partial<Outgoing> = {},
    key?: number,
  ): Promise<string> =>
    outbox
      .push(
        { topic: 't', payload: Buffer.from(text), expiresAtMs, options: {}, rank: 'normal', durable: false, ...more },
        key,
      )
      .then(
        () => 'acknowledged',
        (error: unknown) => (error instanceof HearthError ? error.code : 'other'),
      );
  return { outbox, sent, clock, push, texts: () => sent.map(({ text }) => text) };
}

test('sends in order, a few at a time, and the next when one is acknowledged', async () => {
  const { outbox, sent, push, texts } = setUp();
  const results = ['a', 'b', 'c'].map((text) => push(text));
  expect(texts()).toEqual([]);
  outbox.open();
  expect(texts()).toEqual(['a', 'b']);
  sent[0]?.acknowledged();
  expect(texts()).toEqual(['a', 'b', 'c']);
  sent[1]?.acknowledged();
  sent[2]?.acknowledged();
  expect(await Promise.all(results)).toEqual(['acknowledged', 'acknowledged', 'acknowledged']);
  expect(outbox.size).toBe(0);
});

test('what was not acknowledged before the connection was lost is sent again, in order', async () => {
  const { outbox, sent, push, texts } = setUp();
  outbox.open();
  const results = ['a', 'b', 'c'].map((text) => push(text));
  outbox.shut();
  sent[0]?.acknowledged();
  expect(outbox.size).toBe(3);
  outbox.open();
  expect(texts()).toEqual(['a', 'b', 'a', 'b']);
  for (const { acknowledged } of sent.slice(2)) acknowledged();
  sent[4]?.acknowledged();
  expect(await Promise.all(results)).toEqual(['acknowledged', 'acknowledged', 'acknowledged']);
});

test('the oldest give way when there are too many messages or bytes', async () => {
  const { outbox, push } = setUp();
  const many = [1, 2, 3, 4, 5].map((n) => push(String(n)));
  expect(await many[0]).toBe('BUS_OUTBOX_FULL');
  expect(outbox.size).toBe(4);
  const large = push('x'.repeat(94));
  expect(await Promise.all(many.slice(1, 3))).toEqual(['BUS_OUTBOX_FULL', 'BUS_OUTBOX_FULL']);
  expect(outbox.size).toBe(3);
  expect(await push('x'.repeat(101))).toBe('BUS_OUTBOX_FULL');
  expect([outbox.evicted, outbox.expired]).toEqual([4, 0]);
  outbox.abandon(new HearthError('BUS_OFFLINE', 'closed'));
  expect(await large).toBe('BUS_OFFLINE');
});

test('what nobody wants any more is not sent', async () => {
  const { outbox, push, clock, texts } = setUp();
  const old = push('old', 2000);
  const lasting = push('lasting');
  clock.now = 2000;
  outbox.open();
  expect(await old).toBe('BUS_EXPIRED');
  expect(texts()).toEqual(['lasting']);
  outbox.abandon(new HearthError('BUS_OFFLINE', 'closed'));
  expect(await lasting).toBe('BUS_OFFLINE');
});

test('what waits without a connection is given up on time', async () => {
  const { push, clock } = setUp();
  const old = push('old', 1020);
  clock.now = 1021;
  expect(await old).toBe('BUS_EXPIRED');
});

test('a refusal of the broker is the caller’s, and does not hold up the rest', async () => {
  const { outbox, sent, push } = setUp({ maxInFlight: 1 });
  outbox.open();
  const refused = push('a');
  const next = push('b');
  sent[0]?.acknowledged(new HearthError('BUS_PUBLISH_REFUSED', 'not authorised'));
  sent[1]?.acknowledged();
  expect([await refused, await next]).toEqual(['BUS_PUBLISH_REFUSED', 'acknowledged']);
});

test('draining waits for the last acknowledgement, or for its time', async () => {
  const { outbox, sent, push } = setUp();
  outbox.open();
  void push('a');
  let drained = false;
  const draining = outbox.drain(60_000).then(() => {
    drained = true;
  });
  await Promise.resolve();
  expect(drained).toBe(false);
  sent[0]?.acknowledged();
  await draining;
  void push('b');
  await outbox.drain(5);
  expect(outbox.size).toBe(1);
});

test('state goes before what waits, and newer state replaces older of the same topic', async () => {
  const { outbox, sent, push, texts } = setUp({ maxInFlight: 4 });
  const state = { rank: 'state', options: { retain: true } } as const;
  const results = [push('result'), push('old', undefined, { ...state, topic: 'state' })];
  const newer = push('new', undefined, { ...state, topic: 'state' });
  const other = push('info', undefined, { ...state, topic: 'info' });
  expect(await results[1]).toBe('acknowledged');
  outbox.open();
  expect(texts()).toEqual(['new', 'info', 'result']);
  for (const { acknowledged } of sent) acknowledged();
  expect(await Promise.all([...results, newer, other])).toEqual(Array(4).fill('acknowledged'));
  expect(outbox.evicted).toBe(0);
});

test('disposable messages give way first, state last', async () => {
  const { outbox, push, texts } = setUp({ maxMessages: 3, maxInFlight: 9 });
  const first = push('first');
  const disposable = push('disposable', undefined, { rank: 'disposable' });
  void push('state', undefined, { rank: 'state' });
  void push('second');
  expect(await disposable).toBe('BUS_OUTBOX_FULL');
  void push('third');
  expect(await first).toBe('BUS_OUTBOX_FULL');
  outbox.open();
  expect(texts()).toEqual(['state', 'second', 'third']);
  expect(outbox.bytes).toBe('statesecondthird'.length + 3 * 't'.length);
});

test('no more are unacknowledged at once than the broker takes', () => {
  const { outbox, push, texts } = setUp({ maxInFlight: 3 });
  for (const text of ['a', 'b', 'c', 'd']) void push(text);
  outbox.open(1);
  expect(texts()).toEqual(['a']);
  outbox.shut();
  outbox.open(100);
  expect(texts()).toEqual(['a', 'a', 'b', 'c']);
});

test('durable messages are stored until they are settled, and stay there when the outbox is abandoned', async () => {
  const stored = new Map<number, string>();
  let keys = 7;
  const store = {
    put: ({ payload }: { payload: Buffer }) => {
      stored.set(++keys, payload.toString());
      return keys;
    },
    remove: (key: number) => void stored.delete(key),
  };
  const { outbox, sent, clock, push } = setUp({ store, maxMessages: 3, maxInFlight: 1 });
  stored.set(7, 'before');
  const results = [
    push('before', undefined, { durable: true }, 7),
    push('plain'),
    push('expires', 1500, { durable: true }),
    push('waits', undefined, { durable: true }),
  ];
  // Four are one too many: the oldest gave way, on disk as well.
  expect(await results[0]).toBe('BUS_OUTBOX_FULL');
  expect([...stored.values()]).toEqual(['expires', 'waits']);
  clock.now = 1500;
  outbox.open();
  expect(await results[2]).toBe('BUS_EXPIRED');
  sent[0]?.acknowledged();
  expect([await results[1], ...stored.values()]).toEqual(['acknowledged', 'waits']);
  outbox.abandon(new HearthError('BUS_OFFLINE', 'closed'));
  expect([await results[3], ...stored.values()]).toEqual(['BUS_OFFLINE', 'waits']);
});
