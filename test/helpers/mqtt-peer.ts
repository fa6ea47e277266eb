/** Another party on the bus: records what it hears and waits for what it expects. */
import { connectAsync, type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';

export interface Heard {
  readonly topic: string;
  readonly payload: Buffer;
  readonly packet: IPublishPacket;
}

export interface Peer {
  readonly client: MqttClient;
  readonly heard: Heard[];
  /** Resolves to the first message that fits, whether it came already or is still to come. */
  waitFor(fits: (message: Heard) => boolean, what?: string): Promise<Heard>;
  /** The same for a topic, as JSON. */
  json(topic: string, fits?: (value: never) => boolean): Promise<Record<string, unknown>>;
  close(): Promise<void>;
}

export async function connectPeer(
  url: string,
  filters: readonly string[],
  options: IClientOptions = {},
): Promise<Peer> {
  const client = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 100, ...options });
  const heard: Heard[] = [];
  const waiting = new Set<() => void>();
  client.on('message', (topic, payload, packet) => {
    heard.push({ topic, payload, packet });
    for (const check of [...waiting]) check();
  });
  if (filters.length > 0) await client.subscribeAsync([...filters], { qos: 1 });
  const waitFor = async (fits: (message: Heard) => boolean, what = 'a message'): Promise<Heard> =>
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.delete(check);
        const seen = heard.map(({ topic, payload }) => `${topic} ${payload.toString().slice(0, 120)}`).join('\n');
        reject(new Error(`did not hear ${what}; heard:\n${seen}`));
      }, 60_000);
      const check = (): void => {
        const found = heard.find(fits);
        if (found === undefined) return;
        clearTimeout(timer);
        waiting.delete(check);
        resolve(found);
      };
      waiting.add(check);
      check();
    });
  return {
    client,
    heard,
    waitFor,
    json: async (topic, fits = () => true) => {
      const message = await waitFor((m) => m.topic === topic && fits(JSON.parse(m.payload.toString()) as never), topic);
      return JSON.parse(message.payload.toString()) as Record<string, unknown>;
    },
    close: async () => {
      await client.endAsync(true);
    },
  };
}
