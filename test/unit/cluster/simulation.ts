/**
 * A cluster without a network: nodes, a broker that keeps the messages of one node in order and delays each as it likes,
 * and a clock that is turned by hand. Nodes are killed, stopped and continued, and cut off.
 */
import { ClusterNode, type Effect } from '../../../daemon/cluster/cluster-node';
import type { JobRequest } from '../../../daemon/cluster/job-table';
import type { ClusterMessage } from '../../../daemon/cluster/messages';
import { type Timing, timingOf } from '../../../daemon/cluster/timing';
import { seeded } from '../media/support';

export interface Answer {
  readonly job: string;
  readonly by: string;
  readonly text: unknown;
  readonly atMs: number;
}

interface Delivery {
  readonly atMs: number;
  readonly to: string;
  /** Of which life and connection of the receiver. */
  readonly connection: number;
  readonly run: () => void;
}

interface Host {
  readonly name: string;
  node: ClusterNode;
  alive: boolean;
  paused: boolean;
  connection: number;
  connected: boolean;
  /** What came while it was paused. */
  readonly inbox: (() => void)[];
  readonly runs: Map<string, number>;
}

export function jobNamed(name: string, overrides: Partial<JobRequest> = {}): JobRequest {
  const key = Buffer.from(name).toString('hex').padEnd(32, '0').slice(0, 32);
  return {
    key,
    verb: 'generate',
    id: name,
    payload: { prompt: name },
    sizeBytes: 100,
    responseTopic: 'hearth/cluster/home/response/generate',
    priority: 4,
    deadlineMs: 600_000,
    receivedTs: 0,
    ...overrides,
  };
}

export interface SimulationOptions {
  readonly nodes: readonly string[];
  readonly seed?: number;
  readonly leaseMs?: number;
  readonly holdMs?: number;
  /** Longest way of a message to the broker, and again from it. */
  readonly maxHopMs?: number;
  /** How long a job takes. */
  readonly jobMs?: (node: string) => number;
  readonly retryable?: (node: string, job: string) => string | undefined;
}

export class Simulation {
  readonly timing: Timing;
  readonly answers: Answer[] = [];
  readonly sent: { from: string; message: ClusterMessage; atMs: number }[] = [];
  readonly random: () => number;
  readonly hosts = new Map<string, Host>();
  nowMs = 1000;
  #deliveries: Delivery[] = [];
  /** When the last message between two places arrives: none overtakes it. */
  readonly #last = new Map<string, number>();
  readonly #options: SimulationOptions;
  #sessions = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    const { nodes, seed = 1, leaseMs = 6000, holdMs = 0 } = options;
    this.timing = timingOf(leaseMs, holdMs);
    this.random = seeded(seed);
    for (const name of nodes) this.hosts.set(name, this.#newHost(name));
  }

