/** Which jobs speech cancels, which it leaves alone, and what is told of it. */
import { HearthError } from '../../../daemon/errors';
import { BargeIn, type BargeInOptions } from '../../../daemon/streams/barge-in';
import { JobQueue, type JobRole } from '../../../daemon/streams/job-queue';
import { Segmenter, type SegmenterOptions } from '../../../daemon/streams/segmenter';
import { vadFrameSamples } from '../../../daemon/streams/voice-detector';
import { codeOf, HandDriven, makeParts, settle } from './support';

const all: BargeInOptions = { mode: 'all', streams: [] };

/** Jobs that run until they are aborted; two at a time. */
function busy() {
  const queue = new JobQueue({ capacity: 10, concurrency: 3 });
  const submit = (stream: string, role?: JobRole): Promise<string> => {
    const ended = codeOf(() =>
      queue.submit({
        priority: 0,
        stream,
        ...(role !== undefined && { role }),
        run: (signal) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () => reject(new HearthError('ENGINE_CANCELLED', 'cancelled')));
          }),
      }),
    );
    return Promise.race([ended, settle(40).then(() => 'goes on')]) as Promise<string>;
  };
  return { queue, bargeIn: new BargeIn(queue), submit };
}

test('speech cancels jobs that run and jobs that wait, with a code of its own, and others take their places', async () => {
  const { queue, bargeIn, submit } = busy();
  const jobs = [
    submit('kitchen', 'result'),
    submit('kitchen', 'answer'),
    submit('kitchen', 'answer'),
    submit('garden', 'result'),
  ];
  await settle();
  expect(queue.state).toMatchObject({ running: 2, waiting: 2 });
  bargeIn.speechBegins('kitchen', 100, all);
  expect(await Promise.all(jobs)).toEqual(['BARGE_IN', 'BARGE_IN', 'BARGE_IN', 'goes on']);
  expect(queue.state).toMatchObject({ running: 1, waiting: 0, counts: { cancelled: 3, failed: 0 } });
});

test.each([
  ['none', ['goes on', 'goes on', 'goes on']],
  ['answers', ['BARGE_IN', 'goes on', 'goes on']],
  ['all', ['BARGE_IN', 'BARGE_IN', 'goes on']],
] as const)('%s: of an answer, a call and a transcript it cancels the right ones', async (mode, outcomes) => {
  const { bargeIn, submit } = busy();
  const jobs = [submit('kitchen', 'answer'), submit('kitchen', 'result'), submit('kitchen')];
  await settle();
  bargeIn.speechBegins('kitchen', 100, { mode, streams: [] });
  expect(await Promise.all(jobs)).toEqual(outcomes);
});

test('streams that the microphone names are interrupted like its own', async () => {
  const { bargeIn, submit } = busy();
  const jobs = [submit('speaker', 'answer'), submit('kitchen', 'answer'), submit('tv', 'answer')];
  await settle();
  bargeIn.speechBegins('kitchen', 100, { mode: 'answers', streams: ['speaker'] });
  expect(await Promise.all(jobs)).toEqual(['BARGE_IN', 'BARGE_IN', 'goes on']);
});

test('a job that is only asked for afterwards is refused when it is about what was said before, not about what is said now', () => {
  const { bargeIn } = busy();
  bargeIn.check('result', 'kitchen', 1);
  bargeIn.speechBegins('kitchen', 100, all);
  expect(() => bargeIn.check('result', 'kitchen', 99.9)).toThrow(
    expect.objectContaining({
      code: 'BARGE_IN',
      message: 'job for kitchen: was interrupted by speech into kitchen',
    }) as Error,
  );
  bargeIn.check('result', 'kitchen', 100);
  bargeIn.check('result', 'garden', 1);
  bargeIn.speechBegins('garden', 200, { mode: 'answers', streams: [] });
  bargeIn.check('result', 'garden', 1);
});

test('a segment that one plugin used and another was interrupted over is both used and told of', async () => {
  const { store, dispatcher, skips, events } = makeParts();
  const [transcribe, translate] = [new HandDriven('transcribe'), new HandDriven('translate')];
  for (const consumer of [transcribe, translate]) dispatcher.register(consumer);
  const ref = store.add({ type: 'audio', audio: { samples: new Float32Array(9) } });
  const about = { stream: 'kitchen', capturedTs: 1, topic: 't', sha256: 's', media: { ref } };
  dispatcher.offer({ kind: 'segment', id: 's1', durationMs: 1, ...about });
  translate.handled[0]?.finish(new HearthError('BARGE_IN', 'job for kitchen: was interrupted'));
  await settle();
  expect(events).toEqual([]);
  transcribe.handled[0]?.finish();
  await settle();
  expect(dispatcher.used()).toEqual({ kitchen: 1 });
  expect(skips.counts()).toEqual({ kitchen: { 'barge-in': 1 } });
  expect(events).toMatchObject([{ kind: 'skipped', reason: 'barge-in', error: { code: 'BARGE_IN' } }]);
});

describe('speech begins', () => {
  const options: SegmenterOptions = {
    mode: 'vad',
    preRollMs: 0,
    endSilenceMs: 100,
    keepSilenceMs: 0,
    minSpeechMs: 60,
    maxSegmentMs: 400,
  };
  /** Milliseconds of speech and of silence in turns; the times at which someone began, and the segments there were. */
  function heard(turns: readonly number[], changes: Partial<SegmenterOptions> = {}) {
    const began: number[] = [];
    let at = 0;
    let segments = 0;
    const segmenter = new Segmenter({ ...options, ...changes }, (frame) => frame[0] !== 0, {
      began: () => began.push(at),
      heard: () => undefined,
      paused: () => undefined,
      ended: () => undefined,
    });
    for (const [turn, ms] of turns.entries()) {
      for (let i = 0; i < ms / 20; i++, at += 20) {
        segments += segmenter.push(new Float32Array(vadFrameSamples).fill(turn % 2 === 0 ? 0.5 : 0)).length;
      }
    }
    return { began, segments };
  }

  test('with enough speech, once an utterance', () => {
    expect(heard([200, 200, 200, 200])).toEqual({ began: [40, 440], segments: 2 });
  });

  test('not with a click, nor after a pause too short to end a segment', () => {
    expect(heard([40, 200, 200, 60, 100, 200])).toEqual({ began: [280], segments: 2 });
  });

  test('not again where a long utterance is cut into segments', () => {
    const { began, segments } = heard([1500, 200]);
    expect(began).toEqual([40]);
    expect(segments).toBeGreaterThan(3);
  });

  test('push-to-talk: when the button has been held for long enough', () => {
    expect(heard([0, 200], { mode: 'push-to-talk' }).began).toEqual([40]);
  });
});
