/** The page in Chromium, served by hearthd with the small trained model and fed by Mosquitto. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { accessibilityProblems, launchBrowser, type Visit, visit } from '../../helpers/browser';
import { type ServingHearthd as Hearthd, serveHearthd } from '../../helpers/hearthd';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';

jest.setTimeout(180_000);

const media = (name: string): Buffer => readFileSync(`daemon/demo/media/${name}`);
const hostile = '<img src=x onerror="window.caught=1"><script>window.caught=1</script>';

/** Says of each frame of the stream `hostile` what an attacker would have it say. */
const hostilePlugin = `module.exports = {
  manifest: { name: 'hostile', version: '1.0.0', apiVersion: '^1.0.0', description: 'x', consumes: ['frame'],
    emits: ['caption', 'call'] },
  start(ctx) {
    ctx.onFrame(async (item) => {
      const call = { name: ${JSON.stringify(hostile)}, arguments: { x: ${JSON.stringify(hostile)} } };
      await ctx.emit({ kind: 'call', item, text: 'x', call });
      await ctx.emit({ kind: 'caption', item, text: ${JSON.stringify(hostile)} });
    });
  },
};`;

let browser: Browser;
let mosquitto: Mosquitto;
let peer: Peer;
let hearthd: Hearthd;
let directory: string;
const visits: Visit[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-page-'));
  const path = join(directory, 'hostile.js');
  writeFileSync(path, hostilePlugin);
  mosquitto = await startMosquitto();
  peer = await connectPeer(mosquitto.url, ['hearth/#']);
  hearthd = await serveHearthd({
    mqtt: { url: mosquitto.url },
    http: { pictures: true },
    streams: {
      front_door: { kind: 'camera', plugins: ['captions'], minIntervalMs: 0 },
      hostile: { kind: 'camera', plugins: ['hostile'] },
      kitchen: { kind: 'microphone', plugins: ['transcribe'] },
    },
    plugins: { hostile: { path } },
  });
  browser = await launchBrowser();
});

afterEach(async () => {
  const seen = visits.splice(0);
  // Whatever a test does, nothing is asked of anyone but the daemon, and nothing breaks in the page.
  const elsewhere = seen.flatMap(({ requests }) => requests).filter((url) => !url.startsWith(`${hearthd.url}/`));
  const problems = seen.flatMap((each) => each.problems);
  await Promise.all(seen.map(async ({ close }) => await close()));
  expect({ elsewhere, problems }).toEqual({ elsewhere: [], problems: [] });
});

