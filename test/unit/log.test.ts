import { createLog, type LogRecord } from '../../daemon/log';

function capture(level: 'debug' | 'info') {
  const lines: Record<string, unknown>[] = [];
  const tapped: LogRecord[] = [];
  const log = createLog({
    level,
    tap: (record) => tapped.push(record),
    destination: { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  });
  return { log, lines, tapped };
}

test('a line has level, namespace, message and time; the tap gets no fields', () => {
  const { log, lines, tapped } = capture('info');
  log.child({ ns: 'bus' }).info({ url: 'mqtt://host' }, 'connected');
  expect(lines).toEqual([
    { level: 'info', ns: 'bus', url: 'mqtt://host', msg: 'connected', ts: expect.any(Number) as number },
  ]);
  expect(tapped).toEqual([{ level: 'info', ns: 'bus', msg: 'connected', ts: expect.any(Number) as number }]);
});

test('debug never reaches the tap, and what is below the level neither', () => {
  const { log, lines, tapped } = capture('debug');
  log.debug('detail');
  expect(lines).toHaveLength(1);
  expect(tapped).toEqual([]);
});

test('secrets are not written', () => {
  const { log, lines } = capture('info');
  log.info({ password: 'hunter2', mqtt: { password: 'hunter2', token: 'hunter2' } }, 'configuration');
  expect(JSON.stringify(lines)).not.toContain('hunter2');
  expect(lines[0]).toMatchObject({ password: '***', mqtt: { password: '***' } });
});
