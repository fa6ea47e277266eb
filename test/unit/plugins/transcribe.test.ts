import transcribe from '../../../plugins/transcribe';
import { contentOf, request, segment, start } from './fake-context';

const audio = { ref: 'request-ref' };

test('a segment becomes a transcript in the language of its stream', async () => {
  const plugin = await start(transcribe, {}, [{ text: ' turn on the light \n' }]);
  const item = { ...segment, settings: { language: 'en' } };
  await plugin.segment(item);
  expect(contentOf(plugin.jobs[0])).toEqual({ texts: ['Transcribe the audio.'], refs: ['segment-ref'] });
  expect(plugin.jobs[0]).toMatchObject({ maxTokens: 512, sampling: { temperature: 0 }, item: { id: '01SEGMENT' } });
  expect(plugin.events).toEqual([
    {
      kind: 'transcript',
      item,
      result: expect.objectContaining({ job: 'job-1' }),
      text: 'turn on the light',
      lang: 'en',
    },
  ]);
});

test('the prompt of the plugin beats the one of the model; without a language the event has none', async () => {
  const plugin = await start(transcribe, { prompt: 'Write it down.' }, [{ text: 'a' }]);
  await plugin.segment(segment);
  expect(contentOf(plugin.jobs[0]).texts).toEqual(['Write it down.']);
  expect(plugin.events[0]).not.toHaveProperty('lang');
});

test('the verb transcribes a WAV', async () => {
  const plugin = await start(transcribe, { maxTokens: 9 }, [{ text: 'hello' }]);
  const data = await plugin.request(request('transcribe', {}, { audio }));
  expect(data).toEqual({ text: 'hello', tokens: { prompt: 7, completion: 3, cached: 0 }, slice: 'full' });
  expect(contentOf(plugin.jobs[0]).refs).toEqual(['request-ref']);
  expect(plugin.jobs[0]?.maxTokens).toBe(9);
});

test.each([
  [{}, {}],
  [{ text: 'x' }, { audio }],
  [{}, { image: audio }],
  [{}, { image: audio, audio }],
])('the request %j with %j is refused', async (payload, media) => {
  const plugin = await start(transcribe);
  await expect(plugin.request(request('transcribe', payload, media))).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
  });
  expect(plugin.jobs).toEqual([]);
});
