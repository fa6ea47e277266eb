/** The installed service under a real systemd, process 1 of namespaces of its own: start, faults, update, stop, removal. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

jest.setTimeout(280_000);

const root = process.cwd();

/** Why a systemd cannot be booted here; undefined when it can. */
function obstacle(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can boot a systemd of its own';
  if (!existsSync('/usr/lib/systemd/systemd')) return 'systemd is not installed';
  if (!['', '/unified'].some((path) => existsSync(`/sys/fs/cgroup${path}/cgroup.procs`)))
    return 'there is no cgroup2 here';
  if (/^\/(home|root|tmp|opt|var)\//.test(process.execPath)) return 'Node.js is where no service can see it';
  return undefined;
}

/** The facts the scenario printed, by name. */
function live(): Record<string, string> {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-boot-'));
  try {
    const scenario = join(root, 'test/helpers/service-scenario.sh');
    const { status, stderr } = spawnSync(join(root, 'test/helpers/boot-systemd.sh'), [scenario, directory], {
      encoding: 'utf8',
    });
    const output = existsSync(join(directory, 'output')) ? readFileSync(join(directory, 'output'), 'utf8') : '';
    if (status !== 0) throw new Error(`the scenario did not get to its end:\n${stderr}\n${output}`);
    return Object.fromEntries(
      [...output.matchAll(/^(\w+)=(.*)$/gm)].map(([, name, value]) => [name ?? '', (value ?? '').trim()]),
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const why = obstacle();
const sandbox = 'NoNewPrivs:1 Seccomp:2';

(why === undefined ? test : test.skip)(
  `lives its life under systemd${why === undefined ? '' : ` (skipped: ${why})`}`,
  () => {
    expect(live()).toEqual({
      enabled: 'enabled',
      // The daemon reads what root writes.
      config: 'root:hearth 640',
      models: 'hearth:hearth 755',
      // Exit code 66, and not tried again.
      without_model: 'failed 66 0',
      started: '0',
      state: 'active/running',
      status: expect.stringMatching(/^node [a-z0-9_-]+, hearth\/[a-z0-9_-]+$/) as string,
      user: 'hearth:hearth',
      sandbox: `CapEff:0000000000000000 CapBnd:0000000000000000 ${sandbox}`,
      namespaces: 'own',
      // What of the file system can be written or looked into.
      writable: '/var/lib/hearth',
      runner_sandbox: `CapEff:0000000000000000 ${sandbox}`,
      // The daemon is the same process as before.
      after_runner_was_killed: 'active same 0',
      watchdog: '1',
      updated: 'active new',
      kept: '1',
      stopped: 'inactive success 0',
      left: '0',
      journal: '3',
      // No system call, file or address that the daemon needs was refused.
      denied: '0',
      removed: '',
      remains: '/etc/hearth/hearth.yaml /var/lib/hearth/models/model.gguf',
    });
  },
);
