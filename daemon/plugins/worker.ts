/** Entry of a plugin's worker thread, or of its process. */
import { parentPort, workerData } from 'node:worker_threads';
import { PluginError } from './api';
import { loadModule } from './load-module';
import type { HostMethods, HostNotices, WorkerNotices, WorkerSetup } from './protocol';
import { type Methods, type Port, Rpc } from './rpc';
import { WorkerSide } from './worker-side';

function processPort(): Port {
  if (process.send === undefined) throw new Error('a plugin is started by hearthd, not by hand');
  const send = process.send.bind(process);
  // Nobody is left to work for.
  process.once('disconnect', () => process.exit());
  return { postMessage: (value) => void send(value), on: (event, listener) => process.on(event, listener) };
}

const port = parentPort ?? processPort();
const file = parentPort === null ? (process.argv[2] ?? '') : (workerData as WorkerSetup).file;
const notices: WorkerNotices = {
  ping: () => {
    const { external, heapUsed } = process.memoryUsage();
    rpc.notify('pong', [external, heapUsed]);
  },
};
const side = new WorkerSide(
  async () => await loadModule(file),
  () => rpc,
);
const rpc: Rpc<HostMethods, HostNotices> = new Rpc(port, {
  methods: side.methods as unknown as Methods,
  notices: notices as unknown as Methods,
  toError: ({ code, message, retryable }) => new PluginError(code ?? 'INTERNAL', message, { retryable }),
  onMalformed: (reason) => rpc.notify('log', ['warn', 'the host said something unknown', { reason }]),
});
