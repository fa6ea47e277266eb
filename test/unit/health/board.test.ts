import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { socTemperatureC, throttling } from '../../../daemon/health/board';

let sys: string;

beforeEach(() => {
  sys = mkdtempSync(join(tmpdir(), 'hearth-sys-'));
});

afterEach(() => rmSync(sys, { recursive: true, force: true }));

function put(path: string, content: string): void {
  mkdirSync(dirname(join(sys, path)), { recursive: true });
  writeFileSync(join(sys, path), content);
}

function zone(index: number, type: string, temp: string): void {
  put(`class/thermal/thermal_zone${index}/type`, `${type}\n`);
  put(`class/thermal/thermal_zone${index}/temp`, `${temp}\n`);
}

test('a Raspberry Pi has one zone', async () => {
  zone(0, 'cpu-thermal', '48312');
  expect(await socTemperatureC(sys)).toBe(48.312);
});

test('a Jetson has many; the CPU counts, not the warmest', async () => {
  zone(0, 'GPU-therm', '61000');
  zone(1, 'CPU-therm', '52500');
  zone(2, 'PMIC-Die', '100000');
  expect(await socTemperatureC(sys)).toBe(52.5);
});

test('where none is called so the warmest counts, without broken sensors', async () => {
  zone(0, 'acpitz', '31000');
  zone(1, 'iwlwifi_1', '44000');
  zone(2, 'broken', '-274000');
  zone(3, 'text', 'n/a');
  expect(await socTemperatureC(sys)).toBe(44);
});

test('no sensor is null, not zero', async () => {
  expect(await socTemperatureC(sys)).toBeNull();
});

test('throttling is read bit by bit', async () => {
  put('devices/platform/soc/soc:firmware/get_throttled', '50005\n');
  expect(await throttling(sys, 'absent-command')).toEqual({
    now: ['under-voltage', 'throttled'],
    sinceBoot: ['under-voltage', 'throttled'],
  });
  put('devices/platform/soc/soc:firmware/get_throttled', '80000\n');
  expect(await throttling(sys, 'absent-command')).toEqual({ now: [], sinceBoot: ['soft-temperature-limit'] });
});

test('without the file the firmware tool is asked, and without that it is null', async () => {
  put('vcgencmd', '#!/bin/sh\necho throttled=0x2\n');
  chmodSync(join(sys, 'vcgencmd'), 0o755);
  expect(await throttling(sys, join(sys, 'vcgencmd'))).toEqual({ now: ['frequency-capped'], sinceBoot: [] });
  expect(await throttling(sys, join(sys, 'absent'))).toBeNull();
});
