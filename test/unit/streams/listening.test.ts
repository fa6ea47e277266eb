/** What an engine is told of a microphone's segments while they are being spoken. */
import { loadConfig } from '../../../daemon/config';
import type { Listening } from '../../../daemon/inference/engine';
import { concat } from '../../../daemon/media/concat';
import { MicrophoneStream } from '../../../daemon/streams/microphone-stream';
import { streamsOptions } from '../../../daemon/streams/options';
import { loadVoiceDetector } from '../../../daemon/streams/voice-detector';
import { fixture, HandDriven, makeParts, makeWav, until } from './support';

class Ear implements Listening {
  readonly heardPieces: Float32Array[] = [];
  /** Samples heard when the speaker paused. */
  readonly pauses: number[] = [];
  end$: 'ended' | 'cancelled' | undefined;

  heard(samples: Float32Array): void {
    expect(this.end$).toBeUndefined();
    this.heardPieces.push(samples);
  }
  paused(): void {
    this.pauses.push(this.samples.length);
  }
  end(): void {
    this.end$ = 'ended';
  }
  cancel(): void {
    this.end$ = 'cancelled';
  }
  get samples(): Float32Array {
    return concat(this.heardPieces).slice();
  }
}

async function microphone() {
  const parts = makeParts();
  const consumer = new HandDriven();
  parts.dispatcher.register(consumer);
  const ears: Ear[] = [];
  const { options } = streamsOptions(loadConfig({ env: {} })).defaults.microphone;
  const stream = new MicrophoneStream(
    'm',
    { ...options, idleFlushMs: 60_000 },
    {
      ...parts,
      createDetector: await loadVoiceDetector(),
      maxChunkMs: 30_000,
      listen: () => {
        const ear = new Ear();
        ears.push(ear);
        return ear;
      },
    },
  );
  const at = { topic: 't', receivedTs: 1 };
  const say = (pcm: Buffer): void => {
    for (let from = 0; from < pcm.length; from += 6400)
      stream.push({ ...at, payload: makeWav(pcm.subarray(from, from + 6400)) });
  };
  return { ...parts, consumer, ears, stream, at, say };
}

const silence = (seconds: number): Buffer => Buffer.alloc(Math.round(seconds * 16_000) * 2);
const speech = fixture('speech-007.wav').subarray(44);
/** Its first 0.8 s: someone who is still speaking. */
const begun = speech.subarray(0, 2 * 12_800);

test('a segment is heard while it is spoken, and is all of what was heard when it ends', async () => {
  const { consumer, ears, stream, say } = await microphone();
  say(Buffer.concat([silence(1), begun]));
  await until(() => (ears[0]?.heardPieces.length ?? 0) > 5);
  expect(consumer.handled).toHaveLength(0);
  say(Buffer.concat([speech.subarray(begun.length), silence(1)]));
  await until(() => consumer.handled.length === 1);
  const [ear] = ears as [Ear];
  const { media } = consumer.handled[0]!;
  expect(media.type === 'audio' && media.audio.samples).toEqual(ear.samples);
  expect(ear.end$).toBe('ended');
  // When it ended nothing had been missing since the pause began.
  expect(ear.pauses.at(-1)).toBe(ear.samples.length);
  expect(ears).toHaveLength(1);
  stream.stop();
});

test('noise that is no speech is not listened to; what is cut off by a shutdown is cancelled', async () => {
  const { consumer, ears, stream, say, skips } = await microphone();
  say(silence(3));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(ears).toEqual([]);
  say(begun);
  await until(() => ears.length === 1);
  stream.stop();
  expect(ears[0]?.end$).toBe('cancelled');
  expect(consumer.handled).toHaveLength(0);
  expect(skips.counts()).toEqual({ m: { shutdown: expect.any(Number) } });
});

test('every segment has a listener of its own', async () => {
  const { consumer, ears, stream, say } = await microphone();
  say(Buffer.concat([speech, silence(1.5), speech, silence(1.5)]));
  await until(() => consumer.handled.length === 1);
  consumer.handled[0]!.finish();
  await until(() => consumer.handled.length === 2);
  expect(ears.map((ear) => ear.end$)).toEqual(['ended', 'ended']);
  for (const [i, ear] of ears.entries()) {
    const { media } = consumer.handled[i]!;
    expect(media.type === 'audio' && media.audio.samples).toEqual(ear.samples);
  }
  stream.stop();
});
