/** The web page: its files at `/`, and below `/ui` what it shows and does. */
import { join } from 'node:path';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';
import { HearthError } from '../../errors';
import type { Part } from '../../inference/types';
import { imageOf } from '../../requests/media';
import type { WebPage } from '../../web/web-page';
import { complete } from '../completion';
import { type HttpContext, termsOf } from '../context';
import type { Guard } from '../guard';
import { Guesses } from '../guesses';
import { resolveModel } from '../models';
import { endedSession, PageSession } from '../page-session';
import { shapeFor } from '../status';
import { eventStream, jsonLine, jsonLines, sendStream } from '../stream';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whose cookies are as good as the token. */
    session?: PageSession | undefined;
  }
}

export interface PageRoutesOptions extends HttpContext {
  readonly page: WebPage;
  readonly guard: Guard;
  readonly token: string | null;
}

/** From `dist/daemon/http/routes`: the files are served as they are in the source. */
const files = join(__dirname, '../../../../daemon/web/static');

/** Nothing but our own files and answers is loaded, and no text can become markup or a script. */
const policy = [
  "default-src 'self'",
  "img-src 'self' blob:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

const maxWatchers = 16;
/** A client that takes nothing for this long, heartbeats included, is gone. */
const idleMs = 60_000;
const maxReplyTokens = 1024;

interface Question {
  readonly prompt: string;
  readonly image?: string;
  readonly camera?: string;
}

const object = (properties: Readonly<Record<string, object>>, required: readonly string[] = []) => ({
  schema: { body: { type: 'object', properties, required, additionalProperties: false } },
});

const questionSchema = object(
  {
    prompt: { type: 'string', minLength: 1, maxLength: 65_536 },
    /** Base64 or a data URL. */
    image: { type: 'string', minLength: 1 },
    camera: { type: 'string', minLength: 1, maxLength: 64 },
  },
  ['prompt'],
);

export async function pageRoutes(app: FastifyInstance, options: PageRoutesOptions): Promise<void> {
  app.addHook('onRequest', async (_request, reply) => {
    reply
      .header('content-security-policy', policy)
      .header('cross-origin-resource-policy', 'same-origin')
      .header('referrer-policy', 'no-referrer');
  });
  await app.register(async (scope) => await fileRoutes(scope));
  await app.register(async (scope) => dataRoutes(scope, options));
}

async function fileRoutes(app: FastifyInstance): Promise<void> {
  // They say nothing about the daemon, and somebody has to ask for the token.
  app.addHook('onRoute', (route) => {
    route.config = { ...route.config, open: true };
  });
  // Asked for again each time, and answered with 304 unless an upgrade changed it.
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-cache');
  });
  await app.register(fastifyStatic, { root: files, wildcard: false, decorateReply: false, cacheControl: false });
}

function dataRoutes(app: FastifyInstance, options: PageRoutesOptions): void {
  const { page, guard, token, jobs, model } = options;
  const session = token === null ? undefined : new PageSession(token);
  const guesses = new Guesses();

  // A form or a script of another site can send neither JSON nor our Origin.
  app.removeContentTypeParser('text/plain');
  app.addHook('onRoute', (route) => {
    route.config = { ...route.config, session };
  });
  app.addHook('onRequest', async ({ headers, method }) => {
    const site = headers['sec-fetch-site'];
    const foreign = site === 'cross-site' || site === 'same-site';
    const unsaid =
      headers.origin === undefined && headers.cookie !== undefined && method !== 'GET' && method !== 'HEAD';
    if (foreign || unsaid)
      throw new HearthError('HTTP_ORIGIN_REFUSED', 'expected the page of this daemon to ask, with its Origin');
  });

  app.post<{ Body: { token: string } }>(
    '/ui/login',
    { config: { open: true }, ...object({ token: { type: 'string', maxLength: 512 } }, ['token']) },
    async ({ body, ip, headers }, reply) => {
      guesses.check(ip);
      if (!guard.isToken(body.token)) {
        guesses.wrong(ip);
        throw new HearthError('HTTP_UNAUTHORIZED', 'token: received another one');
      }
      const secure = headers.origin?.startsWith('https:') === true;
      if (session !== undefined) reply.header('set-cookie', session.issue(secure));
      return { ok: true };
    },
  );

  app.post('/ui/logout', { config: { open: true }, ...object({}) }, async (_request, reply) => {
    reply.header('set-cookie', endedSession);
    return { ok: true };
  });

  app.get('/ui/state', async () => ({ ...(await page.snapshot()), login: session !== undefined }));

  app.get<{ Querystring: { after?: string } }>('/ui/events', async (request, reply) => {
    if (page.feed.clients >= maxWatchers)
      throw new HearthError('REQUEST_BUSY', `expected at most ${maxWatchers} pages that watch`);
    const { signal } = termsOf(request, reply);
    const resumed = request.headers['last-event-id'];
    const after = typeof resumed === 'string' ? resumed : request.query.after;
    request.raw.socket.setTimeout(idleMs);
    return await sendStream(reply, eventStream, page.feed.follow(after, signal), () => '');
  });

  app.get<{ Params: { stream: string } }>('/ui/pictures/:stream', async ({ params }, reply) =>
    reply.type('image/jpeg').send(await page.pictures.get(params.stream)),
  );

  app.post<{ Params: { name: string } }>(
    '/ui/plugins/:name/restart',
    object({}),
    async ({ params }) => await page.restartPlugin(params.name),
  );

  const pictureOf = async ({ image, camera }: Question): Promise<Part[]> => {
    if (image !== undefined && camera !== undefined)
      throw new HearthError('REQUEST_INVALID', 'expected an image or a camera, received both');
    if (image !== undefined) return [{ type: 'image', image: await imageOf(image, 'image') }];
    if (camera === undefined) return [];
    const latest = page.latestFrame(camera);
    if (latest !== undefined) return [{ type: 'image', image: latest }];
    throw new HearthError('REQUEST_INVALID', `camera: expected one that was looked at, received ${camera}`);
  };

  app.post<{ Body: Question }>('/ui/ask', questionSchema, async (request, reply) => {
    const terms = termsOf(request, reply);
    const { info } = resolveModel(undefined, model());
    const parts: Part[] = [...(await pictureOf(request.body)), { type: 'text', text: request.body.prompt }];
    const chat = { messages: [{ role: 'user' as const, parts }], maxTokens: maxReplyTokens };
    const lines = async function* (): AsyncGenerator<string, void> {
      for await (const event of complete(chat, info, jobs, terms)) {
        if (event.type === 'text') yield jsonLine({ text: event.text });
        else if (event.type === 'end') {
          const { finishReason, usage, slice } = event;
          yield jsonLine({ end: finishReason, tokens: usage.completionTokens, ms: Math.round(usage.totalMs), slice });
        }
      }
    };
    return await sendStream(reply, jsonLines, lines(), (error) => jsonLine(shapeFor('/ui')(error)));
  });
}
