import { setTimeout as wait } from 'node:timers/promises';
import { type Reply, segment, startPlugin } from '@hearth/testkit';
import type { SegmentItem } from '../../../daemon/plugins/api';
import hermes from '../../../plugins/hermes';
import { parseSiteMessage, siteOf, streamOf } from '../../../plugins/hermes/messages';
import { Sites } from '../../../plugins/hermes/sites';

const heard = (site: string, more: Partial<SegmentItem> = {}): SegmentItem => ({
  ...segment,
  stream: streamOf(site),
  topic: `hermes/audioServer/${site}/audioFrame`,
  ...more,
});
const said = (plugin: Awaited<ReturnType<typeof startPlugin>>) =>
  plugin.published.map(({ topic, payload }) => [topic, JSON.parse(String(payload)) as unknown]);

test('what is said becomes a text, without a session where there is none', async () => {
  const plugin = await startPlugin(hermes, { replies: [{ text: ' Lock the door. ' }] });
  await plugin.segment(heard('Kitchen', { settings: { language: 'en' } }));
  expect(plugin.jobs[0]).toMatchObject({ item: { id: '01SEGMENT' }, maxTokens: 512, sampling: { temperature: 0 } });
  expect(said(plugin)).toEqual([
    [
      'hermes/asr/textCaptured',
      {
        text: 'Lock the door.',
        likelihood: 1,
        seconds: 0,
        siteId: 'Kitchen',
        sessionId: null,
        wakewordId: null,
        asrTokens: null,
        lang: 'en',
      },
    ],
  ]);
});

test('a session: its texts carry its id; the end of listening takes what was said so far', async () => {
  const plugin = await startPlugin(hermes, {
    config: { listen: 'session' },
    replies: [{ text: 'One.' }, { text: 'Two.' }],
  });
  await expect(plugin.segment(heard('Kitchen'))).rejects.toMatchObject({ code: 'ITEM_UNWANTED' });
  const site = { siteId: 'Kitchen', sessionId: 's1', wakewordId: 'hey', lang: 'de' };
  await plugin.receive('hermes/asr/startListening', site);
  await plugin.segment(heard('Kitchen'));
  await plugin.receive('hermes/asr/startListening', { ...site, sessionId: 's2' });
  await plugin.receive('hermes/asr/stopListening', site);
  // The daemon ends the segment: its topic is that of the order.
  await plugin.segment(heard('Kitchen', { topic: 'hearth/in/kitchen/audio/end' }));
  await expect(plugin.segment(heard('Kitchen'))).rejects.toMatchObject({ code: 'ITEM_UNWANTED' });
  expect(said(plugin)).toMatchObject([
    ['hermes/asr/textCaptured', { text: 'One.', sessionId: 's1', wakewordId: 'hey', lang: 'de' }],
    ['hearth/in/kitchen/audio/end', {}],
    ['hermes/asr/textCaptured', { text: 'Two.', sessionId: 's2', siteId: 'Kitchen' }],
  ]);
});

test('a session nobody spoke in ends with an empty text; one that was answered just ends', async () => {
  const plugin = await startPlugin(hermes, { config: { closeMs: 100 }, replies: [{ text: 'Hi.' }] });
  await plugin.receive('hermes/asr/startListening', { siteId: 'a', sessionId: 'silent' });
  await plugin.receive('hermes/asr/stopListening', { siteId: 'a', sessionId: 'silent' });
  await plugin.receive('hermes/asr/startListening', { siteId: 'b', sessionId: 'spoken' });
  await plugin.segment(heard('b'));
  await plugin.receive('hermes/asr/stopListening', { siteId: 'b', sessionId: 'spoken' });
  while (plugin.published.length < 3) await wait(10);
  expect(said(plugin)).toMatchObject([
    ['hearth/in/a/audio/end', {}],
    ['hermes/asr/textCaptured', { text: 'Hi.', sessionId: 'spoken', siteId: 'b' }],
    ['hermes/asr/textCaptured', { text: '', likelihood: 0, sessionId: 'silent', siteId: 'a' }],
  ]);
});

test('a site that is toggled off is handed back, and so are microphones of others', async () => {
  const plugin = await startPlugin(hermes, { replies: [{ text: 'Hi.' }] });
  await plugin.receive('hermes/asr/toggleOff', { siteId: 'a' });
  await expect(plugin.segment(heard('a'))).rejects.toMatchObject({ code: 'ITEM_UNWANTED' });
  await plugin.receive('hermes/asr/toggleOn', { siteId: 'a' });
  await plugin.segment(heard('a'));
  await expect(plugin.segment(segment)).rejects.toMatchObject({ code: 'ITEM_UNWANTED' });
  expect(plugin.jobs).toHaveLength(1);
});

test('what fails is said on hermes/error/asr, too', async () => {
  const none: Reply[] = [];
  const plugin = await startPlugin(hermes, { replies: none });
  await plugin.receive('hermes/asr/startListening', { siteId: 'a', sessionId: 's' });
  await expect(plugin.segment(heard('a'))).rejects.toThrow('no reply');
  expect(said(plugin)).toEqual([
    [
      'hermes/error/asr',
      {
        error: expect.stringMatching(/^INTERNAL: .*no reply/) as string,
        siteId: 'a',
        context: 'hearth',
        sessionId: 's',
      },
    ],
  ]);
});

test.each([
  '',
  'x',
  '[]',
  'null',
  '{"siteId": 5}',
  '{"sessionId": {}}',
  `{"siteId": "${'x'.repeat(300)}"}`,
  `"${'x'.repeat(70_000)}"`,
])('a message that is none: %#', async (payload) => {
  const plugin = await startPlugin(hermes);
  await expect(plugin.receive('hermes/asr/startListening', payload)).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
  expect(said(plugin)).toMatchObject([
    ['hermes/error/asr', { error: expect.stringMatching(/^MESSAGE_INVALID: /) as string }],
  ]);
});

test('messages without a site are for the default one', () => {
  const none = { siteId: 'default', sessionId: null, wakewordId: null, lang: null };
  expect(parseSiteMessage('t', Buffer.from('{}'))).toEqual(none);
  expect(parseSiteMessage('t', Buffer.from('{"siteId": null, "stopOnSilence": true}'))).toEqual(none);
  expect(
    ['hermes/audioServer/a b/audioFrame', 'hermes/audioServer/a/b/audioFrame', 'hearth/in/a/audio'].map(siteOf),
  ).toEqual(['a b', undefined, undefined]);
});

test('sites are forgotten, the oldest first', () => {
  const sites = new Sites(2);
  for (const siteId of ['a', 'b', 'c', 'd']) {
    sites.start({ siteId, sessionId: siteId, wakewordId: null, lang: null });
    sites.hear(siteId, siteId);
    sites.switch(siteId, false);
  }
  expect(['a', 'b', 'c', 'd'].map((siteId) => sites.session(siteId)?.sessionId)).toEqual([
    undefined,
    undefined,
    'c',
    'd',
  ]);
  expect(['a', 'b', 'c', 'd'].map((siteId) => sites.isOff(siteId))).toEqual([true, true, false, false]);
  expect([sites.siteOn('a'), sites.siteOn('d'), sites.streamOn('b'), sites.streamOn('X Y')]).toEqual([
    'a',
    'd',
    'b',
    'x_y',
  ]);
  sites.clear();
  expect(sites.session('d')).toBeUndefined();
});
