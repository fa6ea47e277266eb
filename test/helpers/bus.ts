/** A bus with test-sized settings. */
import pino from 'pino';
import type { BrokerOptions } from '../../daemon/bus/connection';
import { MqttBus, type MqttBusOptions } from '../../daemon/bus/mqtt-bus';

export function brokerAt(url: string): BrokerOptions {
  return {
    url,
    credentials: () => ({ username: null, password: null }),
    rejectUnauthorized: true,
    protocol: 'auto',
    keepaliveSeconds: 30,
    reconnectMaxMs: 300,
    connectTimeoutMs: 5000,
  };
}

export function createBus(
  url: string,
  overrides: Partial<MqttBusOptions> & { readonly protocol?: 'auto' | 5 | 4 } = {},
): MqttBus {
  const { protocol = 'auto', ...options } = overrides;
  return new MqttBus({
    broker: { ...brokerAt(url), protocol },
    baseTopic: 'hearth',
    node: 'pi5',
    clientId: 'hearth-pi5',
    eventExpirySeconds: 60,
    sessionExpirySeconds: 60,
    outbox: { maxMessages: 1024, maxBytes: 16 << 20, maxAgeMs: 900_000 },
    maxRequestBytes: 64 << 10,
    maxMediaBytes: 1 << 20,
    log: pino({ level: 'silent' }),
    ...options,
  });
}
