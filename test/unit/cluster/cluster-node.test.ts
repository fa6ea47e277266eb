/** Jobs by lease among simulated nodes: each is answered once, whoever is killed, stopped or cut off meanwhile. */
import type { ClusterMessage } from '../../../daemon/cluster/messages';
import { seeded } from '../media/support';
import { jobNamed, Simulation } from './simulation';

const names = ['a', 'b', 'c'];

function started(options: Partial<ConstructorParameters<typeof Simulation>[0]> = {}): Simulation {
  const simulation = new Simulation({ nodes: names, ...options });
  for (const name of options.nodes ?? names) simulation.start(name);
  simulation.run(20_000);
  return simulation;
}

test('one node leads, all agree on it, and nodes that join later do not displace it', () => {
  const simulation = new Simulation({ nodes: ['z', 'b', 'a'] });
  simulation.start('z');
  simulation.run(15_000);
  simulation.start('a');
  simulation.start('b');
  simulation.run(20_000);
  expect(simulation.leaders()).toEqual(['z']);
  simulation.kill('z');
  simulation.run(10_000);
  expect(simulation.leaders()).toHaveLength(1);
  const [next = ''] = simulation.leaders();
  simulation.start('z');
  simulation.run(20_000);
  expect(simulation.leaders()).toEqual([next]);
});

test('a job is offered, bid for, granted to one node, and answered by it', () => {
  const simulation = started({ maxHopMs: 10 });
  simulation.ask(jobNamed('one'));
  simulation.run(8000);
  const { key } = jobNamed('one');
  const about = simulation.sent.filter(({ message }) => 'job' in message && message.job === key);
  expect(about.map(({ message }) => message.type)).toEqual(['offer', 'bid', 'bid', 'bid', 'grant']);
  const grant = about.find(({ message }) => message.type === 'grant')?.message;
  expect(simulation.answersTo('one')).toEqual([
    { job: 'one', by: (grant as { node: string }).node, text: `text of ${key}`, atMs: expect.any(Number) as number },
  ]);
});

test('jobs that come at once are spread over the nodes', () => {
  const simulation = started({ jobMs: () => 1000 });
  for (let i = 0; i < 30; i++) simulation.ask(jobNamed(`job-${i}`));
  simulation.run(30_000);
  const byNode = names.map((name) => simulation.answers.filter(({ by }) => by === name).length);
  expect(simulation.answers).toHaveLength(30);
  for (const count of byNode) expect(count).toBeGreaterThanOrEqual(6);
});

test('the more urgent of two that wait is granted first', () => {
  const simulation = started({ nodes: ['a'], jobMs: () => 1000 });
  for (let i = 0; i < 8; i++) simulation.ask(jobNamed(`slow-${i}`, { priority: 1 }));
  simulation.run(200);
  simulation.ask(jobNamed('urgent', { priority: 9 }));
  simulation.run(30_000);
  const order = simulation.answers.map(({ job }) => job);
  expect(order).toHaveLength(9);
  expect(order.indexOf('urgent')).toBeLessThan(6);
});

test('a killed node’s jobs are granted again soon after its last will', () => {
  const simulation = started({ jobMs: () => 4000 });
  for (let i = 0; i < 6; i++) simulation.ask(jobNamed(`job-${i}`));
  simulation.run(2500);
  const victim = simulation.leaders()[0] === 'a' ? 'b' : 'a';
  simulation.kill(victim);
  const killedMs = simulation.nowMs;
  simulation.run(30_000);
  expect(simulation.answers.map(({ job }) => job).sort()).toEqual(Array.from({ length: 6 }, (_, i) => `job-${i}`));
  const again = simulation.sent.filter(({ message }) => message.type === 'grant' && message.epoch === 2);
  expect(again.length).toBeGreaterThan(0);
  for (const { atMs } of again) expect(atMs - killedMs).toBeLessThan(simulation.timing.deadMs);
});

test('a paused node loses its jobs after its lease, and what it has to say when it wakes is not said', () => {
  const simulation = started({ jobMs: () => 3000 });
  for (let i = 0; i < 9; i++) simulation.ask(jobNamed(`job-${i}`));
  simulation.run(2500);
  simulation.pause('b');
  simulation.run(30_000);
  expect(simulation.answers).toHaveLength(9);
  simulation.resume('b');
  simulation.run(30_000);
  expect(simulation.answers).toHaveLength(9);
  expect(simulation.answers.filter(({ by, atMs }) => by === 'b' && atMs > 30_000)).toEqual([]);
  // It takes part again.
  for (let i = 0; i < 12; i++) simulation.ask(jobNamed(`later-${i}`));
  simulation.run(30_000);
  expect(simulation.answers.filter(({ by, job }) => by === 'b' && job.startsWith('later')).length).toBeGreaterThan(0);
});

