/**
 * A camera, four microphones and somebody with questions, as a process of their own: they know a broker and nothing of
 * hearth. Plays one round in real time, then ends: `node devices.js BROKER_URL`.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectAsync, type MqttClient } from 'mqtt';
import { base, camera, type Language, mediaPath, microphones, node, readScript, type Script } from './script';

const chunkMs = 100;
const sampleRate = 16_000;
const pauseMs = 1100;
/** How long the camera holds a picture for a machine that has not got to it yet. */
const patienceMs = 15_000;
/** Longer than the pause that ends a segment. */
const silenceBetweenMs = 1200;

/** A WAV file of mono 16-bit samples. */
function wav(samples: Buffer): Buffer {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + samples.length, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(sampleRate, 24);
  header.writeUInt32LE(sampleRate * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(samples.length, 40);
  return Buffer.concat([header, samples]);
}

/**
 * The next picture comes when the one before has its caption. A camera would not wait, and on a slow board frames would
 * rightly be skipped for newer ones; here every picture is to be seen.
 */
async function playCamera(client: MqttClient, script: Script): Promise<void> {
  const topic = `${base}/${node}/out/${camera}/caption`;
  await client.subscribeAsync(topic);
  for (const { file } of script.pictures) {
    const captioned = new Promise<void>((resolve) => {
      const listen = (received: string): void => {
        if (received !== topic) return;
        client.off('message', listen);
        resolve();
      };
      client.on('message', listen);
    });
    await client.publishAsync(`${base}/in/${camera}/frame`, readFileSync(mediaPath(file)));
    await Promise.all([sleep(pauseMs), Promise.race([captioned, sleep(patienceMs, undefined, { ref: false })])]);
  }
}

/** Speech, then silence, in self-contained chunks at the pace of sound. */
async function playMicrophone(client: MqttClient, script: Script, language: Language): Promise<void> {
  const silence = Buffer.alloc((silenceBetweenMs / 1000) * sampleRate * 2);
  const recordings = script.recordings.filter((recording) => recording.language === language);
  const samples = Buffer.concat(
    recordings.flatMap(({ file }) => [readFileSync(mediaPath(file)).subarray(44), silence]),
  );
  const chunkBytes = (chunkMs / 1000) * sampleRate * 2;
  const started = performance.now();
  for (let at = 0, due = chunkMs; at < samples.length; at += chunkBytes, due += chunkMs) {
    await client.publishAsync(`${base}/in/${microphones[language]}/audio`, wav(samples.subarray(at, at + chunkBytes)));
    await sleep(Math.max(0, started + due - performance.now()));
  }
}

async function ask(client: MqttClient, script: Script): Promise<void> {
  const request = async (verb: string, payload: object): Promise<unknown> =>
    await client.publishAsync(`${base}/${node}/request/${verb}`, JSON.stringify(payload), { qos: 1 });
  for (const [index, { file, question }] of script.questions.entries()) {
    const image = readFileSync(mediaPath(file)).toString('base64');
    await request('generate', { id: `question-${index}`, prompt: question, image, stream: camera });
    await sleep(pauseMs);
  }
  for (const [index, { text, target }] of script.texts.entries()) {
    await request('translate', { id: `text-${index}`, text, target });
    await sleep(pauseMs);
  }
}

async function main(url: string): Promise<void> {
  const script = readScript();
  const client = await connectAsync(url, { protocolVersion: 4, clientId: 'demo-devices' });
  process.on('SIGINT', () => process.exit(0));
  await Promise.all([
    playCamera(client, script),
    ...(Object.keys(microphones) as Language[]).map((language) => playMicrophone(client, script, language)),
    ask(client, script),
  ]);
  await client.endAsync();
}

void main(process.argv[2] ?? '');