  host(name: string): Host {
    const host = this.hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name}`);
    return host;
  }

  start(name: string): void {
    const host = this.host(name);
    if (host.alive) return;
    host.alive = true;
    host.paused = false;
    host.node = this.#newNode(name);
    host.inbox.length = 0;
    host.runs.clear();
    this.connect(name);
  }

  /** As SIGKILL: the broker sees the connection end. */
  kill(name: string): void {
    const host = this.host(name);
    host.alive = false;
    this.#hangUp(host);
  }

  pause(name: string): void {
    this.host(name).paused = true;
  }

  /** Its timers come first, then what waited in its socket. */
  resume(name: string): void {
    const host = this.host(name);
    if (!host.paused) return;
    host.paused = false;
    if (!host.alive) return;
    host.node.tick(this.nowMs);
    for (const run of host.inbox.splice(0)) run();
  }

  /** The connection breaks, and the broker notices. */
  cut(name: string): void {
    const host = this.host(name);
    this.#hangUp(host);
    if (host.alive) host.node.disconnected();
  }

  connect(name: string): void {
    const host = this.host(name);
    if (!host.alive || host.connected) return;
    host.connected = true;
    host.connection++;
    host.node.connected(this.nowMs);
  }

  /** Somebody asks the cluster. */
  ask(job: JobRequest): void {
    for (const host of this.hosts.values()) {
      if (host.connected) this.#deliver('requester', host, () => host.node.request(job, this.nowMs));
    }
  }

  run(forMs: number, stepMs = 50): void {
    const endMs = this.nowMs + forMs;
    while (this.nowMs < endMs) {
      this.nowMs += stepMs;
      const due = this.#deliveries.filter(({ atMs }) => atMs <= this.nowMs).sort((a, b) => a.atMs - b.atMs);
      this.#deliveries = this.#deliveries.filter(({ atMs }) => atMs > this.nowMs);
      for (const { to, connection, run } of due) this.#arrive(to, connection, run);
      for (const host of this.hosts.values()) if (host.alive && !host.paused) this.#work(host);
    }
  }

  answersTo(name: string): Answer[] {
    return this.answers.filter(({ job }) => job === name);
  }

  leaders(): string[] {
    const leaders = Array.from(this.hosts.values()).flatMap(({ alive, paused, node }) =>
      alive && !paused ? [node.describe(this.nowMs).leader] : [],
    );
    return [...new Set(leaders.filter((leader) => leader !== null))];
  }

  #newHost(name: string): Host {
    return {
      name,
      node: this.#newNode(name),
      alive: false,
      paused: false,
      connection: 0,
      connected: false,
      inbox: [],
      runs: new Map(),
    };
  }

  #newNode(name: string): ClusterNode {
    return new ClusterNode({
      self: name,
      timing: this.timing,
      newSession: () => `s${this.#sessions++}`,
      emit: (effect) => this.#effect(name, effect),
      load: () => ({ waiting: 0, running: 0, slice: 'full' }),
      shares: () => false,
      capacity: () => ({ costMs: 10 + this.host(name).runs.size * 100, stepMs: 100, maxHeld: 4 }),
      isRetryable: (code) => code === 'QUEUE_FULL',
    });
  }

  #work(host: Host): void {
    for (const [key, endsMs] of [...host.runs]) {
      if (endsMs > this.nowMs) continue;
      host.runs.delete(key);
      const code = this.#options.retryable?.(host.name, key);
      host.node.finished(
        key,
        code === undefined ? { ok: true, data: `text of ${key}` } : { ok: false, error: { code, message: '' } },
        this.nowMs,
      );
    }
    host.node.tick(this.nowMs);
  }

  #effect(name: string, effect: Effect): void {
    const host = this.host(name);
    switch (effect.type) {
      case 'send':
        this.sent.push({ from: name, message: effect.message, atMs: this.nowMs });
        this.#broadcast(host, effect.message);
        return;
      case 'run': {
        const { jobMs = () => 500 + this.random() * 2000 } = this.#options;
        if (!host.runs.has(effect.job.key)) host.runs.set(effect.job.key, this.nowMs + jobMs(name));
        return;
      }
      case 'answer': {
        const { job, answer, epoch } = effect;
        const text = answer.ok ? answer.data : answer.error.code;
        this.answers.push({ job: job.id, by: name, text, atMs: this.nowMs });
        this.#broadcast(host, { type: 'done', job: job.key, epoch });
        return;
      }
    }
  }

  /** Through the broker to every node, the sender too, if the connection holds. */
  #broadcast(host: Host, message: ClusterMessage): void {
    if (!host.connected) throw new Error(`${host.name} speaks without a connection`);
    for (const to of this.hosts.values()) {
      if (to.connected) this.#deliver(host.name, to, () => to.node.heard(host.name, message, this.nowMs));
    }
  }

  #hangUp(host: Host): void {
    if (!host.connected) return;
    host.connected = false;
    for (const to of this.hosts.values()) {
      if (to.connected) this.#deliver(host.name, to, () => to.node.willOf(host.name, this.nowMs));
    }
  }

  #deliver(from: string, to: Host, run: () => void): void {
    const { maxHopMs = 200 } = this.#options;
    const way = `${from}>${to.name}`;
    const atMs = Math.max(this.#last.get(way) ?? 0, this.nowMs + 2 * maxHopMs * this.random());
    this.#last.set(way, atMs);
    this.#deliveries.push({ atMs, to: to.name, connection: to.connection, run });
  }

  #arrive(name: string, connection: number, run: () => void): void {
    const host = this.host(name);
    if (!host.alive || !host.connected || host.connection !== connection) return;
    if (host.paused) host.inbox.push(run);
    else run();
  }
}
