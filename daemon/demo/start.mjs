/** `npm run demo`: sets up what is missing, then runs the demonstration. `npm run demo -- --once` plays one round. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root, SetupError, setUp } from '../setup.mjs';

try {
  setUp();
  const demo = spawn(
    process.execPath,
    ['--enable-source-maps', join(root, 'dist/daemon/demo/main.js'), ...process.argv.slice(2)],
    {
      cwd: root,
      stdio: 'inherit',
    },
  );
  // Ctrl-C reaches the demonstration too, and it is the one that cleans up.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => demo.kill('SIGTERM'));
  demo.on('exit', (code) => {
    process.exitCode = code ?? 1;
  });
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`hearth: ${error.message}`);
  process.exitCode = 1;
}
