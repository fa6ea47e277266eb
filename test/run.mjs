/**
 * `npm test`: sets up, builds, and runs every test there is; says at the end how many passed, failed and were skipped.
 *
 *   --cross      also the native tests for arm64, under qemu with every instruction set it knows
 *   --sanitize   also the native tests under AddressSanitizer and UndefinedBehaviorSanitizer
 *   --lint       also the linters and formatters, each of which counts as one test
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, run, SetupError, setUp } from '../daemon/setup.mjs';

const options = new Set(process.argv.slice(2));
const totals = { passed: 0, failed: 0, skipped: 0 };

/** Debian packages by the file that shows that they are there. */
function neededPackages() {
  const needed = {
    mosquitto: '/usr/sbin/mosquitto',
    'mosquitto-clients': '/usr/bin/mosquitto_rr',
    jq: '/usr/bin/jq',
    'python3-paho-mqtt': '/usr/lib/python3/dist-packages/paho/mqtt/client.py',
    'doctest-dev': '/usr/include/doctest/doctest.h',
    systemd: '/usr/bin/systemd-analyze',
    procps: '/usr/bin/pgrep',
    openssl: '/usr/bin/openssl',
    chromium: '/usr/bin/chromium',
  };
  if (options.has('--cross')) {
    needed['g++-aarch64-linux-gnu'] = '/usr/bin/aarch64-linux-gnu-g++';
    needed['qemu-user-static'] = '/usr/bin/qemu-aarch64-static';
  }
  if (options.has('--lint')) needed['clang-format'] = '/usr/bin/clang-format';
  return Object.entries(needed)
    .filter(([, file]) => !existsSync(file))
    .map(([name]) => name);
}

function installPackages() {
  const missing = neededPackages();
  if (missing.length === 0) return;
  const asRoot = process.getuid() === 0 ? [] : ['sudo', '-n'];
  const apt = (...args) => {
    const [command, ...rest] = [...asRoot, 'apt-get', ...args];
    return (
      spawnSync(command, rest, {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      }).status === 0
    );
  };
  console.log(`hearth: installing ${missing.join(' ')}`);
  if (apt('update', '-q') && apt('install', '-y', '-q', '--no-install-recommends', ...missing)) return;
  throw new SetupError(
    `the tests need Debian packages that could not be installed here. Run: sudo apt-get install ${missing.join(' ')}`,
  );
}

function add(name, { passed, failed, skipped }) {
  totals.passed += passed;
  totals.failed += failed;
  totals.skipped += skipped;
  console.log(`hearth: ${name}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
}

function lint(script) {
  console.log(`hearth: ${script}`);
  const { status } = spawnSync('npm', ['run', '--silent', script], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  add(script, status === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 });
}

/** The real tokenizer's pieces as a GGUF file, from a development dependency: too large to be a fixture. */
function makeVocabulary() {
  const path = join(root, 'build/gemma-vocabulary.gguf');
  if (!existsSync(path)) run(process.execPath, ['dist/test/native/gemma-vocabulary.js', path]);
}

/** Builds a variant of the native tests and runs it, through qemu where it is not for this machine. */
function native(name, variables) {
  console.log(`hearth: ${name}`);
  run('make', ['-s', '-j2', '-f', 'test/native/Makefile', 'build', ...variables]);
  const { stdout, status } = spawnSync('make', ['-s', '-f', 'test/native/Makefile', 'check', ...variables], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 << 20,
  });
  process.stdout.write(stdout);
  const counts = /test cases:\s*(\d+) \|\s*(\d+) passed \|\s*(\d+) failed/.exec(stdout);
  if (counts === null) {
    add(name, { passed: 0, failed: 1, skipped: 0 }); // it crashed before it could count
    return;
  }
  const [, ran, passed, failed] = counts.map(Number);
  add(name, { passed, failed: Math.max(failed, status === 0 ? 0 : 1), skipped: ran - passed - failed });
}

function jest() {
  const report = join(root, 'build/jest.json');
  rmSync(report, { force: true });
  spawnSync(process.execPath, ['node_modules/jest/bin/jest.js', '--json', `--outputFile=${report}`], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    // The voice-activity detector and the embedded broker are ES modules.
    env: { ...process.env, NODE_OPTIONS: '--experimental-vm-modules --no-warnings --enable-source-maps' },
  });
  if (!existsSync(report)) {
    add('jest', { passed: 0, failed: 1, skipped: 0 });
    return;
  }
  const results = JSON.parse(readFileSync(report, 'utf8'));
  const broken = results.numRuntimeErrorTestSuites;
  // A test that is skipped says why in its name.
  for (const { assertionResults } of results.testResults) {
    for (const { status, fullName } of assertionResults) {
      if (status === 'pending' || status === 'todo') console.log(`hearth: skipped: ${fullName}`);
    }
  }
  add('jest', {
    passed: results.numPassedTests,
    failed: results.numFailedTests + broken,
    skipped: results.numPendingTests + results.numTodoTests,
  });
}

try {
  installPackages();
  setUp();
  makeVocabulary();
  native('native tests', []);
  if (options.has('--sanitize')) native('native tests under ASan and UBSan', ['SANITIZE=1']);
  if (options.has('--cross')) native('native tests on arm64 under qemu', ['CROSS=aarch64']);
  jest();
  if (options.has('--lint')) {
    lint('lint:ts');
    lint('lint:native');
  }
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`hearth: ${error.message}`);
  totals.failed++;
}
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;
