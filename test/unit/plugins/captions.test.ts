import { clip, contentOf, frame, request, startPlugin } from '@hearth/testkit';
import captions from '../../../plugins/captions';

const image = { ref: 'request-ref' };

test('a frame is put before the prompt of the model, and its reply becomes the caption', async () => {
  const plugin = await startPlugin(captions, { replies: [{ text: ' A red door.\n' }] });
  await plugin.frame(frame);
  expect(contentOf(plugin.jobs[0])).toEqual({ texts: ['Describe the image.'], refs: ['frame-ref'] });
  expect(plugin.jobs[0]).toMatchObject({ maxTokens: 96, sampling: { temperature: 0 }, item: { id: '01FRAME' } });
  expect(plugin.jobs[0]).not.toHaveProperty('imageSize');
  expect(plugin.jobs[0]?.messages[0]?.parts.map(({ type }) => type)).toEqual(['media', 'text']);
  expect(plugin.emitted).toEqual([
    {
      kind: 'caption',
      item: frame,
      result: expect.objectContaining({ job: expect.any(String) as string }),
      text: 'A red door.',
      lang: 'en',
    },
  ]);
});

test('the prompt of the stream beats the one of the plugin, and that the one of the model', async () => {
  const plugin = await startPlugin(captions, {
    config: { prompt: 'What is new?', imageSize: 512 },
    replies: [{ text: 'a' }, { text: 'b' }],
  });
  await plugin.frame(frame);
  await plugin.frame({ ...frame, settings: { prompt: 'Who is there?' } });
  expect(plugin.jobs.map((job) => contentOf(job).texts)).toEqual([['What is new?'], ['Who is there?']]);
  expect(plugin.jobs[0]?.imageSize).toBe(512);
});

test('a clip is asked about with its own prompt', async () => {
  const plugin = await startPlugin(captions, { replies: [{ text: 'A car comes.' }] });
  await plugin.clip(clip);
  expect(contentOf(plugin.jobs[0])).toEqual({ texts: ['What happens?'], refs: ['clip-ref'] });
  expect(plugin.emitted).toMatchObject([{ kind: 'caption', item: clip, text: 'A car comes.' }]);

  const own = await startPlugin(captions, {
    config: { prompt: 'What is new?', clipPrompt: 'Who comes?' },
    replies: [{ text: 'a' }, { text: 'b' }],
  });
  await own.clip(clip);
  await own.clip({ ...clip, settings: { prompt: 'Is it the postman?' } });
  expect(own.jobs.map((job) => contentOf(job).texts)).toEqual([['Who comes?'], ['Is it the postman?']]);
});

test('the language of the stream goes before the one of the plugin', async () => {
  const plugin = await startPlugin(captions, { config: { language: 'es' }, replies: [{ text: 'a' }, { text: 'b' }] });
  await plugin.frame(frame);
  await plugin.frame({ ...frame, settings: { language: 'de' } });
  expect(plugin.emitted.map(({ lang }) => lang)).toEqual(['es', 'de']);
});

test('the verb answers about its picture', async () => {
  const plugin = await startPlugin(captions, {
    config: { prompt: 'What is new?' },
    replies: [{ text: 'Two dogs. ' }, { text: 'A cat.' }],
  });
  expect(await plugin.request(request('caption', { prompt: 'Which animals?' }, { image }))).toEqual({
    text: 'Two dogs.',
    lang: 'en',
    tokens: { prompt: 11, completion: 5, cached: 0 },
    slice: 'e2b',
  });
  await plugin.request(request('caption', {}, { image }));
  expect(plugin.jobs.map(contentOf)).toEqual([
    { texts: ['Which animals?'], refs: ['request-ref'] },
    { texts: ['What is new?'], refs: ['request-ref'] },
  ]);
  expect(plugin.emitted).toEqual([]);
});

test.each([
  [{ promt: 'x' }, { image }],
  [{ prompt: '' }, { image }],
  [{ prompt: 7 }, { image }],
  [{ prompt: 'x'.repeat(4097) }, { image }],
  [{ language: 'de' }, { image }],
  [{}, {}],
  [{}, { image, audio: image }],
])('the request %j is refused before anything is asked', async (payload, media) => {
  const plugin = await startPlugin(captions);
  await expect(plugin.request(request('caption', payload, media))).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  expect(plugin.jobs).toEqual([]);
});

test.each([
  { maxTokens: 0 },
  { temperature: -1 },
  { imageSize: 300 },
  { prompt: '' },
  { promt: 'x' },
  { language: 'German' },
])('the configuration %j is refused', async (config) => {
  await expect(startPlugin(captions, { config })).rejects.toMatchObject({
    code: 'PLUGIN_CONFIG_INVALID',
    message: expect.stringContaining('plugins.captions.config'),
  });
});
