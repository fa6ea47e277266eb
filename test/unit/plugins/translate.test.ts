import translate from '../../../plugins/translate';
import { contentOf, request, segment, start } from './fake-context';

const audio = { ref: 'request-ref' };

test('a segment is translated into every language but its own', async () => {
  const plugin = await start(translate, { languages: ['en', 'es', 'de'] }, [
    { text: 'Good day ' },
    { text: 'Guten Tag' },
  ]);
  await plugin.segment({ ...segment, settings: { language: 'es' } });
  expect(plugin.jobs.map(contentOf)).toEqual([
    { texts: ['Translate the audio into English.'], refs: ['segment-ref'] },
    { texts: ['Translate the audio into German.'], refs: ['segment-ref'] },
  ]);
  expect(plugin.events.map(({ kind, lang, text, result }) => [kind, lang, text, result?.job])).toEqual([
    ['translation', 'en', 'Good day', 'job-1'],
    ['translation', 'de', 'Guten Tag', 'job-2'],
  ]);
});

test('a language that fails does not keep the others back, and is reported', async () => {
  const plugin = await start(translate, { languages: ['de', 'en'] }, [{ text: 'Tag' }]);
  await expect(plugin.segment(segment)).rejects.toThrow('no reply');
  expect(plugin.jobs).toHaveLength(2);
  expect(plugin.events.map(({ lang }) => lang)).toEqual(['de']);
});

test('without a language to translate into it takes no segments', async () => {
  expect((await start(translate)).takesSegments).toBe(false);
  expect((await start(translate, { languages: ['de'] })).takesSegments).toBe(true);
});

test('a language the model has no name for keeps it from starting', async () => {
  for (const code of ['fr', 'xx']) {
    await expect(start(translate, { languages: [code] })).rejects.toMatchObject({
      code: 'PLUGIN_CONFIG_INVALID',
      message: expect.stringContaining('de en es'),
    });
  }
});

test.each(["Costs $& and {lang}, $' too {text}", 'plain'])(
  'the text %j arrives in the prompt as it is',
  async (text) => {
    const plugin = await start(translate, {}, [{ text: 'Gut' }]);
    const data = await plugin.request(request('translate', { text, target: 'de' }));
    expect(contentOf(plugin.jobs[0])).toEqual({ texts: [`Translate into German: ${text}`], refs: [] });
    expect(data).toEqual({ text: 'Gut', lang: 'de', tokens: { prompt: 7, completion: 3, cached: 0 }, slice: 'full' });
  },
);

test('the verb takes a WAV, too', async () => {
  const plugin = await start(translate, {}, [{ text: 'Gut' }]);
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
  const plugin = await start(translate);
  await expect(plugin.request(request('translate', payload, media))).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  expect(plugin.jobs).toEqual([]);
});
