/** The unit as systemd judges it, and the install script on a tree of its own: no root, nothing outside that tree. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../daemon/config';
import { type DatagramReceiver, receiveDatagrams } from '../helpers/datagram-receiver';

jest.setTimeout(60_000);

const root = process.cwd();
const unitFile = join(root, 'systemd/hearthd.service');
const unit = readFileSync(unitFile, 'utf8');

interface Finished {
  readonly status: number | null;
  readonly text: string;
}

function run(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Finished {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C.UTF-8', ...env },
  });
  if (error !== undefined) throw error;
  return { status, text: stdout + stderr };
}

/** All values of a setting of the unit, in order. */
function settings(name: string): string[] {
  return [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value]) => value ?? '');
}

describe('the unit', () => {
  test('verifies without a word', () => {
    expect(run('systemd-analyze', ['verify', unitFile])).toEqual({ status: 0, text: '' });
  });

  test('a mistake in it would be seen', () => {
    const directory = mkdtempSync(join(tmpdir(), 'hearth-unit-'));
    const wrong = join(directory, 'hearthd.service');
    writeFileSync(wrong, unit.replace('NoNewPrivileges=', 'NoNewPrivilege='));
    expect(run('systemd-analyze', ['verify', wrong]).text).toMatch(/Unknown key.* 'NoNewPrivilege'/);
    rmSync(directory, { recursive: true });
  });

  test('exposes at most 2.0 of 10', () => {
    const { text } = run('systemd-analyze', ['security', '--offline=yes', '--no-pager', unitFile]);
    const exposure = /Overall exposure level for hearthd\.service: ([\d.]+)/.exec(text)?.[1];
    expect(Number(exposure)).toBeLessThanOrEqual(2);
  });

  test('waits longer than a shutdown takes, and is told what not to retry', () => {
    expect(Number(settings('TimeoutStopSec')[0])).toBeGreaterThan(5);
    expect(settings('RestartPreventExitStatus')).toEqual(['64 65 66 78']);
    expect(settings('OOMPolicy')).toEqual(['continue']);
  });

  test('lets through the system calls of Node, its worker threads and a child process', () => {
    const allowed = new Set<string>();
    for (const filter of settings('SystemCallFilter')) {
      const negated = filter.startsWith('~');
      for (const name of filter.replace('~', '').split(' ').flatMap(systemCalls)) {
        if (negated) allowed.delete(name);
        else allowed.add(name);
      }
    }
    // As strace(1) counted them for the daemon with all plugins, its runner, pictures and the embedded broker.
    const used =
      `accept4 access bind brk capget clone clone3 close connect dup2 dup3 epoll_create1 epoll_ctl epoll_pwait
      eventfd2 execve exit_group fcntl fstat futex getcwd getdents64 getegid geteuid getgid getpid getrandom getsockname
      getsockopt gettid getuid ioctl listen lseek madvise mmap mprotect mremap munmap newfstatat openat pipe2 pkey_alloc
      pread64 prlimit64 read readlink recvmsg rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield
      sendmsg sendto set_robust_list set_tid_address setsockopt shutdown socket socketpair statx sysinfo uname unlink
      wait4 write writev`.split(/\s+/);
    expect(used.filter((name) => !allowed.has(name))).toEqual([]);
    expect(['mount', 'ptrace', 'reboot', 'init_module', 'bpf'].filter((name) => allowed.has(name))).toEqual([]);
  });
});

/** A system call, or all of a set such as `@system-service`. */
function systemCalls(name: string): string[] {
  if (!name.startsWith('@')) return [name];
  const { status, text } = run('systemd-analyze', ['syscall-filter', '--no-pager', name]);
  if (status !== 0) throw new Error(text);
  return text
    .split('\n')
    .slice(1)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .flatMap(systemCalls);
}

