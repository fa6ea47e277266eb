/** MQTT 5 properties, as they go out and come in. */
import type { IClientPublishOptions, IPublishPacket } from 'mqtt';
import type { PacketProperties, PublishOptions } from './bus';

/** `expiresAtMs`: Unix time in milliseconds after which the message is worth nothing to anyone. */
export function clientOptions(protocol: 5 | 4, options: PublishOptions, expiresAtMs: number): IClientPublishOptions {
  const common = { qos: options.qos ?? 0, retain: options.retain ?? false } as const;
  if (protocol !== 5) return common;
  const leftSeconds = Math.max(1, Math.ceil((expiresAtMs - Date.now()) / 1000));
  const expiry = options.expirySeconds === undefined ? undefined : Math.min(options.expirySeconds, leftSeconds);
  return {
    ...common,
    properties: {
      ...(expiry === undefined ? {} : { messageExpiryInterval: expiry }),
      ...(options.contentType === undefined ? {} : { contentType: options.contentType }),
      ...(options.utf8 === undefined ? {} : { payloadFormatIndicator: options.utf8 }),
      ...(options.correlationData === undefined ? {} : { correlationData: Buffer.from(options.correlationData) }),
    },
  };
}

/** All absent on 3.1.1. */
export function propertiesOf({ properties }: IPublishPacket): PacketProperties {
  if (properties === undefined) return {};
  const { contentType, responseTopic, correlationData, userProperties } = properties;
  return {
    ...(contentType === undefined ? {} : { contentType }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(correlationData === undefined ? {} : { correlationData }),
    // A name given twice keeps its last value.
    ...(userProperties === undefined
      ? {}
      : {
          userProperties: Object.fromEntries(
            Object.entries(userProperties).map(([name, value]) => [name, [value].flat().at(-1) ?? '']),
          ),
        }),
  };
}
