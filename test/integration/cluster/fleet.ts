/** Several daemons in the cluster `home`, with the small trained model, and somebody who asks them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Hearthd, startHearthd } from '../../helpers/hearthd';
import { connectPeer, type Heard, type Peer } from '../../helpers/mqtt-peer';

export interface Status {
  readonly leader: string | null;
  readonly members: readonly { readonly node: string; readonly rank: number; readonly streams: boolean }[];
  readonly frames: string;
  readonly assigned: readonly string[];
}

export interface Response {
  readonly id: string | null;
  readonly ok: boolean;
  readonly data?: { readonly text: string };
  readonly error?: { readonly code: string };
}

const evaluation = JSON.parse(readFileSync(join(process.cwd(), 'test/fixtures/nano-eval/eval.json'), 'utf8')) as {
  readonly kind: string;
  readonly prompt: string;
}[];
export const prompts = evaluation
  .filter(({ kind }) => kind === 'text')
  .map(({ prompt }) => prompt)
  .slice(0, 12);

export const responseOf = ({ payload }: Heard): Response => JSON.parse(payload.toString()) as Response;

export class Fleet {
  readonly daemons = new Map<string, Hearthd>();
  /** What a single node said to each prompt. */
  readonly expected: string[] = [];
  #asked = 0;

  private constructor(
    readonly names: readonly string[],
    readonly peer: Peer,
  ) {}

  /** Resolves when all are one cluster. */
  static async start(
    url: string,
    names: readonly string[],
    config: Readonly<Record<string, unknown>>,
    protocolVersion: 5 | 4 = 5,
  ): Promise<Fleet> {
    const fleet = new Fleet(names, await connectPeer(url, ['hearth/#'], { protocolVersion }));
    for (const node of names) {
      const cluster = { name: 'home', leaseSeconds: 4, holdSeconds: 1 };
      fleet.daemons.set(node, await startHearthd(url, fleet.peer, { node, cluster, ...config }));
    }
    await fleet.together(names);
    await fleet.#askOneAlone();
    return fleet;
  }

  async stop(): Promise<void> {
    await Promise.all(Array.from(this.daemons.values(), (daemon) => daemon.stop()));
    await this.peer.close();
  }

  signal(node: string, signal: NodeJS.Signals): void {
    const pid = this.daemons.get(node)?.pid;
    if (pid === undefined) throw new Error(`no node ${node}`);
    process.kill(pid, signal);
  }

  async until<T>(what: string, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
    const deadline = Date.now() + 120_000;
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      if (Date.now() > deadline) {
        const outputs = Array.from(this.daemons, ([name, { output }]) => `${name}: ${output().slice(-1500)}`);
        throw new Error(`waited in vain until ${what}\n${outputs.join('\n')}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async statusOf(node: string): Promise<Status> {
    const id = `health-${this.#asked++}`;
    await this.peer.client.publishAsync(`hearth/${node}/request/health`, JSON.stringify({ id }), { qos: 1 });
    const answer = await this.peer.json(`hearth/${node}/response/health`, (health: Response) => health.id === id);
    return (answer['data'] as { cluster: Status }).cluster;
  }

  /** Until all of `nodes` see each other, and no other, and have their streams. */
  async together(nodes: readonly string[]): Promise<Map<string, Status>> {
    return await this.until(`${nodes.join(', ')} are together`, async () => {
      const all = new Map<string, Status>();
      for (const node of nodes) all.set(node, await this.statusOf(node));
      const agree = Array.from(all.values()).every(
        ({ members, leader }) =>
          leader !== null &&
          members.length === nodes.length &&
          members.every(({ node, rank, streams }) => nodes.includes(node) && rank > 0 && streams),
      );
      return agree ? all : undefined;
    });
  }

  async ask(batch: string, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const payload = JSON.stringify({ id: `${batch}-${i}`, prompt: prompts[i % prompts.length], maxTokens: 48 });
      await this.peer.client.publishAsync('hearth/cluster/home/request/generate', payload, { qos: 1 });
    }
  }

  /** Everything that was answered to a job of a batch, as it came. */
  answersTo(batch: string): Response[] {
    return this.peer.heard
      .filter(({ topic }) => topic === 'hearth/cluster/home/response/generate')
      .map(responseOf)
      .filter(({ id }) => id?.startsWith(`${batch}-`) === true);
  }

  async answered(batch: string, count: number): Promise<void> {
    await this.until(`${count} jobs of ${batch} are answered`, () =>
      new Set(this.answersTo(batch).map(({ id }) => id)).size >= count ? true : undefined,
    );
  }

  /** Every id once, with the text a single node gives. */
  expectOnce(batch: string, count: number): void {
    const answers = this.answersTo(batch);
    const numberOf = ({ id }: Response): number => Number(id?.split('-')[1]);
    expect(answers.map(numberOf).sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
    for (const answer of answers) {
      const { id, ok, error, data } = answer;
      const text = this.expected[numberOf(answer) % prompts.length];
      expect({ id, ok, error, text: data?.text }).toEqual({ id, ok: true, error: undefined, text });
    }
  }

  /** Topics of a kind of event of a stream that were heard, by node. */
  nodesThatSaid(stream: string, kind: string, since = 0): string[] {
    return this.peer.heard.slice(since).flatMap(({ topic }) => {
      const [base, node = '', out, ...rest] = topic.split('/');
      return base === 'hearth' && out === 'out' && rest.join('/') === `${stream}/${kind}` ? [node] : [];
    });
  }

  async #askOneAlone(): Promise<void> {
    const [node = ''] = this.names;
    for (const [i, prompt] of prompts.entries()) {
      const payload = JSON.stringify({ id: `alone-${i}`, prompt, maxTokens: 48 });
      await this.peer.client.publishAsync(`hearth/${node}/request/generate`, payload, { qos: 1 });
      const answer = await this.peer.json(
        `hearth/${node}/response/generate`,
        ({ id }: Response) => id === `alone-${i}`,
      );
      this.expected.push((answer as unknown as Required<Response>).data.text);
    }
  }
}