afterAll(async () => {
  await browser?.close();
  expect(await hearthd?.stop()).toBe(0);
  await peer?.close();
  await mosquitto?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function open(options: Parameters<typeof visit>[2] = {}): Promise<Page> {
  const opened = await visit(browser, hearthd.url, options);
  visits.push(opened);
  await opened.page.locator('#connection', { hasText: 'ready' }).waitFor();
  return opened.page;
}

const show = async (name: string): Promise<void> => {
  await peer.client.publishAsync('hearth/in/front_door/frame', media(name));
};

test('a frame that is published becomes a caption and a picture on the page, without a reload', async () => {
  const page = await open();
  await show('000.png');
  const card = page.locator('.stream', { has: page.getByRole('heading', { name: 'front_door' }) });
  await card.getByText('A tree in the snow.').waitFor();
  const row = page.locator('#timeline li', { hasText: 'A tree in the snow.' });
  await row.waitFor();
  expect(await row.textContent()).toContain('front_door');
  expect(await row.textContent()).toContain('caption, en');
  const image = card.getByRole('img', { name: 'Last picture of front_door' });
  await image.waitFor();
  await page.waitForFunction('document.querySelector(".stream img").naturalWidth > 0');

  await peer.client.publishAsync('hearth/in/kitchen/audio', media('007.wav'));
  await page.locator('#timeline li', { hasText: 'transcript' }).waitFor();
});

test('a screen reader is told the latest, not everything', async () => {
  const page = await open();
  const region = page.locator('#announcer[aria-live=polite]');
  await page.evaluate(`globalThis.heard = [];
    new MutationObserver(([{ target }]) => heard.push(target.textContent))
      .observe(document.getElementById('announcer'), { childList: true });`);
  for (const name of ['014.png', '008.png', '013.png', '018.png', '005.png']) {
    await show(name);
    await page.locator('#timeline li').first().waitFor();
  }
  await region.getByText('front_door: A bird and a bicycle on the street.').waitFor({ state: 'attached' });
  expect(await page.evaluate('heard.length')).toBeLessThan(5);
  await page.getByLabel('Have screen readers say new ones').uncheck();
});

test('a question is answered in words as they are written, about the picture of a camera', async () => {
  const page = await open();
  await show('014.png');
  await page.locator('.stream').getByText('A car on the street.').waitFor();
  await page.getByRole('button', { name: /Ask about it.*front_door/ }).click();
  expect(await page.getByLabel('Your question').inputValue()).not.toBe('');
  await page.keyboard.press('Enter');
  await page.locator('#answers .answer', { hasText: 'A car on the street.' }).waitFor();
  await page.locator('#answers', { hasText: 'tokens in' }).waitFor();
});

test('a question about a picture of mine is answered as that picture is', async () => {
  const page = await open();
  const state = (await (await fetch(`${hearthd.url}/ui/state`)).json()) as { engine: { model: { question: string } } };
  await page.getByLabel('about').selectOption('a picture of mine');
  await page.getByLabel('Your question').fill(state.engine.model.question);
  await page.getByRole('button', { name: 'Ask', exact: true }).click();
  await page.getByRole('alert').filter({ hasText: 'Choose a picture first.' }).waitFor();
  await page.getByLabel('Picture', { exact: true }).setInputFiles('daemon/demo/media/000.png');
  await page.getByRole('button', { name: 'Ask', exact: true }).click();
  await page.locator('#answers .answer', { hasText: 'A tree in the snow.' }).waitFor();
  expect(await page.locator('#ask-problem').textContent()).toBe('');
});

test('an answer can be stopped: its request ends, and another question can be asked', async () => {
  const page = await open();
  // Held, so that there is something to stop.
  await page.route('**/ui/ask', async () => await new Promise(() => undefined));
  await page.getByLabel('Your question').fill('What is there?');
  const aborted = page.waitForEvent('requestfailed', (request) => request.url().endsWith('/ui/ask'));
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Stop' }).click();
  await aborted;
  await page.locator('#answers', { hasText: 'stopped' }).waitFor();
  expect(await page.getByRole('button', { name: 'Ask', exact: true }).isEnabled()).toBe(true);
  await page.unroute('**/ui/ask');
});

test('a plugin is restarted and its state shown as it changes', async () => {
  const page = await open();
  const row = page.locator('[data-plugin=transcribe]');
  await row.getByText('running').waitFor();
  const before = peer.heard.length;
  await page.getByRole('button', { name: 'Restart transcribe' }).click();
  await page
    .locator('#announcer', { hasText: 'transcribe was restarted and is running' })
    .waitFor({ state: 'attached' });
  expect(await row.textContent()).toContain('running');
  for (const state of ['starting', 'running']) {
    await peer.waitFor(
      (message) =>
        peer.heard.indexOf(message) >= before &&
        message.topic === 'hearth/pi5/plugin/transcribe/state' &&
        message.payload.includes(`"${state}"`),
      `that transcribe is ${state}`,
    );
  }
});

test('captions, names and arguments are text, whatever is in them', async () => {
  const page = await open();
  await peer.client.publishAsync('hearth/in/hostile/frame', media('001.png'));
  const card = page.locator('.stream', { has: page.getByRole('heading', { name: 'hostile' }) });
  await card.getByText(hostile).waitFor();
  await page.locator('#timeline li', { hasText: 'call' }).waitFor();
  expect(await page.locator('#timeline img, #timeline script').count()).toBe(0);
  const caught = (): Promise<unknown> => page.evaluate('globalThis.caught');
  expect(await caught()).toBeUndefined();
  await page.reload();
  await page.locator('#timeline li', { hasText: hostile }).first().waitFor();
  expect(await caught()).toBeUndefined();
});

test('with the keyboard alone one gets everywhere, in the order it is read, and sees where one is', async () => {
  const page = await open();
  const walked: string[] = [];
  const focused = (): Promise<{ name: string; outlineStyle: string }> =>
    page.evaluate(`(({ activeElement: element }) => ({
      name: element === document.body ? 'end' : element.id || element.getAttribute('aria-label') || element.textContent,
      outlineStyle: getComputedStyle(element).outlineStyle,
    }))(document)`);
  await page.keyboard.press('Tab');
  expect((await focused()).name).toBe('Skip to content');
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('Tab');
    const { name, outlineStyle } = await focused();
    if (walked.includes(name) || name === 'end') break;
    walked.push(name);
    expect([name, outlineStyle]).not.toEqual([name, 'none']);
  }
  const order = ['prompt', 'about', 'send', 'filter', 'pause', 'timeline', 'announce', 'Restart captions'];
  expect(walked.filter((name) => order.includes(name))).toEqual(order);
  expect(walked.filter((name) => name.startsWith('As a table'))).toHaveLength(4);

  await page.getByRole('button', { name: 'Pause' }).focus();
  await page.keyboard.press('Space');
  await show('006.png');
  await page.getByRole('button', { name: /Paused, \d+ new/ }).waitFor();
  expect(await page.locator('#timeline').textContent()).not.toContain('A cat and an umbrella in a room.');
  await page.keyboard.press('Space');
  await page.locator('#timeline li', { hasText: 'A cat and an umbrella in a room.' }).waitFor();
});

test('the values of the plots are in words and in tables, too', async () => {
  const page = await open();
  const plot = page.locator('figure', { hasText: 'Temperature and slice' });
  await plot.getByRole('img', { name: /Slice: full/ }).waitFor();
  await plot.getByText('As a table').click();
  await plot.getByRole('columnheader', { name: 'Slice', exact: true }).waitFor();
  expect(await plot.getByRole('row').last().textContent()).toContain('full');
  expect(await page.getByRole('img', { name: /^Jobs in the queue: \d+, at most \d+/ }).count()).toBe(1);
});

test('how far a model is loaded and downloaded is said, and a download that failed', async () => {
  const update = {
    installed_version: '1.0',
    latest_version: '2.0',
    title: 'Gemma 3n E2B',
    in_progress: true,
    update_percentage: 41,
    phase: 'downloading',
    received_bytes: 1.23e9,
    total_bytes: 3e9,
    error: null as { code: string; message: string } | null,
  };
  let told: Record<string, unknown> = { update, engine: { phase: 'loading', loaded: 0.4, reason: null, model: null } };
  const opened = await visit(browser, 'about:blank');
  visits.push({ ...opened, requests: [] });
  const { page } = opened;
  await page.route('**/ui/state', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...((await response.json()) as object), ...told } });
  });
  await page.route('**/ui/events*', async () => await new Promise(() => undefined));
  await page.goto(hearthd.url);
  const bar = page.getByRole('progressbar', { name: 'Gemma 3n E2B 2.0 is being downloaded: 1.2 GB of 3.0 GB, 41 %' });
  expect(await bar.getAttribute('value')).toBe('41');
  await page.getByRole('progressbar', { name: 'The model is being loaded: 40 %' }).waitFor();
  expect(await accessibilityProblems(page)).toEqual([]);
  const error = { code: 'WEB_REQUEST_FAILED', message: 'the server said no' };
  told = { update: { ...update, in_progress: false, phase: 'idle', update_percentage: null, error } };
  await page.reload();
  await page.getByText('Gemma 3n E2B could not be had. WEB_REQUEST_FAILED: the server said no').waitFor();
  expect(await page.getByRole('progressbar').count()).toBe(0);
});

