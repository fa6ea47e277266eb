import { sessionExpirySeconds } from '../../../daemon/bus/broker-options';
import { loadConfig } from '../../../daemon/config';

function keptFor(config: Record<string, string>): number {
  return sessionExpirySeconds(loadConfig({ file: '/dev/null', env: {}, flags: config }));
}

test('a broker keeps requests for a node that is away as long as events', () => {
  expect(keptFor({ 'mqtt-event-expiry-seconds': '3600' })).toBe(3600);
});

test('in a cluster no longer than until the others take it for gone, since their heartbeats are kept, too', () => {
  const cluster = { 'cluster-name': 'home', 'cluster-lease-seconds': '2.4' };
  expect(keptFor({ ...cluster, 'mqtt-event-expiry-seconds': '3600' })).toBe(5);
  expect(keptFor({ ...cluster, 'mqtt-event-expiry-seconds': '3' })).toBe(3);
});
