import { contentOf, request, segment, startPlugin } from '@hearth/testkit';
import translate from '../../../plugins/translate';

const audio = { ref: 'request-ref' };

test('a segment is translated into every language but its own', async () => {
  const plugin = await startPlugin(translate, {
    config: { languages: ['en', 'es', 'de'] },
    replies: [{ text: 'Good day ' }, { text: 'Guten Tag' }],
  });
  await plugin.segment({ ...segment, settings: { language: 'es' } });
  expect(plugin.jobs.map(contentOf)).toEqual([
    { texts: ['Translate the audio into English.'], refs: ['segment-ref'] },
    { texts: ['Translate the audio into German.'], refs: ['segment-ref'] },
  ]);
  expect(plugin.emitted.map(({ kind, lang, text, result }) => [kind, lang, text, result?.text])).toEqual([
    ['translation', 'en', 'Good day', 'Good day '],
    ['translation', 'de', 'Guten Tag', 'Guten Tag'],
  ]);
});

test('a language that fails does not keep the others back, and is reported', async () => {
  const plugin = await startPlugin(translate, { config: { languages: ['de', 'en'] }, replies: [{ text: 'Tag' }] });
  await expect(plugin.segment(segment)).rejects.toThrow('no reply');
  expect(plugin.jobs).toHaveLength(2);
  expect(plugin.emitted.map(({ lang }) => lang)).toEqual(['de']);
});

test('without a language to translate into it takes no segments', async () => {
  expect((await startPlugin(translate)).consumes).toEqual([]);
  expect((await startPlugin(translate, { config: { languages: ['de'] } })).consumes).toEqual(['segment']);
});

test('a language the model has no name for keeps it from starting', async () => {
  for (const code of ['fr', 'xx']) {
    await expect(startPlugin(translate, { config: { languages: [code] } })).rejects.toMatchObject({
      code: 'PLUGIN_CONFIG_INVALID',
      message: expect.stringContaining('de en es'),
    });
  }
});

test.each(["Costs $& and {lang}, $' too {text}", 'plain'])(
  'the text %j arrives in the prompt as it is',
  async (text) => {
    const plugin = await startPlugin(translate, { replies: [{ text: 'Gut' }] });
    const data = await plugin.request(request('translate', { text, target: 'de' }));
    expect(contentOf(plugin.jobs[0])).toEqual({ texts: [`Translate into German: ${text}`], refs: [] });
    expect(data).toEqual({ text: 'Gut', lang: 'de', tokens: { prompt: 11, completion: 5, cached: 0 }, slice: 'e2b' });
  },
);

test('the verb takes a WAV, too', async () => {
  const plugin = await startPlugin(translate, { replies: [{ text: 'Gut' }] });
  await plugin.request(request('translate', { target: 'es' }, { audio }));
  expect(contentOf(plugin.jobs[0])).toEqual({ texts: ['Translate the audio into Spanish.'], refs: ['request-ref'] });
});

test.each([
  [{ text: 'x' }, {}],
  [{ text: 'x', target: 'xx' }, {}],
  [{ text: 'x', target: '__proto__' }, {}],
  [{ text: 'x', target: ['de'] }, {}],
  [{ target: 'de' }, {}],
  [{ text: '  ', target: 'de' }, {}],
  [{ text: 5, target: 'de' }, {}],
  [{ text: 'x'.repeat(16_385), target: 'de' }, {}],
  [{ text: 'x', target: 'de' }, { audio }],
  [{ text: 'x', target: 'de' }, { image: audio }],
  [{ text: 'x', target: 'de', from: 'en' }, {}],
])('the request %j with %j is refused', async (payload, media) => {
  const plugin = await startPlugin(translate);
  await expect(plugin.request(request('translate', payload, media))).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  expect(plugin.jobs).toEqual([]);
});