test('when the daemon is gone the page says so, and follows the next one by itself', async () => {
  const config = { mqtt: { url: mosquitto.url }, node: { id: 'pi4' } };
  const first = await serveHearthd(config);
  const { page, close } = await visit(browser, first.url);
  const connection = page.locator('#connection');
  await connection.filter({ hasText: 'ready' }).waitFor();
  await first.stop();
  await connection.filter({ hasText: /reconnecting|not reached/ }).waitFor();
  const second = await serveHearthd({ ...config, http: { port: first.port } });
  await connection.filter({ hasText: 'ready' }).waitFor();
  await show('004.png');
  await page.locator('#timeline li', { hasText: 'An umbrella and a truck at night.' }).waitFor();
  await close();
  expect(await second.stop()).toBe(0);
});

describe.each([
  ['phone', { width: 390, height: 844 }],
  ['small phone', { width: 320, height: 640 }],
  ['desktop', { width: 1280, height: 900 }],
] as const)('on a %s', (_name, viewport) => {
  test.each(['light', 'dark'] as const)('in %s colours nothing is out of reach', async (colorScheme) => {
    await show('013.png');
    const page = await open({ viewport, colorScheme, reducedMotion: 'reduce' });
    await page.locator('.stream img').first().waitFor();
    expect(await accessibilityProblems(page)).toEqual([]);
    const width = await page.evaluate('document.documentElement.scrollWidth');
    expect(width).toBe(viewport.width);
  });
});

test('where a token is set it is asked for once, and wrong ones are refused', async () => {
  const token = 'correct-horse-battery';
  const guarded = await serveHearthd({ http: { token } });
  const { page, requests, close } = await visit(browser, guarded.url);
  await page.getByLabel('Token of this device').fill('wrong-horse-battery');
  await page.keyboard.press('Enter');
  await page.getByText('That is not the token.').waitFor();
  expect(await accessibilityProblems(page)).toEqual([]);
  await page.getByLabel('Token of this device').fill(token);
  await page.keyboard.press('Enter');
  await page.locator('#connection', { hasText: 'ready' }).waitFor();
  await page.reload();
  await page.locator('#connection', { hasText: 'ready' }).waitFor();
  // The token is in no address, and scripts cannot read what took its place.
  expect(requests.filter((url) => url.includes(token))).toEqual([]);
  expect(await page.evaluate('document.cookie')).toBe('');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Token of this device').waitFor();
  await close();
  expect(await guarded.stop()).toBe(0);
});