test('when the leader is killed, with jobs of its own and of others, the next one goes on', () => {
  const simulation = started({ jobMs: () => 3000 });
  const [leader = ''] = simulation.leaders();
  for (let i = 0; i < 20; i++) simulation.ask(jobNamed(`job-${i}`));
  simulation.run(1500);
  simulation.kill(leader);
  simulation.run(60_000);
  expect(simulation.answers.map(({ job }) => job).sort()).toEqual(
    Array.from({ length: 20 }, (_, i) => `job-${i}`).sort(),
  );
});

test('the only node that is left answers everything', () => {
  const simulation = started();
  simulation.kill('a');
  simulation.kill('c');
  for (let i = 0; i < 5; i++) simulation.ask(jobNamed(`job-${i}`));
  simulation.run(60_000);
  expect(simulation.answers).toHaveLength(5);
});

test('an error that another node may not have is no answer until the last attempt', () => {
  const failing = started({ retryable: (node) => (node === 'a' || node === 'b' ? 'QUEUE_FULL' : undefined) });
  for (let i = 0; i < 6; i++) failing.ask(jobNamed(`job-${i}`));
  failing.run(60_000);
  expect(failing.answers).toHaveLength(6);
  const hopeless = started({ retryable: () => 'QUEUE_FULL' });
  hopeless.ask(jobNamed('job'));
  hopeless.run(60_000);
  expect(hopeless.answersTo('job')).toMatchObject([{ text: 'QUEUE_FULL' }]);
  const grants = hopeless.sent.filter(({ message }) => message.type === 'grant');
  expect(grants.map(({ message }) => (message as { epoch: number }).epoch)).toEqual([1, 2, 3, 4, 5]);
});

test('a job that kills every node it is given to is given up', () => {
  const simulation = started({ nodes: ['a', 'b', 'c', 'd', 'e', 'f'], jobMs: () => 1e9 });
  simulation.ask(jobNamed('deadly'));
  for (let second = 0; second < 200; second++) {
    simulation.run(1000);
    for (const { name, runs, alive } of simulation.hosts.values()) if (alive && runs.size > 0) simulation.kill(name);
  }
  expect([...simulation.hosts.values()].filter(({ alive }) => alive)).toHaveLength(1);
  expect(simulation.answersTo('deadly')).toMatchObject([{ text: 'JOB_ABANDONED' }]);
});

test('a job that nobody has room for before its deadline is refused once', () => {
  const simulation = started({ jobMs: () => 1e9 });
  for (let i = 0; i < 13; i++) simulation.ask(jobNamed(`job-${i}`, { deadlineMs: 5000 }));
  simulation.run(60_000);
  expect(simulation.answers).toMatchObject([{ text: 'JOB_DEADLINE' }]);
});

test('the same request again has the same answer, from the node that gave it', () => {
  const simulation = started();
  simulation.ask(jobNamed('one'));
  simulation.run(10_000);
  simulation.ask(jobNamed('one'));
  simulation.run(10_000);
  const [first, second] = simulation.answersTo('one');
  expect(simulation.answersTo('one')).toHaveLength(2);
  expect(second).toMatchObject({ by: first?.by, text: first?.text });
  expect(simulation.sent.filter(({ message }) => message.type === 'grant')).toHaveLength(1);
});

test('a node that was cut off with a job comes back, and the job is answered by another', () => {
  const simulation = started({ jobMs: () => 3000 });
  simulation.ask(jobNamed('one'));
  simulation.run(1500);
  const holder = [...simulation.hosts.values()].find(({ runs }) => runs.size > 0)?.name ?? '';
  simulation.cut(holder);
  simulation.run(500);
  simulation.connect(holder);
  simulation.run(60_000);
  expect(simulation.answersTo('one')).toHaveLength(1);
});

