/** What waits for the broker: over its end and the daemon's own, and within its bounds. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import pino from 'pino';
import { Journal } from '../../../daemon/bus/journal';
import type { MqttBus } from '../../../daemon/bus/mqtt-bus';
import type { StreamEvent } from '../../../daemon/events';
import { createBus } from '../../helpers/bus';
import { startHearthd } from '../../helpers/hearthd';
import { startMosquitto } from '../../helpers/mosquitto';
import { connectPeer } from '../../helpers/mqtt-peer';

jest.setTimeout(180_000);

const cleanup: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-outbox-'));
  cleanup.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A subscriber whose session a broker keeps on its disk, and everything it hears. */
async function lastingSubscriber(url: string): Promise<{ client: MqttClient; heard: [string, string, unknown][] }> {
  const client = await connectAsync(url, {
    protocolVersion: 5,
    clientId: 'lasting',
    clean: false,
    reconnectPeriod: 100,
    properties: { sessionExpiryInterval: 3600 },
  });
  const heard: [string, string, unknown][] = [];
  client.on('message', (topic, payload, { properties }) =>
    heard.push([topic, payload.toString(), properties?.correlationData?.toString()]),
  );
  client.on('error', () => undefined);
  await client.subscribeAsync(['hearth/pi5/response/#', 'hearth/pi5/out/+/+', 'replies/#'], { qos: 1 });
  cleanup.push(async () => await client.endAsync(true));
  return { client, heard };
}

test('what a killed daemon had for a broker that was away is sent by the next one, in order and once', async () => {
  const stateDirectory = temporary();
  const broker = await startMosquitto(['persistence true', 'persistence_location DIR/']);
  cleanup.push(() => broker.stop());
  const { client, heard } = await lastingSubscriber(broker.url);
  await broker.save();
  const peer = await connectPeer(broker.url, ['hearth/pi5/#']);
  cleanup.push(() => peer.close());
  const config = { stateDirectory, queue: { concurrency: 1 }, mqtt: { url: broker.url, eventExpirySeconds: 1 } };
  const first = await startHearthd(broker.url, peer, config);
  cleanup.push(() => first.stop());

  const schema = { type: 'array', items: { enum: ['yes', 'no'] }, minItems: 150, maxItems: 150 };
  const ask = async (id: string): Promise<unknown> =>
    await client.publishAsync(
      'hearth/pi5/request/generate',
      JSON.stringify({
        id,
        prompt: 'Hello',
        maxTokens: 700,
        schema,
        stream: 'desk',
        ...(id === 'three' && { seed: 3 }),
      }),
      { qos: 1, properties: id === 'two' ? { responseTopic: 'replies/me', correlationData: Buffer.from('mine') } : {} },
    );
  for (const id of ['one', 'two', 'three']) await ask(id);
  await peer.client.publishAsync('hearth/pi5/request/health', '{"id":"h"}', { qos: 1 });
  const { data } = (await peer.json('hearth/pi5/response/health')) as { data: { queue: Record<string, number> } };
  expect((data.queue['running'] ?? 0) + (data.queue['depth'] ?? 0)).toBe(3);
  heard.length = 0;
  await broker.stop();
  const journal = join(stateDirectory, 'outbox-pi5.journal');
  const waits = (id: string): boolean => readFileSync(journal, 'latin1').includes(`{"id":"${id}","ok":true`);
  await until(
    () => waits('three'),
    () => `${readFileSync(journal, 'latin1').slice(0, 2000)}\n${first.output()}`,
  );
  process.kill(first.pid, 'SIGKILL');
  await first.stop();
  expect(['one', 'two', 'three'].map(waits)).toEqual([true, true, true]);

  await broker.start();
  const second = await startHearthd(broker.url, await reconnected(peer), config);
  cleanup.push(() => second.stop());
  const answers = (): typeof heard =>
    heard.filter(([topic]) => /^(replies|hearth\/pi5\/response\/generate)/.test(topic));
  await until(
    () => answers().length >= 3,
    () => `${JSON.stringify(heard).slice(0, 3000)}\n${second.output()}`,
  );
  expect(
    answers().map(([topic, text, correlation]) => [topic, (JSON.parse(text) as { id: string }).id, correlation]),
  ).toEqual([
    ['hearth/pi5/response/generate', 'one', undefined],
    ['replies/me', 'two', 'mine'],
    ['hearth/pi5/response/generate', 'three', undefined],
  ]);
  const events = heard.filter(([topic]) => topic === 'hearth/pi5/out/desk/answer');
  expect(events.map(([, text]) => (JSON.parse(text) as { id: string }).id)).toEqual(['one', 'two', 'three']);
  expect(second.output()).toContain('taken up again');
  expect(readFileSync(journal, 'latin1')).not.toContain('"ok":true');
});

