import type { Listening } from '../../../daemon/inference/engine';
import type { GenerateRequest, GenerateResult, ModelInfo } from '../../../daemon/inference/types';
import type { JobTerms, RequestJobs } from '../../../daemon/requests/jobs';
import { EventReader } from '../../../daemon/wyoming/events';
import { Session } from '../../../daemon/wyoming/session';

const model = { name: 'nano', prompts: { transcribe: 'Write it down.', languages: {} } } as unknown as ModelInfo;
const format = { rate: 16_000, width: 2, channels: 1 };

/** Remembers what it heard and what was asked for, in order. */
class Ears {
  readonly said: string[] = [];
  readonly heard: number[] = [];
  request: GenerateRequest | undefined;
  signal: AbortSignal | undefined;
  release: (text: string) => void = () => undefined;

  readonly jobs = {
    listen: (): Listening => {
      this.said.push('listen');
      return {
        heard: (samples) => this.heard.push(...samples),
        paused: () => undefined,
        end: () => this.said.push('end'),
        cancel: () => this.said.push('cancel'),
      };
    },
    run: async (request: GenerateRequest, { signal }: JobTerms): Promise<GenerateResult> => {
      this.said.push('run');
      this.request = request;
      this.signal = signal;
      return await new Promise((resolve) => {
        this.release = (text) => resolve({ text } as GenerateResult);
      });
    },
  } as unknown as RequestJobs;
}

const pcm = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(2 * values.length);
  for (const [i, value] of values.entries()) bytes.writeInt16LE(value, 2 * i);
  return bytes;
};

function open(maxAudioSeconds = 30) {
  const ears = new Ears();
  const reader = new EventReader();
  const answers: unknown[] = [];
  const session = new Session({ jobs: ears.jobs, model: () => model, maxAudioSeconds }, (bytes) => {
    for (const { type, data } of reader.push(bytes)) answers.push({ type, data });
  });
  const send = async (type: string, data = {}, payload: Buffer = Buffer.alloc(0)): Promise<void> =>
    await session.take({ type, data, payload });
  return { ears, session, answers, send };
}

const settled = async (): Promise<void> => {
  await new Promise((resolve) => setImmediate(resolve));
};

test('the engine hears what is said while it is said, and the job has exactly that, however it was cut', async () => {
  const { ears, answers, send, session } = open();
  await send('transcribe', { language: 'en' });
  await send('audio-start', format);
  const sound = pcm(0, 16_384, -32_768, 3, 4);
  // In the middle of a sample.
  for (const [from, to] of [
    [0, 3],
    [3, 4],
    [4, 4],
    [4, 10],
  ])
    await send('audio-chunk', format, sound.subarray(from, to));
  expect(ears.heard).toEqual([0, 0.5, -1, 3 / 32_768, 4 / 32_768]);
  const done = send('audio-stop');
  await settled();
  expect(ears.said).toEqual(['listen', 'end', 'run']);
  expect(session.busy).toBe(true);
  const [part] = ears.request?.messages[0]?.parts ?? [];
  expect(part?.type === 'audio' && [...part.audio.samples]).toEqual(ears.heard);
  ears.release(' Hello. ');
  await done;
  expect(answers).toEqual([{ type: 'transcript', data: { text: 'Hello.', language: 'en' } }]);
  expect(session.busy).toBe(false);
});

test('a client that goes away cancels what is heard, and what is asked', async () => {
  const speaking = open();
  await speaking.send('audio-start', format);
  await speaking.send('audio-chunk', format, pcm(1, 2));
  speaking.session.close();
  expect(speaking.ears.said).toEqual(['listen', 'cancel']);

  const waiting = open();
  await waiting.send('audio-chunk', format, pcm(1, 2));
  void waiting.send('audio-stop');
  await settled();
  expect(waiting.ears.signal?.aborted).toBe(false);
  waiting.session.close();
  expect(waiting.ears.signal?.aborted).toBe(true);
});

test('another rate is heard as a whole; a beginning in the middle begins anew', async () => {
  const { ears, send } = open();
  await send('audio-start', { ...format, rate: 8000 });
  await send('audio-chunk', { ...format, rate: 8000 }, pcm(...Array<number>(8000).fill(0)));
  void send('audio-stop');
  await settled();
  await settled();
  expect(ears.said).toEqual(['run']);
  const [part] = ears.request?.messages[0]?.parts ?? [];
  expect(part?.type === 'audio' && part.audio.samples.length).toBe(16_000);

  const again = open();
  await again.send('audio-start', format);
  await again.send('audio-start', format);
  expect(again.ears.said).toEqual(['listen', 'cancel', 'listen']);
});

test('what does not belong where it comes is refused', async () => {
  const { send, ears } = open(1);
  await expect(send('audio-stop')).rejects.toMatchObject({ code: 'WYOMING_INVALID' });
  await send('audio-start', format);
  await expect(send('audio-chunk', { ...format, channels: 2 }, pcm(1, 2))).rejects.toMatchObject({
    code: 'WYOMING_INVALID',
  });
  await expect(send('audio-chunk', format, Buffer.alloc(32_002))).rejects.toMatchObject({
    code: 'MEDIA_AUDIO_TOO_LONG',
  });
  await send('audio-start', format);
  await send('audio-chunk', format, pcm(1));
  const done = send('audio-stop');
  await settled();
  await expect(send('audio-chunk', format, pcm(1))).rejects.toMatchObject({ code: 'WYOMING_INVALID' });
  await expect(send('audio-start', format)).rejects.toMatchObject({ code: 'WYOMING_INVALID' });
  ears.release('x');
  await done;
});