test('streams have one owner each, move when it is gone, and come back only after a while', () => {
  const simulation = new Simulation({ nodes: names, holdMs: 30_000 });
  const streams = Array.from({ length: 40 }, (_, i) => `camera-${i}`);
  const owners = (): string[][] =>
    streams.map((stream) =>
      Array.from(simulation.hosts.values())
        .filter(({ alive, paused, node }) => alive && !paused && node.owns(stream, false, simulation.nowMs))
        .map(({ name }) => name),
    );
  for (const name of names) simulation.start(name);
  simulation.run(60_000);
  const before = owners();
  for (const owning of before) expect(owning).toHaveLength(1);
  expect(new Set(before.flat()).size).toBe(3);
  simulation.kill('b');
  simulation.run(simulation.timing.delayMs + 500);
  const without = owners();
  for (const [index, owning] of without.entries()) {
    expect(owning).toHaveLength(1);
    expect(owning).not.toContain('b');
    if (before[index]?.[0] !== 'b') expect(owning).toEqual(before[index]);
  }
  simulation.start('b');
  simulation.run(25_000);
  expect(owners()).toEqual(without);
  simulation.run(10_000);
  expect(owners()).toEqual(before);
});

test('whoever is no member has no say, and well-formed nonsense of one neither breaks a node nor fills it', () => {
  const simulation = started({ nodes: ['a'] });
  const { node } = simulation.host('a');
  const random = seeded(5);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const key = (): string =>
    Math.floor(random() * 1e4)
      .toString(16)
      .padStart(32, '0');
  const { key: victim } = jobNamed('one');
  simulation.ask(jobNamed('one'));
  node.heard('stranger', { type: 'done', job: victim, epoch: 1 }, simulation.nowMs);
  simulation.run(10_000);
  expect(simulation.answersTo('one')).toHaveLength(1);

  const load = { waiting: 0, running: 0, slice: 'full' };
  for (let i = 0; i < 20_000; i++) {
    const from = pick(['x', 'y', 'z', `n${i}`]);
    const [job, epoch, session] = [key(), 1 + Math.floor(random() * 8), pick(['s0', 's1', 's2'])];
    const message = pick<ClusterMessage>([
      { type: 'heartbeat', session, seq: i, rank: 9, streams: true, shares: false, load, jobs: [[job, epoch]] },
      { type: 'offer', job, epoch },
      { type: 'bid', job, epoch, session, costMs: 0, stepMs: 0, held: 0, maxHeld: 99 },
      { type: 'grant', job, epoch, node: pick(['a', from]), session, last: false },
      { type: 'release', job, epoch },
      { type: 'done', job, epoch },
      { type: 'stranded', job },
    ]);
    node.heard(from, message, simulation.nowMs);
  }
  const { jobs, members } = node.describe(simulation.nowMs);
  expect(jobs.open).toBeLessThanOrEqual(256);
  expect(members.length).toBeLessThanOrEqual(33);
  // They are gone, and so is what they said.
  simulation.run(120_000);
  simulation.ask(jobNamed('two'));
  simulation.run(10_000);
  expect(simulation.answersTo('two')).toHaveLength(1);
});

/** Whatever happens, in whatever order, as long as messages take no longer than they may and one node stays. */
test.each(Array.from({ length: 60 }, (_, seed) => seed + 1))(
  'schedule %i: nodes are killed, stopped, cut off and started while jobs come, and each is answered once',
  (seed) => {
    const random = seeded(seed * 7919);
    const simulation = new Simulation({ nodes: ['a', 'b', 'c', 'd'], seed, maxHopMs: 20 + random() * 400 });
    const all = [...simulation.hosts.keys()];
    for (const name of all) if (random() < 0.8 || name === 'a') simulation.start(name);
    simulation.run(15_000);
    const steady = all.filter((name) => simulation.host(name).alive)[Math.floor(random() * 3)] ?? 'a';
    let asked = 0;
    for (let step = 0; step < 120; step++) {
      simulation.run(200 + random() * 800);
      if (random() < 0.6) for (let i = random() * 3; i > 0; i--) simulation.ask(jobNamed(`job-${asked++}`));
      const name = all[Math.floor(random() * all.length)] ?? 'a';
      if (name === steady) continue;
      const { alive, paused, connected } = simulation.host(name);
      const dice = random();
      if (!alive) {
        if (dice < 0.4) simulation.start(name);
      } else if (paused) {
        if (dice < 0.3) simulation.resume(name);
      } else if (!connected) {
        if (dice < 0.5) simulation.connect(name);
      } else if (dice < 0.12) {
        simulation.kill(name);
      } else if (dice < 0.24) {
        simulation.pause(name);
      } else if (dice < 0.32) {
        simulation.cut(name);
      }
    }
    for (const name of all) simulation.resume(name);
    simulation.run(120_000);
    const wrong = Array.from({ length: asked }, (_, i) => `job-${i}`)
      .map((job) => ({ job, answers: simulation.answersTo(job) }))
      .filter(({ answers }) => answers.length !== 1);
    expect(wrong).toEqual([]);
    expect(asked).toBeGreaterThan(30);
  },
);
