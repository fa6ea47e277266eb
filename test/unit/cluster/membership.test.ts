/** Who may act, who leads and who owns what, heartbeat by heartbeat. */
import { Membership } from '../../../daemon/cluster/membership';
import type { Heartbeat } from '../../../daemon/cluster/messages';
import { ownerOf } from '../../../daemon/cluster/rendezvous';
import { timingOf } from '../../../daemon/cluster/timing';

const timing = timingOf(6000, 30_000);
const report = { shares: false, load: { waiting: 0, running: 0, slice: 'full' }, jobs: [] };
let sessions: number;

const create = (self = 'b'): Membership => new Membership(self, timing, () => `s${sessions++}`);
const beatOf = (session: string, changes: Partial<Heartbeat> = {}): Heartbeat => ({
  type: 'heartbeat',
  session,
  seq: 0,
  rank: 1,
  streams: true,
  ...report,
  ...changes,
});

beforeEach(() => {
  sessions = 0;
});

/** Every 500 ms a look; own heartbeats come back at once while `hears`. */
function live(node: Membership, fromMs: number, toMs: number, hears = true): void {
  for (let nowMs = fromMs; nowMs <= toMs; nowMs += 500) {
    node.attend(nowMs);
    node.settle(nowMs);
    node.refresh(nowMs);
    const beat = node.beat(nowMs, report);
    if (beat !== undefined && hears) node.heard('b', beat, nowMs);
  }
}

test('a node only listens first, then acts as long as its heartbeats come back', () => {
  const node = create();
  node.join(0);
  live(node, 0, 8500);
  expect(node.mayAct(8500)).toBe(false);
  live(node, 9000, 10_500);
  expect(node.mayAct(10_500)).toBe(true);
  expect(node.isLeader(10_500)).toBe(false);
  live(node, 11_000, 14_000);
  expect(node.isLeader(14_000)).toBe(true);
  live(node, 14_500, 21_000, false);
  expect(node.mayAct(21_000)).toBe(false);
  expect(node.isLeader(21_000)).toBe(false);
  expect(node.hasLapsed(21_000)).toBe(true);
});

test('a node whose own heartbeats do not come back takes no rank', () => {
  const node = create();
  node.join(0);
  live(node, 0, 60_000, false);
  expect(node.describe(60_000)).toMatchObject([{ node: 'b', rank: 0 }]);
});

test('an echo of another session or of a heartbeat that was not sent renews nothing', () => {
  const node = create();
  node.join(0);
  live(node, 0, 10_500);
  const endsMs = 10_000 + timing.leaseMs;
  node.heard('b', beatOf('s0', { seq: 1 }), 12_000);
  node.heard('b', beatOf(node.session, { seq: 9999 }), 12_000);
  expect(node.mayAct(endsMs - 1)).toBe(true);
  expect(node.mayAct(endsMs + 1000)).toBe(false);
});

test('a rank is taken once a session, and a member that gives itself a better one keeps its own', () => {
  const node = create();
  node.join(0);
  node.heard('a', beatOf('x', { rank: 7 }), 100);
  node.heard('a', beatOf('x', { rank: 1 }), 200);
  expect(node.member('a')?.rank).toBe(7);
  node.heard('a', beatOf('y', { rank: 2 }), 300);
  expect(node.member('a')?.rank).toBe(2);
});

test('a member is gone after silence, after its last will, or under another session, each when nothing of it can come', () => {
  const node = create();
  node.join(0);
  node.heard('a', beatOf('x'), 1000);
  expect(node.isGone('a', 'x', 1000 + timing.deadMs - 1)).toBe(false);
  expect(node.isGone('a', 'x', 1000 + timing.deadMs)).toBe(true);
  node.willOf('a', 2000);
  expect(node.isGone('a', 'x', 2000 + timing.delayMs - 1)).toBe(false);
  expect(node.isGone('a', 'x', 2000 + timing.delayMs)).toBe(true);
  // Whoever says that it is offline and goes on talking was spoken for by somebody else.
  node.heard('a', beatOf('x'), 3000);
  expect(node.isGone('a', 'x', 2000 + timing.delayMs)).toBe(false);
  node.heard('a', beatOf('y'), 4000);
  expect(node.isGone('a', 'x', 4000 + timing.delayMs - 1)).toBe(false);
  expect(node.isGone('a', 'x', 4000 + timing.delayMs)).toBe(true);
  expect(node.isGone('nobody', 'x', 4000)).toBe(true);
});

test('more nodes than a cluster has are not taken notice of', () => {
  const node = create();
  node.join(0);
  for (let i = 0; i < 100; i++) node.heard(`n${i}`, beatOf('x'), 10);
  expect(node.describe(10)).toHaveLength(33);
});

test('frames that the broker hands out are left to those it hands them to', () => {
  const node = create();
  node.join(0);
  live(node, 0, 10_500);
  expect(node.ownerOf('door', 10_500, true)).toBe('b');
  node.heard('a', beatOf('x', { shares: true, rank: 2 }), 10_500);
  expect(node.ownerOf('door', 10_500, true)).toBeUndefined();
  expect(['a', 'b']).toContain(node.ownerOf('door', 10_500, false));
});

test('a node that leaves moves only what it had', () => {
  const streams = Array.from({ length: 200 }, (_, i) => `s${i}`);
  const before = streams.map((stream) => ownerOf(stream, ['a', 'b', 'c']));
  const after = streams.map((stream) => ownerOf(stream, ['c', 'a']));
  for (const [index, owner] of before.entries()) if (owner !== 'b') expect(after[index]).toBe(owner);
  for (const name of ['a', 'b', 'c']) expect(before.filter((owner) => owner === name).length).toBeGreaterThan(40);
  expect(ownerOf('s0', [])).toBeUndefined();
});
