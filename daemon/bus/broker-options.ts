/** The `mqtt` section of the configuration, as a connection needs it. */
import { readFileSync } from 'node:fs';
import { timingOf } from '../cluster/timing';
import { type Config, readMqttPassword } from '../config';
import { HearthError } from '../errors';
import { messageOf } from '../log';
import type { BrokerOptions, Credentials } from './connection';

/**
 * Throws `FILE_UNREADABLE`, now and whenever `credentials` is called: files are read for every attempt to connect, so
 * that a renewed certificate or password needs no restart. The contents of a file are never in the message.
 */
export function brokerOptions({ mqtt }: Pick<Config, 'mqtt'>, url: string): BrokerOptions {
  const credentials = (): Credentials => {
    const ca = readPem('mqtt.tls.caFile', mqtt.tls.caFile);
    const cert = readPem('mqtt.tls.certFile', mqtt.tls.certFile);
    const key = readPem('mqtt.tls.keyFile', mqtt.tls.keyFile);
    return {
      username: mqtt.username,
      password: readPassword(mqtt),
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...(key && { key }),
    };
  };
  credentials();
  return {
    url,
    credentials,
    rejectUnauthorized: mqtt.tls.rejectUnauthorized,
    protocol: mqtt.protocol,
    keepaliveSeconds: mqtt.keepaliveSeconds,
    reconnectMaxMs: mqtt.reconnectMaxSeconds * 1000,
  };
}

/**
 * How long the broker keeps what comes for this node while its connection is broken. In a cluster no longer than until the
 * others take it for gone: what they say to each other is queued for it as well, and a full queue has no room for requests.
 */
export function sessionExpirySeconds({ mqtt, cluster }: Pick<Config, 'mqtt' | 'cluster'>): number {
  if (cluster.name === null) return mqtt.eventExpirySeconds;
  const { deadMs } = timingOf(cluster.leaseSeconds * 1000, 0);
  return Math.min(mqtt.eventExpirySeconds, Math.ceil(deadMs / 1000));
}

function readPassword({ password, passwordFile }: Config['mqtt']): string | null {
  if (passwordFile === null) return password;
  try {
    return readMqttPassword(passwordFile);
  } catch (cause) {
    throw new HearthError('FILE_UNREADABLE', `mqtt.passwordFile: ${messageOf(cause)}`, { cause });
  }
}

function readPem(option: string, path: string | null): Buffer | undefined {
  if (path === null) return undefined;
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (cause) {
    throw new HearthError('FILE_UNREADABLE', `${option}: ${messageOf(cause)}`, { cause });
  }
  if (!content.includes('-----BEGIN ')) {
    throw new HearthError(
      'FILE_UNREADABLE',
      `${option}: expected a PEM file, received ${content.length} bytes without a BEGIN line (${path})`,
    );
  }
  return content;
}
