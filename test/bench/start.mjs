/** `npm run bench -- <what>`: sets up what is missing, then runs the bench. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root, SetupError, setUp } from '../../daemon/setup.mjs';

try {
  setUp();
  const { status } = spawnSync(
    process.execPath,
    ['--enable-source-maps', join(root, 'dist/test/bench/main.js'), ...process.argv.slice(2)],
    { cwd: root, stdio: 'inherit' },
  );
  process.exitCode = status ?? 1;
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`hearth: ${error.message}`);
  process.exitCode = 1;
}
