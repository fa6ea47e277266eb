/**
 * What both commands of the README need before they can start: dependencies, the addon, the compiled TypeScript. Plain
 * Node, so that it runs in a clone that has nothing yet. Steps that are up to date are skipped.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const minimumNode = [20, 17];

export class SetupError extends Error {}

/** Runs a command in the project's root; its output is shown. Throws `SetupError` when it fails. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    ...options,
  });
  if (error) throw new SetupError(`${command} could not be started: ${error.message}`);
  if (status !== 0) throw new SetupError(`${command} ${args.join(' ')} failed`);
}

function step(text) {
  process.stdout.write(`hearth: ${text}\n`);
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < minimumNode[0] || (major === minimumNode[0] && minor < minimumNode[1])) {
    throw new SetupError(`Node.js ${minimumNode.join('.')} or newer is needed; this is ${process.versions.node}`);
  }
}

function checkTools() {
  const missing = ['python3', 'make', 'g++'].filter(
    (tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error,
  );
  if (missing.length > 0)
    throw new SetupError(
      `to build the addon, install: sudo apt-get install python3 make g++ (missing: ${missing.join(' ')})`,
    );
}

function modified(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

/** Newest change below the folders, among files with these endings. */
function newest(folders, endings) {
  let time = 0;
  for (const folder of folders) {
    for (const name of readdirSync(join(root, folder), { recursive: true })) {
      if (endings.some((ending) => name.endsWith(ending))) time = Math.max(time, modified(join(root, folder, name)));
    }
  }
  return time;
}

function installDependencies() {
  const installed = modified(join(root, 'node_modules/.package-lock.json'));
  if (installed >= modified(join(root, 'package-lock.json')) && installed > 0) return;
  step('installing dependencies');
  run('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts']);
}

/** The folder of the headers that came with this Node, if they did: node-gyp would download them, which needs a network. */
function ownHeaders() {
  const prefix = join(dirname(process.execPath), '..');
  const header = join(prefix, 'include/node/node_version.h');
  if (!existsSync(header)) return undefined;
  const text = readFileSync(header, 'utf8');
  const part = (name) => new RegExp(`#define NODE_${name}_VERSION (\\d+)`).exec(text)?.[1];
  return ['MAJOR', 'MINOR', 'PATCH'].map(part).join('.') === process.versions.node ? prefix : undefined;
}

function buildAddon() {
  const stamp = join(root, 'build/.addon-built');
  if (modified(stamp) > Math.max(newest(['addon'], ['.cc', '.h', '.inc']), modified(join(root, 'binding.gyp')))) return;
  checkTools();
  step('building the native runtime (a minute or two the first time)');
  const gyp = join(root, 'node_modules/node-gyp/bin/node-gyp.js');
  const headers = ownHeaders();
  const nodeDirectory = headers === undefined || process.env.npm_config_nodedir ? [] : [`--nodedir=${headers}`];
  run(process.execPath, [gyp, 'configure', 'build', '--silent', ...nodeDirectory], {
    env: { ...process.env, JOBS: 'max' },
  });
  writeFileSync(stamp, '');
}

/** Output whose source is gone would still be run, and tested. */
function removeStaleOutput() {
  const output = join(root, 'dist');
  if (!existsSync(output)) return;
  for (const name of readdirSync(output, { recursive: true })) {
    const source = name.replace(/\.(js|js\.map|d\.ts)$/, '.ts');
    if (source !== name && !existsSync(join(root, source))) rmSync(join(output, name));
  }
}

function compileTypeScript() {
  removeStaleOutput();
  const compiled = modified(join(root, 'dist/.tsbuildinfo'));
  if (compiled > Math.max(newest(['daemon', 'plugins', 'test'], ['.ts']), modified(join(root, 'tsconfig.json'))))
    return;
  step('compiling');
  run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json']);
}

export function setUp() {
  checkNode();
  installDependencies();
  buildAddon();
  compileTypeScript();
}
