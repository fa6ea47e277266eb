/** What is read of a board, from trees of files as the kernels of real ones have them. */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { readBoard } from '../../../daemon/governor/board';
import { readMemory } from '../../../daemon/governor/memory';
import { readThermal } from '../../../daemon/governor/thermal';
import { readFrequency, readThrottling } from '../../../daemon/governor/throttling';
import { BoardTree } from '../../helpers/board-tree';

let board: BoardTree;

beforeEach(() => {
  board = new BoardTree();
});

afterEach(() => board.remove());

const temperature = async (): Promise<number | null> => (await readThermal(board.roots.sys)).temperatureC;

test('a board that tells nothing is no error: null, not zero', async () => {
  expect(await readBoard(board.roots)).toEqual({
    temperatureC: null,
    passiveTripC: null,
    cooling: 0,
    throttled: null,
    frequency: null,
    memory: { totalBytes: Number.NaN, availableBytes: Number.NaN, pressure: null },
  });
});

describe('temperature', () => {
  test('a Raspberry Pi has one zone, and trip points for its fan only', async () => {
    board.zone(0, 'cpu-thermal', 48.312);
    board.put('sys/class/thermal/thermal_zone0/trip_point_0_type', 'critical');
    board.put('sys/class/thermal/thermal_zone0/trip_point_0_temp', '110000');
    board.put('sys/class/thermal/thermal_zone0/trip_point_1_type', 'active');
    board.put('sys/class/thermal/thermal_zone0/trip_point_1_temp', '50000');
    expect(await readThermal(board.roots.sys)).toEqual({ temperatureC: 48.312, passiveTripC: null, cooling: 0 });
  });

  test('a Jetson has many; the CPU counts, not the warmest, with its lowest passive trip point', async () => {
    board.zone(0, 'GPU-therm', 61);
    board.zone(1, 'CPU-therm', 52.5);
    board.zone(2, 'PMIC-Die', 100);
    for (const [index, celsius] of [99, 97, 0].entries()) {
      board.put(`sys/class/thermal/thermal_zone1/trip_point_${index}_type`, 'passive');
      board.put(`sys/class/thermal/thermal_zone1/trip_point_${index}_temp`, String(celsius * 1000));
    }
    expect(await readThermal(board.roots.sys)).toEqual({ temperatureC: 52.5, passiveTripC: 97, cooling: 0 });
  });

  test('where none is called so the warmest counts, without broken sensors', async () => {
    board.zone(0, 'acpitz', 31);
    board.zone(10, 'iwlwifi_1', 44);
    board.zone(2, 'broken', -274);
    board.put('sys/class/thermal/thermal_zone3/type', 'text');
    board.put('sys/class/thermal/thermal_zone3/temp', 'n/a');
    expect(await temperature()).toBe(44);
  });

  test('cooling counts where it costs speed; a fan costs none', async () => {
    board.cooling(0, 'pwm-fan', 4, 4);
    board.cooling(1, 'cpufreq-cpu0', 3, 12);
    board.cooling(2, 'intel_powerclamp', -1, 50);
    board.cooling(3, 'broken-cpu', 1, 0);
    expect((await readThermal(board.roots.sys)).cooling).toBe(0.25);
    board.cooling(10, 'cpu-throttle-alert', 1, 1);
    expect((await readThermal(board.roots.sys)).cooling).toBe(1);
  });
});

