/** An engine in a process of its own, so that its memory and its load time are its own. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type {
  BenchEngine,
  Decoded,
  EngineName,
  FirstToken,
  Loaded,
  LoadOptions,
  Memory,
  Request,
  Response,
  SwitchedDecode,
} from './engine';

export class EngineChild implements BenchEngine {
  private constructor(
    readonly name: EngineName,
    private readonly child: ChildProcess,
    readonly loaded: Loaded,
  ) {}

  static async open(name: EngineName, options: LoadOptions): Promise<EngineChild> {
    const child = fork(join(__dirname, 'child-main.js'), [], {
      serialization: 'advanced',
      // What an engine prints is no part of the report.
      stdio: ['ignore', 2, 2, 'ipc'],
    });
    try {
      const loaded = (await ask(name, child, { method: 'load', args: [name, options] })) as Loaded;
      return new EngineChild(name, child, loaded);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** Opens, uses and closes. */
  static async with<T>(name: EngineName, options: LoadOptions, use: (engine: EngineChild) => Promise<T>): Promise<T> {
    const engine = await EngineChild.open(name, options);
    try {
      return await use(engine);
    } finally {
      await engine.close();
    }
  }

  async firstToken(...args: Parameters<BenchEngine['firstToken']>): Promise<FirstToken> {
    return (await this.ask({ method: 'firstToken', args })) as FirstToken;
  }

  async decode(...args: Parameters<BenchEngine['decode']>): Promise<Decoded> {
    return (await this.ask({ method: 'decode', args })) as Decoded;
  }

  async decodeSwitching(...args: Parameters<BenchEngine['decodeSwitching']>): Promise<SwitchedDecode> {
    return (await this.ask({ method: 'decodeSwitching', args })) as SwitchedDecode;
  }

  async keepPrefix(...args: Parameters<BenchEngine['keepPrefix']>): Promise<void> {
    await this.ask({ method: 'keepPrefix', args });
  }

  async firstTokenAfterPrefix(...args: Parameters<BenchEngine['firstTokenAfterPrefix']>): Promise<FirstToken> {
    return (await this.ask({ method: 'firstTokenAfterPrefix', args })) as FirstToken;
  }

  async memory(): Promise<Memory> {
    return (await this.ask({ method: 'memory', args: [] })) as Memory;
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    // An engine in the middle of a computation does not hear a farewell.
    this.child.kill('SIGKILL');
    await ended;
  }

  private async ask(request: Request): Promise<unknown> {
    return await ask(this.name, this.child, request);
  }
}

async function ask(name: EngineName, child: ChildProcess, request: Request): Promise<unknown> {
  const abort = new AbortController();
  try {
    const answered = once(child, 'message', abort).then(([message]) => message as Response);
    const ended = once(child, 'exit', abort).then(([code, signal]): Response => {
      return { error: `the process ended with ${signal ?? `exit code ${code}`}` };
    });
    // Whichever is not waited for in the end is aborted below.
    for (const pending of [answered, ended]) pending.catch(() => undefined);
    child.send(request);
    const response = await Promise.race([answered, ended]);
    if ('error' in response) throw new Error(`${name}: ${request.method}: ${response.error}`);
    return response.value;
  } finally {
    abort.abort();
  }
}
