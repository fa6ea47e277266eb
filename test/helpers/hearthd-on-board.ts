/** hearthd on a simulated board: `hearthd-on-board.js SYS PROC --flag value ...`. */
import { loadConfig } from '../../daemon/config';
import { messageOf } from '../../daemon/log';
import { runDaemon } from '../../daemon/main';

const [sys = '', proc = '', ...rest] = process.argv.slice(2);
const flags = Object.fromEntries(
  rest.flatMap((word, i) => (i % 2 === 0 ? [[word.replace(/^--/, ''), rest[i + 1] ?? '']] : [])),
);

// Ends as hearthd does: at once, whatever is still open.
runDaemon(loadConfig({ flags }), { sys, proc, firmwareTool: null }).then(
  () => process.exit(0),
  (error: unknown) => {
    const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'INTERNAL';
    process.stderr.write(`${code}: ${messageOf(error)}\n`);
    process.exit(1);
  },
);
