import captions from '../../../plugins/captions';
import { contentOf, frame, request, start } from './fake-context';

const image = { ref: 'request-ref' };

test('a frame is put before the prompt of the model, and its reply becomes the caption', async () => {
  const plugin = await start(captions, {}, [{ text: ' A red door.\n' }]);
  await plugin.frame(frame);
  expect(contentOf(plugin.jobs[0])).toEqual({ texts: ['Describe the image.'], refs: ['frame-ref'] });
  expect(plugin.jobs[0]).toMatchObject({ maxTokens: 64, sampling: { temperature: 0 }, item: { id: '01FRAME' } });
  expect(plugin.jobs[0]).not.toHaveProperty('imageSize');
  expect(plugin.jobs[0]?.messages[0]?.parts.map(({ type }) => type)).toEqual(['media', 'text']);
  expect(plugin.events).toEqual([
    { kind: 'caption', item: frame, result: expect.objectContaining({ job: 'job-1' }), text: 'A red door.' },
  ]);
});

test('the prompt of the stream beats the one of the plugin, and that the one of the model', async () => {
  const plugin = await start(captions, { prompt: 'What is new?', imageSize: 512 }, [{ text: 'a' }, { text: 'b' }]);
  await plugin.frame(frame);
  await plugin.frame({ ...frame, settings: { prompt: 'Who is there?' } });
  expect(plugin.jobs.map((job) => contentOf(job).texts)).toEqual([['What is new?'], ['Who is there?']]);
  expect(plugin.jobs[0]?.imageSize).toBe(512);
});

test.each([
  ['de', 'Describe the image. Answer in German.'],
  ['en', 'Describe the image.'],
  ['fi', 'Describe the image. Answer in fi.'],
])('a camera with the language %s is asked %j', async (language, prompt) => {
  const plugin = await start(captions, {}, [{ text: 'x' }]);
  await plugin.frame({ ...frame, settings: { language } });
  expect(contentOf(plugin.jobs[0]).texts).toEqual([prompt]);
  expect(plugin.events[0]?.lang).toBe(language);
});

test('the verb answers with the text, and says when it was cut', async () => {
  const plugin = await start(captions, {}, [{ text: 'A dog and', finishReason: 'length' }]);
  const data = await plugin.request(request('caption', { prompt: 'Which animals?', language: 'es' }, { image }));
  expect(data).toEqual({ text: 'A dog and', lang: 'es', tokens: { prompt: 7, completion: 3 }, truncated: true });
  expect(contentOf(plugin.jobs[0])).toEqual({ texts: ['Which animals? Answer in Spanish.'], refs: ['request-ref'] });
  expect(plugin.events).toEqual([]);
});

test.each([
  [{ promt: 'x' }, { image }],
  [{ prompt: '' }, { image }],
  [{ prompt: 7 }, { image }],
  [{ prompt: 'x'.repeat(4001) }, { image }],
  [{ language: 'German' }, { image }],
  [{ language: null }, { image }],
  [{}, {}],
  [{}, { image, audio: image }],
])('the request %j is refused before anything is asked', async (payload, media) => {
  const plugin = await start(captions);
  await expect(plugin.request(request('caption', payload, media))).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  expect(plugin.jobs).toEqual([]);
});

test.each([{ maxTokens: 0 }, { temperature: -1 }, { imageSize: 300 }, { prompt: '' }, { promt: 'x' }])(
  'the configuration %j is refused',
  async (config) => {
    await expect(start(captions, config)).rejects.toMatchObject({
      code: 'PLUGIN_CONFIG_INVALID',
      message: expect.stringContaining('plugins.captions.config'),
    });
  },
);
