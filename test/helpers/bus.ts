/** A bus with test-sized settings. */
import pino from 'pino';
import { MqttBus, type MqttBusOptions } from '../../daemon/bus/mqtt-bus';

export function createBus(
  url: string,
  overrides: Partial<MqttBusOptions> & { readonly protocol?: 'auto' | 5 | 4 } = {},
): MqttBus {
  const { protocol = 'auto', ...options } = overrides;
  return new MqttBus({
    broker: {
      url,
      credentials: () => ({ username: null, password: null }),
      rejectUnauthorized: true,
      protocol,
      keepaliveSeconds: 30,
      reconnectMaxMs: 300,
      connectTimeoutMs: 5000,
    },
    baseTopic: 'hearth',
    node: 'pi5',
    clientId: 'hearth-pi5',
    eventExpirySeconds: 60,
    outbox: { maxMessages: 1024, maxBytes: 16 << 20, maxAgeMs: 900_000 },
    maxRequestBytes: 64 << 10,
    maxMediaBytes: 1 << 20,
    log: pino({ level: 'silent' }),
    ...options,
  });
}