describe('throttling', () => {
  const firmware = 'sys/devices/platform/soc/soc:firmware/get_throttled';

  test('is read bit by bit', async () => {
    board.put(firmware, '50005');
    expect(await readThrottling(board.roots)).toEqual({
      now: ['under-voltage', 'throttled'],
      sinceBoot: ['under-voltage', 'throttled'],
    });
    board.put(firmware, '80000');
    expect(await readThrottling(board.roots)).toEqual({ now: [], sinceBoot: ['soft-temperature-limit'] });
    board.put(firmware, 'what');
    expect(await readThrottling(board.roots)).toBeNull();
  });

  test('the file of a Raspberry Pi 5 has an address in its name', async () => {
    board.put('sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled', '8');
    expect(await readThrottling(board.roots)).toEqual({ now: ['soft-temperature-limit'], sinceBoot: [] });
  });

  test('the voltage alarm counts as well, with the firmware and alone', async () => {
    board.put('sys/class/hwmon/hwmon0/name', 'cpu_thermal');
    board.put('sys/class/hwmon/hwmon1/name', 'rpi_volt');
    board.put('sys/class/hwmon/hwmon1/in0_lcrit_alarm', '1');
    expect(await readThrottling(board.roots)).toEqual({ now: ['under-voltage'], sinceBoot: [] });
    board.put(firmware, '4');
    expect(await readThrottling(board.roots)).toEqual({ now: ['under-voltage', 'throttled'], sinceBoot: [] });
    board.put('sys/class/hwmon/hwmon1/in0_lcrit_alarm', '0');
    expect(await readThrottling(board.roots)).toEqual({ now: ['throttled'], sinceBoot: [] });
  });

  test('without the file the firmware tool is asked, and without that it is null', async () => {
    board.put('sys/vcgencmd', '#!/bin/sh\necho throttled=0x2');
    const tool = join(board.roots.sys, 'vcgencmd');
    chmodSync(tool, 0o755);
    expect(await readThrottling({ ...board.roots, firmwareTool: tool })).toEqual({
      now: ['frequency-capped'],
      sinceBoot: [],
    });
    expect(await readThrottling({ ...board.roots, firmwareTool: join(board.roots.sys, 'absent') })).toBeNull();
  });

  test('frequencies: the fastest core, and the one that may do least', async () => {
    board.frequency(0, 600_000, 2_400_000, 2_400_000);
    board.frequency(4, 1_500_000, 1_500_000, 2_000_000);
    board.put('sys/devices/system/cpu/cpufreq/policy5/cpuinfo_max_freq', 'unknown');
    expect(await readFrequency(board.roots.sys)).toEqual({ current: 0.75, limit: 0.75 });
  });
});

describe('memory', () => {
  const mib = 2 ** 20;

  test('is what the kernel calls available, and the share of time spent waiting for it', async () => {
    board.memory(8192, 5000);
    board.put(
      'proc/pressure/memory',
      'some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=3.00 avg60=0.00 avg300=0.00 total=1',
    );
    expect(await readMemory(board.roots)).toEqual({
      totalBytes: 8192 * mib,
      availableBytes: 5000 * mib,
      pressure: 12.5,
    });
  });

  test('is limited by the control group and by each above it; file pages can be dropped', async () => {
    board.memory(8192, 5000);
    board.put('proc/self/cgroup', '0::/system.slice/hearthd.service');
    const group = 'sys/fs/cgroup/system.slice';
    board.put(`${group}/memory.max`, 'max');
    board.put(`${group}/memory.current`, String(4000 * mib));
    board.put(`${group}/hearthd.service/memory.max`, String(2000 * mib));
    board.put(`${group}/hearthd.service/memory.high`, String(1800 * mib));
    board.put(`${group}/hearthd.service/memory.current`, String(1500 * mib));
    board.put(`${group}/hearthd.service/memory.stat`, `anon 1\ninactive_file ${500 * mib}\nactive_file ${100 * mib}`);
    expect(await readMemory(board.roots)).toMatchObject({ totalBytes: 1800 * mib, availableBytes: 900 * mib });
    board.put(`${group}/memory.max`, String(4100 * mib));
    expect(await readMemory(board.roots)).toMatchObject({ totalBytes: 1800 * mib, availableBytes: 100 * mib });
  });

  test('a group that names a way out of its tree, or is of version 1, limits nothing', async () => {
    board.memory(8192, 5000);
    board.put('proc/self/cgroup', '0::/../../etc\n');
    expect(await readMemory(board.roots)).toMatchObject({ availableBytes: 5000 * mib });
    board.put('proc/self/cgroup', '4:memory:/system.slice');
    expect(await readMemory(board.roots)).toMatchObject({ availableBytes: 5000 * mib });
  });
});
