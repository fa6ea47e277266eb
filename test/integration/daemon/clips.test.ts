/** Frames over a real broker become clips, and the daemon says of one what the model says of its pictures and sounds. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StreamEvent } from '../../../daemon/events';
import { type Hearthd, startHearthd } from '../../helpers/hearthd';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';
import { Nano, pictureOf } from '../../helpers/nano';

jest.setTimeout(60_000);

const media = (name: string): string => join('daemon/demo/media', name);
const pictures = ['000.png', '004.png', '001.png'].map(media);

let broker: Mosquitto;
let peer: Peer;
let daemon: Hearthd;

beforeAll(async () => {
  broker = await startMosquitto();
  peer = await connectPeer(broker.url, ['hearth/#']);
  daemon = await startHearthd(broker.url, peer, {
    streams: {
      drive: { kind: 'camera', minIntervalMs: 0, clip: { seconds: 60, maxTokens: 3 * 256 } },
      yard: { kind: 'camera', minIntervalMs: 0, clip: { seconds: 60, maxTokens: 700, sound: 'yard_mic' } },
      yard_mic: { kind: 'microphone', audio: { mode: 'push-to-talk' } },
    },
  });
});

afterAll(async () => {
  await daemon.stop();
  await peer.close();
  await broker.stop();
});

/** How many frames of a stream were like the one before. */
const duplicates = (stream: string): number =>
  peer.heard
    .filter(({ topic }) => topic === `hearth/pi5/out/${stream}/skipped`)
    .map(({ payload }) => JSON.parse(payload.toString()) as StreamEvent)
    .reduce((sum, { reason, count }) => sum + (reason === 'duplicate' ? (count ?? 0) : 0), 0);

/** Until it is in the clip: frames that come while another is being decoded replace each other. */
async function show(stream: string, file: string): Promise<void> {
  const before = duplicates(stream);
  while (duplicates(stream) === before) {
    await peer.client.publishAsync(`hearth/in/${stream}/frame`, readFileSync(file));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

const captionOf = async (stream: string): Promise<StreamEvent> =>
  (await peer.json(`hearth/pi5/out/${stream}/caption`)) as unknown as StreamEvent;

test('the caption of a clip is what the model says of its frames together', async () => {
  for (const file of pictures) await show('drive', file);
  const caption = await captionOf('drive');
  expect(caption.clip).toMatchObject({ frames: 3, sounds: 0 });

  const nano = await Nano.open({ threads: 1 });
  const frames = [];
  for (const [i, file] of pictures.entries()) frames.push({ image: (await pictureOf(file)).image, timeMs: 1000 * i });
  const expected = await nano.ask([{ type: 'video', frames }], 'Describe the image.', { maxTokens: 96 });
  expect(caption.text).toBe(expected.text.trim());
  expect(caption.tokens?.prompt).toBe(expected.tokens.prompt);
});

test('what is said meanwhile is part of it, and a segment all the same', async () => {
  await show('yard', pictures[0] ?? '');
  await peer.client.publishAsync('hearth/in/yard_mic/audio', readFileSync(media('007.wav')));
  await peer.client.publishAsync('hearth/in/yard_mic/audio/end', '{}', { qos: 1 });
  const transcript = await peer.json('hearth/pi5/out/yard_mic/transcript');
  expect(transcript['text']).not.toBe('');
  // 700 tokens are a sound and two frames: with the second one the clip is full.
  await show('yard', pictures[1] ?? '');
  const caption = await captionOf('yard');
  expect(caption.clip).toMatchObject({ frames: 2, sounds: 1 });
  expect(caption.tokens?.prompt).toBeGreaterThan(2 * 256 + 188);
});
