/** PyTorch's encoders in a process of their own, where python has them. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

export type EncoderRequest = { readonly image: number } | { readonly audio: number };

interface Answer {
  readonly ready?: Readonly<Record<string, string>>;
  readonly missing?: string;
  readonly ms?: number;
}

/** Why there is nothing to compare with. */
export class NoPyTorch extends Error {}

export class PyTorch {
  private constructor(
    private readonly child: ChildProcessByStdio<Writable, Readable, null>,
    private readonly answers: AsyncIterator<string>,
    /** Of torch, timm and transformers. */
    readonly versions: Readonly<Record<string, string>>,
  ) {}

  /** Throws `NoPyTorch` where `python` cannot be run or lacks a package. */
  static async open(python: string, script: string, threads: number): Promise<PyTorch> {
    const child = spawn(python, [script, String(threads)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const failed = new Promise<never>((_, reject) => {
      child.once('error', (error) => reject(new NoPyTorch(error.message)));
    });
    // Only the race below hears of it.
    failed.catch(() => undefined);
    // A process that has ended is noticed by its silence.
    child.stdin.on('error', () => undefined);
    const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { ready, missing } = await Promise.race([read(answers), failed]);
    if (ready === undefined) throw new NoPyTorch(missing ?? 'it did not start');
    return new PyTorch(child, answers, ready);
  }

  /** Milliseconds of one run. */
  async run(request: EncoderRequest): Promise<number> {
    this.child.stdin.write(`${JSON.stringify(request)}\n`);
    const { ms } = await read(this.answers);
    if (ms === undefined) throw new Error(`PyTorch ended over ${JSON.stringify(request)}`);
    return ms;
  }

  close(): void {
    this.child.kill('SIGKILL');
  }
}

async function read(answers: AsyncIterator<string>): Promise<Answer> {
  const { value, done } = await answers.next();
  if (done === true) return {};
  try {
    return JSON.parse(value) as Answer;
  } catch {
    return { missing: `it said ${JSON.stringify(value.slice(0, 200))}` };
  }
}
