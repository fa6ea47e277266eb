import { contentOf, request, segment, startPlugin } from '@hearth/testkit';
import transcribe from '../../../plugins/transcribe';

const audio = { ref: 'request-ref' };

test('a segment becomes a transcript in the language of its stream', async () => {
  const plugin = await startPlugin(transcribe, { replies: [{ text: ' turn on the light \n' }] });
  const item = { ...segment, settings: { language: 'en' } };
  await plugin.segment(item);
  expect(contentOf(plugin.jobs[0])).toEqual({ texts: ['Transcribe the audio.'], refs: ['segment-ref'] });
  expect(plugin.jobs[0]).toMatchObject({ maxTokens: 512, sampling: { temperature: 0 }, item: { id: '01SEGMENT' } });
  expect(plugin.emitted).toEqual([
    {
      kind: 'transcript',
      item,
      result: expect.objectContaining({ job: expect.any(String) as string }),
      text: 'turn on the light',
      lang: 'en',
    },
  ]);
});

test('the prompt of the plugin beats the one of the model; without a language the event has none', async () => {
  const plugin = await startPlugin(transcribe, { config: { prompt: 'Write it down.' }, replies: [{ text: 'a' }] });
  await plugin.segment(segment);
  expect(contentOf(plugin.jobs[0]).texts).toEqual(['Write it down.']);
  expect(plugin.emitted[0]).not.toHaveProperty('lang');
});

test('the verb transcribes a WAV', async () => {
  const plugin = await startPlugin(transcribe, { config: { maxTokens: 9 }, replies: [{ text: 'hello' }] });
  const data = await plugin.request(request('transcribe', {}, { audio }));
  expect(data).toEqual({ text: 'hello', tokens: { prompt: 11, completion: 5, cached: 0 }, slice: 'e2b' });
  expect(contentOf(plugin.jobs[0]).refs).toEqual(['request-ref']);
  expect(plugin.jobs[0]?.maxTokens).toBe(9);
});

test.each([
  [{}, {}],
  [{ text: 'x' }, { audio }],
  [{}, { image: audio }],
  [{}, { image: audio, audio }],
])('the request %j with %j is refused', async (payload, media) => {
  const plugin = await startPlugin(transcribe);
  await expect(plugin.request(request('transcribe', payload, media))).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
  });
  expect(plugin.jobs).toEqual([]);
});