describe('install.sh', () => {
  let destination: string;
  const installed = (path: string): string => join(destination, path);
  const install = (...args: string[]): Finished =>
    run('sh', [join(root, 'systemd/install.sh'), ...args], { DESTDIR: destination });

  /** Every path below the destination with its mode and size. */
  function tree(): string[] {
    return readdirSync(destination, { recursive: true, encoding: 'utf8', withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => {
        const path = join(entry.parentPath, entry.name);
        const { mode, size } = statSync(path);
        return `${path.slice(destination.length)} ${(mode & 0o777).toString(8)} ${size}`;
      })
      .sort();
  }

  beforeEach(() => {
    destination = mkdtempSync(join(tmpdir(), 'hearth-install-'));
  });

  afterEach(() => {
    rmSync(destination, { recursive: true, force: true });
  });

  test('a second run changes nothing; uninstalling leaves the configuration alone', () => {
    expect(install()).toMatchObject({ status: 0 });
    const first = tree();
    expect(first).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^\/etc\/systemd\/system\/hearthd\.service 644 /),
        expect.stringMatching(/^\/etc\/sysusers\.d\/hearthd\.conf 644 /),
        expect.stringMatching(/^\/etc\/tmpfiles\.d\/hearthd\.conf 644 /),
        expect.stringMatching(/^\/etc\/hearth\/hearth\.yaml 640 /),
        expect.stringMatching(/^\/usr\/local\/lib\/hearth\/build\/Release\/hearth\.node 755 /),
        expect.stringMatching(/^\/usr\/local\/lib\/hearth\/build\/Release\/sd_notify\.node 755 /),
      ]),
    );
    expect(first.filter((path) => /\/node_modules\/(jest|typescript)\//.test(path))).toEqual([]);

    writeFileSync(installed('etc/hearth/hearth.yaml'), 'node: { id: kept }\n');
    const before = tree();
    expect(install()).toMatchObject({ status: 0, text: expect.stringContaining('kept ') });
    expect(tree()).toEqual(before);
    expect(loadConfig({ env: {}, file: installed('etc/hearth/hearth.yaml') }).node.id).toBe('kept');

    expect(install('--uninstall')).toMatchObject({ status: 0 });
    expect(tree().map((line) => line.split(' ')[0])).toEqual(['/etc/hearth/hearth.yaml']);
    expect(install('--uninstall')).toMatchObject({ status: 0 });
  });

  test('the installed unit verifies, with another prefix too', () => {
    expect(install('--prefix', '/opt/hearth')).toMatchObject({ status: 0 });
    const path = installed('etc/systemd/system/hearthd.service');
    expect(readFileSync(path, 'utf8')).toMatch(
      /^ExecStart=\S+.* \/opt\/hearth\/lib\/hearth\/dist\/daemon\/hearthd\.js$/m,
    );
    expect(readFileSync(path, 'utf8')).not.toContain('/usr/local');
    expect(run('systemd-analyze', ['verify', path])).toEqual({ status: 0, text: '' });
  });

  test.each([
    [['--prefix', 'relative'], "expected an absolute path, received 'relative'"],
    [['--prefix', '/home/pi/hearth'], 'the service cannot see /home/pi/hearth'],
    [['--prefix', '/opt/a b'], 'expected a path of letters'],
    [['--prefix'], 'expected a directory'],
    [['--purge'], 'expected --prefix DIR or --uninstall, received --purge'],
  ])('%j is refused', (args, message) => {
    expect(install(...args)).toEqual({ status: 1, text: expect.stringContaining(message) });
    expect(tree()).toEqual([]);
  });

  describe('what was installed', () => {
    let receiver: DatagramReceiver | undefined;
    let child: ChildProcess | undefined;

    afterEach(async () => {
      if (child !== undefined && child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      await receiver?.close();
    });

    test('starts by itself, gets ready and stops', async () => {
      expect(install()).toMatchObject({ status: 0 });
      const socketPath = installed('notify');
      receiver = await receiveDatagrams(socketPath);
      child = spawn(
        installed('usr/local/bin/hearthd'),
        [
          '--model-path',
          join(root, 'test/fixtures/models/e2b-narrow.gguf'),
          '--mqtt-embedded-port',
          '0',
          '--http-port',
          '0',
        ],
        {
          cwd: '/',
          stdio: 'ignore',
          env: { PATH: process.env['PATH'] ?? '', NOTIFY_SOCKET: socketPath, STATE_DIRECTORY: installed('state') },
        },
      );
      await receiver.next((message) => message.startsWith('READY=1\n'));
      child.kill('SIGTERM');
      expect(await once(child, 'exit')).toEqual([0, null]);
      expect(receiver.messages.at(-1)).toBe('STOPPING=1');
    });
  });
});

test('the example configuration is one', () => {
  const config = loadConfig({ env: {}, file: join(root, 'systemd/hearth.yaml') });
  expect(config.model.path).toBe('/var/lib/hearth/models/gemma-3n-e2b.gguf');
  expect(Object.keys(config.streams)).toEqual(['front_door', 'kitchen']);
});
