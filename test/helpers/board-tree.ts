/** A simulated board: the kernel's files in a directory of their own. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { BoardRoots } from '../../daemon/governor/files';

export class BoardTree {
  readonly #directory = mkdtempSync(join(tmpdir(), 'hearth-board-'));
  readonly roots: BoardRoots = {
    sys: join(this.#directory, 'sys'),
    proc: join(this.#directory, 'proc'),
    firmwareTool: null,
  };

  /** `path` begins with `sys/` or `proc/`. */
  put(path: string, content: string): void {
    const file = join(this.#directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${content}\n`);
  }

  zone(index: number, type: string, celsius: number): void {
    this.put(`sys/class/thermal/thermal_zone${index}/type`, type);
    this.put(`sys/class/thermal/thermal_zone${index}/temp`, String(Math.round(celsius * 1000)));
  }

  cooling(index: number, type: string, current: number, max: number): void {
    const device = `sys/class/thermal/cooling_device${index}`;
    this.put(`${device}/type`, type);
    this.put(`${device}/cur_state`, String(current));
    this.put(`${device}/max_state`, String(max));
  }

  frequency(policy: number, current: number, allowed: number, highest: number): void {
    const directory = `sys/devices/system/cpu/cpufreq/policy${policy}`;
    this.put(`${directory}/scaling_cur_freq`, String(current));
    this.put(`${directory}/scaling_max_freq`, String(allowed));
    this.put(`${directory}/cpuinfo_max_freq`, String(highest));
  }

  memory(totalMib: number, availableMib: number): void {
    this.put('proc/meminfo', `MemTotal:       ${totalMib * 1024} kB\nMemAvailable:   ${availableMib * 1024} kB`);
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
