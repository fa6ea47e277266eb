/** Entry of a plugin's worker thread. */
import { parentPort, workerData } from 'node:worker_threads';
import { PluginError } from './api';
import type { HostMethods, HostNotices, WorkerNotices, WorkerSetup } from './protocol';
import { type Methods, Rpc } from './rpc';
import { WorkerSide } from './worker-side';

if (parentPort === null) throw new Error('a plugin worker is started by hearthd, not by hand');

const { file } = workerData as WorkerSetup;
const notices: WorkerNotices = {
  ping: () => rpc.notify('pong', [process.memoryUsage().external]),
};
const side = new WorkerSide(file, () => rpc);
const rpc: Rpc<HostMethods, HostNotices> = new Rpc(parentPort, {
  methods: side.methods as unknown as Methods,
  notices: notices as unknown as Methods,
  toError: ({ code, message, retryable }) => new PluginError(code ?? 'INTERNAL', message, { retryable }),
  onMalformed: (reason) => rpc.notify('log', ['warn', 'the host said something unknown', { reason }]),
});
