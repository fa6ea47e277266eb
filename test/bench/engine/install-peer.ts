/**
 * Fetches node-llama-cpp, pinned, into a directory of its own when the bench first needs it. It is no development
 * dependency: with its GPU builds and its own build tools it would add some hundred packages and hundreds of megabytes
 * to every `npm ci`, for a tool few run. The prebuilt library of this machine's CPU comes as a package of its own; no
 * install script runs and nothing is compiled.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const peerVersion = '3.22.1';

const binaries: Readonly<Record<string, string>> = {
  x64: '@node-llama-cpp/linux-x64',
  arm64: '@node-llama-cpp/linux-arm64',
};

export function installPeer(directory: string, onProgress: (line: string) => void): void {
  const binary = binaries[process.arch];
  if (binary === undefined) throw new Error(`there is no prebuilt llama.cpp for ${process.arch}; use --no-peer`);
  const packages = ['node-llama-cpp', binary];
  if (packages.every((name) => versionOf(directory, name) === peerVersion)) return;
  onProgress(`installing node-llama-cpp ${peerVersion} into ${directory}`);
  mkdirSync(directory, { recursive: true });
  const { status, stderr, error } = spawnSync(
    'npm',
    [
      'install',
      '--prefix',
      directory,
      '--ignore-scripts',
      '--omit=optional',
      '--no-audit',
      '--no-fund',
      '--no-package-lock',
      '--save-exact',
      ...packages.map((name) => `${name}@${peerVersion}`),
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' },
  );
  if (status !== 0)
    throw new Error(
      `node-llama-cpp ${peerVersion} could not be installed; use --no-peer to go without\n${error?.message ?? stderr}`,
    );
}

function versionOf(directory: string, name: string): string | undefined {
  const path = join(directory, 'node_modules', name, 'package.json');
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version : undefined;
}
