/** What a plugin runs in: a worker thread, or a process of its own. Either says the same things over the same port. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import type { WorkerSetup } from './protocol';
import type { Port } from './rpc';

export type Isolation = 'worker' | 'process';

export interface Isolate {
  readonly port: Port;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Calls `listener` once or more, with why it cannot go on. */
  onError(listener: (what: string) => void): void;
  /** Calls `listener` once, when nothing of it runs any more. */
  onExit(listener: (what: string) => void): void;
  /** Ends it at once. */
  terminate(): void;
}

export interface IsolateOptions {
  readonly name: string;
  readonly file: string;
  /** Megabytes of JavaScript heap. */
  readonly memoryMb: number;
}

const entry = join(__dirname, 'worker.js');
const flags = ['--no-addons', '--enable-source-maps'];
/** Of the part of the heap where objects begin, in megabytes. */
const youngMb = (memoryMb: number): number => Math.min(16, memoryMb);

export function startIsolate(isolation: Isolation, options: IsolateOptions): Isolate {
  return isolation === 'process' ? startProcess(options) : startWorker(options);
}

function startWorker({ name, file, memoryMb }: IsolateOptions): Isolate {
  const setup: WorkerSetup = { file };
  const worker = new Worker(entry, {
    workerData: setup,
    // What the daemon was given in its environment is none of a plugin's business.
    env: {},
    argv: [],
    execArgv: flags,
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: memoryMb, maxYoungGenerationSizeMb: youngMb(memoryMb) },
    name: `plugin ${name}`,
  });
  return {
    port: worker,
    stdout: worker.stdout,
    stderr: worker.stderr,
    onError: (listener) => {
      worker.once('error', (error) => listener(describe(error, memoryMb)));
      worker.once('messageerror', (error) => listener(error.message));
    },
    onExit: (listener) => worker.once('exit', (code) => listener(`it left with exit code ${code}`)),
    terminate: () => void worker.terminate(),
  };
}

function startProcess({ file, memoryMb }: IsolateOptions): Isolate {
  const semiSpaceMb = Math.max(1, Math.floor(youngMb(memoryMb) / 3));
  const child: ChildProcess = fork(entry, [file], {
    env: {},
    execArgv: [...flags, `--max-old-space-size=${memoryMb}`, `--max-semi-space-size=${semiSpaceMb}`],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // Pictures and sounds are typed arrays.
    serialization: 'advanced',
  });
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error('a process was started without its output');
  let outOfMemory = false;
  stderr.on('data', (text: unknown) => {
    outOfMemory ||= String(text).includes('JavaScript heap out of memory');
  });
  return {
    port: {
      // A process that is gone already says so by its exit.
      postMessage: (value) => {
        if (child.connected) child.send(value as object, () => undefined);
      },
      on: (event, listener) => child.on(event, listener),
    },
    stdout,
    stderr,
    onError: (listener) => {
      child.on('error', (error) => listener(`it ended with ${error.message.slice(0, 300)}`));
    },
    onExit: (listener) =>
      // After its last words: they say what ended it.
      child.once('close', (code, signal) => {
        if (outOfMemory) listener(tooLarge(memoryMb));
        else listener(signal === null ? `it left with exit code ${code}` : `it was ended by ${signal}`);
      }),
    terminate: () => void child.kill('SIGKILL'),
  };
}

function tooLarge(memoryMb: number): string {
  return `its heap took more than ${memoryMb} MB`;
}

function describe(error: Error & { readonly code?: unknown }, memoryMb: number): string {
  return error.code === 'ERR_WORKER_OUT_OF_MEMORY'
    ? tooLarge(memoryMb)
    : `it ended with ${String(error.message ?? error).slice(0, 300)}`;
}
