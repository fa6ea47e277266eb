/** A request to a running daemon from a program beside it, such as the command line. */
import { ulid } from 'ulid';
import { type ErrorCode, HearthError } from '../errors';
import { isRecord } from '../json';
import { createLog } from '../log';
import { type BrokerOptions, Connection, type Session } from './connection';
import { Topics } from './topics';

export interface AskOptions {
  readonly broker: BrokerOptions;
  readonly baseTopic: string;
  readonly node: string;
  readonly verb: string;
  readonly payload: Readonly<Record<string, unknown>>;
  /** How long to look for a daemon, and how long that may take to answer. */
  readonly findTimeoutMs: number;
  readonly answerTimeoutMs: number;
}

export type Asked = { readonly answered: true; readonly data: unknown } | { readonly answered: false };

function parse(payload: Buffer | string): unknown {
  try {
    return JSON.parse(payload.toString());
  } catch {
    return undefined;
  }
}

/**
 * Resolves to what the daemon answered, or to that there is none: no broker, or one that says of no daemon that it is
 * online. Rejects with the daemon's error, or with `REQUEST_TIMEOUT` when an online one does not answer.
 */
export async function askDaemon(options: AskOptions): Promise<Asked> {
  const { broker, baseTopic, node, verb } = options;
  const topics = new Topics(baseTopic, node);
  const id = ulid();
  let connection: Connection | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Asked>((resolve, reject) => {
      timer = setTimeout(() => resolve({ answered: false }), options.findTimeoutMs);
      let asked = false;
      const ask = ({ client }: Session): void => {
        if (asked) return;
        asked = true;
        clearTimeout(timer);
        const late = new HearthError('REQUEST_TIMEOUT', `${verb}: ${node} is online and did not answer`);
        timer = setTimeout(() => reject(late), options.answerTimeoutMs);
        client.publish(topics.request(verb), JSON.stringify({ ...options.payload, id }), { qos: 1 });
      };
      connection = new Connection(
        { broker, clientId: `hearth-ask-${id}`, maximumPacketSize: 1 << 20, log: createLog({ level: 'silent' }) },
        {
          onSession: ({ client }) => void client.subscribe([topics.response(verb), topics.state], { qos: 1 }),
          onLost: () => undefined,
          onState: () => undefined,
          onMessage: ({ topic, payload }, session) => {
            const message = parse(payload);
            if (!isRecord(message)) return;
            if (topic === topics.state) {
              if (message['state'] === 'online') ask(session);
              else if (!asked) resolve({ answered: false });
            } else if (message['id'] === id) {
              if (message['ok'] === true) resolve({ answered: true, data: message['data'] });
              else reject(asError(message['error']));
            }
          },
        },
      );
      connection.start();
    });
  } finally {
    clearTimeout(timer);
    await connection?.close(500);
  }
}

function asError(error: unknown): HearthError {
  const { code, message } = isRecord(error) ? error : {};
  return new HearthError(typeof code === 'string' ? (code as ErrorCode) : 'INTERNAL', String(message));
}
