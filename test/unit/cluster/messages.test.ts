/** Whatever comes on a node's topic: messages are read, everything else is nothing. */
import { type ClusterMessage, maxMessageBytes, parseMessage } from '../../../daemon/cluster/messages';

const job = 'ab'.repeat(16);
const heartbeat = {
  type: 'heartbeat',
  session: '01M86Y2K',
  seq: 3,
  rank: 1,
  streams: true,
  shares: false,
  load: { waiting: 0, running: 1, slice: 'full' },
  jobs: [[job, 2]],
};
const bid = { type: 'bid', job, epoch: 1, session: 's1', costMs: null, stepMs: 0, held: 0, maxHeld: 6 };
const grant = { type: 'grant', job, epoch: 5, node: 'pi5', session: 's1', last: true };

const parse = (value: unknown): ClusterMessage | undefined => parseMessage(Buffer.from(JSON.stringify(value)));

test.each([
  heartbeat,
  bid,
  { ...bid, unknownVerb: true },
  grant,
  { type: 'offer', job, epoch: 1 },
  { type: 'release', job, epoch: 1 },
  { type: 'done', job, epoch: 1 },
  { type: 'stranded', job },
])('$type is read', (message) => {
  expect(parse(message)).toEqual(message);
});

test('members that a later version adds do no harm', () => {
  expect(parse({ ...grant, because: 'cheap' })).toMatchObject(grant);
});

test.each([
  ['nothing', ''],
  ['no JSON', '{"type":'],
  ['bytes that are not UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0x22])],
  ['null', 'null'],
  ['an array', '[]'],
  ['an unknown type', '{"type":"vote"}'],
  ['a type that is a member of every object', '{"type":"constructor"}'],
  ['a job that is no hash', JSON.stringify({ ...grant, job: '../state' })],
  ['an epoch of 0', JSON.stringify({ ...grant, epoch: 0 })],
  ['an endless epoch', JSON.stringify({ ...grant, epoch: 1e300 })],
  ['a node that is no name', JSON.stringify({ ...grant, node: 'a/b' })],
  ['a rank that is no number', JSON.stringify({ ...heartbeat, rank: '1' })],
  ['a job without an epoch', JSON.stringify({ ...heartbeat, jobs: [[job]] })],
  ['a missing member', JSON.stringify({ ...bid, session: undefined })],
  ['a cost below 0', JSON.stringify({ ...bid, costMs: -1 })],
  ['more jobs than a node holds', JSON.stringify({ ...heartbeat, jobs: Array.from({ length: 65 }, () => [job, 1]) })],
  ['too many bytes', JSON.stringify({ ...grant, padding: 'x'.repeat(maxMessageBytes) })],
])('%s is no message', (_what, payload) => {
  expect(parseMessage(Buffer.from(payload))).toBeUndefined();
});
