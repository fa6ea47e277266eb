/** Whether a broker can be reached with these settings, without becoming visible on it. */

import { HearthError } from '../errors';
import type { Log } from '../log';
import { type BrokerOptions, Connection } from './connection';

export interface ProbeResult {
  readonly protocol: 5 | 4;
}

/** Rejects with `BUS_CONNECT_REFUSED` and the last reason after `timeoutMs`. */
export async function probeBroker(
  broker: BrokerOptions,
  clientId: string,
  timeoutMs: number,
  log: Log,
): Promise<ProbeResult> {
  let last = 'no answer';
  let connection: Connection | undefined;
  try {
    return await new Promise<ProbeResult>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new HearthError('BUS_CONNECT_REFUSED', `${broker.url}: ${last}`)),
        timeoutMs,
      );
      connection = new Connection(
        { broker, clientId, maximumPacketSize: 1 << 20, log },
        {
          onSession: ({ protocol }) => {
            clearTimeout(timer);
            resolve({ protocol });
          },
          onLost: () => undefined,
          onMessage: () => undefined,
          onState: (state) => {
            if (state.phase === 'offline') last = state.reason;
          },
        },
      );
      connection.start();
    });
  } finally {
    await connection?.close(500);
  }
}
