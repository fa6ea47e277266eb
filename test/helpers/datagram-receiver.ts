/** A service manager's end of the notify socket. Python, since Node has no Unix datagram sockets. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const program = `
import json, socket, sys
path = sys.argv[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind("\\0" + path[1:] if path.startswith("@") else path)
print(json.dumps("bound"), flush=True)
while True:
    print(json.dumps(receiver.recv(65536).decode()), flush=True)
`;

export interface DatagramReceiver {
  /** Every message so far, in order. */
  readonly messages: readonly string[];
  /** Resolves with the first message, past or future, that `matches`; rejects when the receiver ended before. */
  next(matches: (message: string) => boolean): Promise<string>;
  close(): Promise<void>;
}

/** Binds `path`, a file or '@' and an abstract name, as NOTIFY_SOCKET spells it. */
export async function receiveDatagrams(path: string): Promise<DatagramReceiver> {
  const child: ChildProcess = spawn('python3', ['-c', program, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const messages: string[] = [];
  const waiting = new Set<() => void>();
  let ended = false;
  const wake = (): void => {
    for (const look of [...waiting]) look();
  };
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const bound = once(lines, 'line');
  child.once('exit', () => {
    ended = true;
    wake();
  });
  const [first] = (await Promise.race([bound, once(child, 'exit').then(() => [''])])) as [string];
  if (first !== '"bound"') throw new Error(`nothing could be bound to ${path}`);
  lines.on('line', (line) => {
    messages.push(JSON.parse(line) as string);
    wake();
  });
  return {
    messages,
    next: async (matches) =>
      await new Promise((resolve, reject) => {
        const look = (): void => {
          const found = messages.find(matches);
          if (found === undefined && !ended) return;
          waiting.delete(look);
          if (found === undefined) reject(new Error(`the receiver ended; it had heard ${JSON.stringify(messages)}`));
          else resolve(found);
        };
        waiting.add(look);
        look();
      }),
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill();
      await once(child, 'exit');
    },
  };
}