test('whoever hears what is published hears each event once: when it happens, not when it is sent or taken up', async () => {
  const path = join(temporary(), 'outbox.journal');
  const log = pino({ level: 'silent' });
  const broker = await startMosquitto();
  cleanup.push(() => broker.stop());
  await broker.stop();
  const told: string[] = [];
  const start = (who: string): MqttBus => {
    const bus = createBus(broker.url, {
      journal: Journal.open({ path, destination: 'here', maxFileBytes: 1 << 20, log }),
      onPublish: (published) => told.push(`${who} ${published.type === 'event' ? published.event.id : published.type}`),
    });
    bus.start();
    cleanup.push(() => bus.close());
    return bus;
  };
  const event = (id: string): StreamEvent => ({
    v: 1,
    id,
    kind: 'caption',
    node: 'pi5',
    stream: 'door',
    ts: 1,
    captured_ts: 1,
    latency_ms: 1,
    text: id,
  });

  const first = start('first');
  await first.publishEvent(event('a'));
  expect(told).toEqual(['first a']);
  await first.close();

  const second = start('second');
  await second.publishEvent(event('b'));
  await broker.start();
  const peer = await connectPeer(broker.url, ['hearth/pi5/out/door/caption/last']);
  cleanup.push(() => peer.close());
  await peer.json('hearth/pi5/out/door/caption/last', ({ id }: { id: string }) => id === 'b');
  await until(
    () => second.counters.outboxMessages === 0,
    () => JSON.stringify(second.counters),
  );
  expect(told).toEqual(['first a', 'second b']);
});

/** A machine with much else to do is given its time; in vain only where something is wrong. */
async function until(holds: () => boolean, otherwise: () => string): Promise<void> {
  for (let attempt = 0; attempt < 1200; attempt++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(otherwise());
}

async function reconnected<T extends { client: MqttClient; heard: unknown[] }>(peer: T): Promise<T> {
  await until(
    () => peer.client.connected,
    () => 'the peer is not connected',
  );
  peer.heard.length = 0;
  return peer;
}

test.each([5, 4] as const)(
  'a broker that stops reading costs bounded memory: the oldest give way, counted, and the rest arrives in order (MQTT %i)',
  async (protocol) => {
    const broker = await startMosquitto();
    cleanup.push(() => broker.stop());
    const maxMessages = 100;
    const bus = createBus(broker.url, { protocol, outbox: { maxMessages, maxBytes: 8 << 20, maxAgeMs: 600_000 } });
    cleanup.push(() => bus.close());
    bus.start();
    await bus.ready();
    const peer = await connectPeer(broker.url, ['news', 'chatter'], { protocolVersion: protocol });
    cleanup.push(() => peer.close());
    await bus.publish('news', 'first', { qos: 1 });
    await peer.waitFor(({ topic }) => topic === 'news');
    broker.freeze();
    cleanup.push(() => broker.thaw());
    const filler = 'x'.repeat(20_000);
    const outcomes = Array.from({ length: 1000 }, (_, i) =>
      bus.publish('news', `${i} ${filler}`, { qos: 1 }).then(
        () => i,
        ({ code }: { code: string }) => code,
      ),
    );
    const chatter = Array.from({ length: 1000 }, () =>
      bus.publish('chatter', filler).then(
        () => 'sent',
        ({ code }: { code: string }) => code,
      ),
    );
    expect(bus.counters).toMatchObject({ outboxMessages: maxMessages, outboxEvicted: 1000 - maxMessages });
    expect(bus.counters.outboxBytes).toBeLessThanOrEqual(maxMessages * (filler.length + '999 news'.length));
    broker.thaw();
    const settled = await Promise.all(outcomes);
    const kept = settled.filter((outcome) => typeof outcome === 'number');
    expect(kept).toHaveLength(maxMessages);
    expect(new Set(settled.filter((outcome) => typeof outcome === 'string'))).toEqual(new Set(['BUS_OUTBOX_FULL']));
    const last = kept.at(-1);
    await peer.waitFor(({ topic, payload }) => topic === 'news' && payload.toString().startsWith(`${last} `));
    const arrived = peer.heard.filter(({ topic }) => topic === 'news').slice(1);
    expect(arrived.map(({ payload }) => Number(payload.toString().split(' ')[0]))).toEqual(kept);
    // What is not QoS 1 is refused once a megabyte waits in the socket.
    const sent = (await Promise.all(chatter)).filter((outcome) => outcome === 'sent').length;
    expect(sent * filler.length).toBeLessThan(16 << 20);
    expect(bus.counters.publishesDropped).toBe(1000 - maxMessages + 1000 - sent);
  },
);

test('a password that is put right in its file lets the daemon in, and stands in no log', async () => {
  const directory = temporary();
  const passwordFile = join(directory, 'password');
  writeFileSync(passwordFile, 'wrong-hunter1\n');
  const passwords = join(directory, 'users');
  execFileSync('mosquitto_passwd', ['-b', '-c', passwords, 'hearth', 'right-hunter2'], { stdio: 'ignore' });
  const brokerLog = join(directory, 'broker.log');
  const broker = await startMosquitto([
    'allow_anonymous false',
    `password_file ${passwords}`,
    `log_dest file ${brokerLog}`,
  ]);
  cleanup.push(() => broker.stop());
  const peer = await connectPeer(broker.url, ['hearth/pi5/#'], { username: 'hearth', password: 'right-hunter2' });
  cleanup.push(() => peer.close());
  const mqtt = { url: broker.url, username: 'hearth', passwordFile, reconnectMaxSeconds: 1 };
  const starting = startHearthd(broker.url, peer, { mqtt, log: { level: 'trace' } });
  await until(
    () => readFileSync(brokerLog, 'utf8').includes('not authorised'),
    () => 'the daemon was not refused',
  );
  expect(peer.heard.filter(({ topic }) => topic.endsWith('/state'))).toEqual([]);
  writeFileSync(passwordFile, 'right-hunter2\n');
  const daemon = await starting;
  cleanup.push(() => daemon.stop());
  expect(await peer.json('hearth/pi5/state')).toEqual({ state: 'online' });
  expect(daemon.output()).toMatch(/refused: not authorized|Not authorized/i);
  expect(daemon.output()).not.toContain('hunter');
});
