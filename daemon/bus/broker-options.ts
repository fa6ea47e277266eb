/** The `mqtt` section of the configuration, as a connection needs it. */
import { readFileSync } from 'node:fs';
import type { Config } from '../config';
import { HearthError } from '../errors';
import { messageOf } from '../log';
import type { BrokerOptions } from './connection';

/** Reads the TLS files. Throws `FILE_UNREADABLE`; the contents of a file are never in the message. */
export function brokerOptions({ mqtt }: Pick<Config, 'mqtt'>, url: string): BrokerOptions {
  const { caFile, certFile, keyFile, rejectUnauthorized } = mqtt.tls;
  const ca = readPem('mqtt.tls.caFile', caFile);
  const cert = readPem('mqtt.tls.certFile', certFile);
  const key = readPem('mqtt.tls.keyFile', keyFile);
  return {
    url,
    username: mqtt.username,
    password: mqtt.password,
    tls: { rejectUnauthorized, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
    protocol: mqtt.protocol,
    keepaliveSeconds: mqtt.keepaliveSeconds,
    reconnectMaxMs: mqtt.reconnectMaxSeconds * 1000,
  };
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
