/** The HTTP server: who may come in, what they get when something is wrong, and the routes of each front door. */
import multipart from '@fastify/multipart';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { HearthError } from '../errors';
import { isDeeperThan, maxJsonDepth } from '../json';
import { type Log, messageOf } from '../log';
import type { WebPage } from '../web/web-page';
import type { HttpContext } from './context';
import { Guard, type GuardOptions } from './guard';
import { ollamaRoutes } from './routes/ollama';
import { openAiRoutes } from './routes/openai';
import { pageRoutes } from './routes/page';
import { statusRoutes } from './routes/status';
import { transcriptionRoutes } from './routes/transcriptions';
import { asHearthError, shapeFor, statusOf } from './status';

export interface HttpServerOptions extends Omit<GuardOptions, 'loopback'>, HttpContext {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly loopback: boolean;
  readonly maxBodyBytes: number;
  /** Undefined where none is served. */
  readonly page: WebPage | undefined;
  readonly log: Log;
  /** Hears of every response: the route as it is declared, never the path that was asked for. */
  readonly onResponse: (route: string, method: string, status: number) => void;
}

/** Requests with a body that are read or answered at a time, and how many of the largest bodies they may be together. */
const maxRequests = 64;
const maxBodies = 4;
const maxConnections = 256;
const requestTimeoutMs = 60_000;
/** In the label of a metric; anybody may make up others. */
const methods: readonly string[] = ['GET', 'HEAD', 'POST', 'OPTIONS'];

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #app: FastifyInstance;
  readonly #guard: Guard;
  #requests = 0;
  #bodyBytes = 0;
  #stopping = false;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#guard = new Guard(options);
    this.#app = fastify({
      bodyLimit: options.maxBodyBytes,
      requestTimeout: requestTimeoutMs,
      forceCloseConnections: true,
      // What a client sends is taken as it is or refused, never turned into something else.
      ajv: {
        customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, allowUnionTypes: true },
      },
      frameworkErrors: (error, request, reply) => this.#fail(error, request, reply),
    });
    this.#app.server.maxConnections = maxConnections;
    this.#app.addHook('onRequest', async (request, reply) => await this.#admit(request, reply));
    this.#app.addHook('preValidation', async ({ body }) => {
      if (isDeeperThan(body, maxJsonDepth))
        throw new HearthError('REQUEST_BAD_JSON', `body: expected at most ${maxJsonDepth} levels of nesting`);
    });
    this.#app.setErrorHandler((error, request, reply) => this.#fail(error, request, reply));
    this.#app.setNotFoundHandler(({ method }, reply) => {
      const error = new HearthError('HTTP_ROUTE_UNKNOWN', `nothing here answers ${method} requests to that path`);
      return this.#fail(error, reply.request, reply);
    });
    this.#app.register(multipart, {
      limits: { fileSize: options.maxBodyBytes, files: 1, fields: 16, fieldSize: 64 << 10, parts: 17 },
    });
    for (const routes of [statusRoutes, openAiRoutes, transcriptionRoutes, ollamaRoutes]) {
      this.#app.register(async (scope) => routes(scope, options));
    }
    const { page } = options;
    if (page !== undefined)
      this.#app.register(async (scope) => await pageRoutes(scope, { ...options, page, guard: this.#guard }));
  }

  /** Resolves to the URL it listens at. Rejects with `HTTP_LISTEN_FAILED`. */
  async start(): Promise<string> {
    const { host, port } = this.#options;
    try {
      return await this.#app.listen({ host, port });
    } catch (cause) {
      throw new HearthError('HTTP_LISTEN_FAILED', `http: ${host}, port ${port}: ${messageOf(cause)}`, { cause });
    }
  }

  /** From now on requests are refused with `SHUTDOWN`; those in hand go on. */
  stopIntake(): void {
    this.#stopping = true;
  }

  /** Closes every connection, and with it cancels what is still being answered. */
  async close(): Promise<void> {
    this.#stopping = true;
    await this.#app.close();
  }

  async #admit(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { method } = request;
    const began = performance.now();
    reply.raw.once('close', () => {
      const route = request.routeOptions.url ?? 'unknown';
      this.#options.onResponse(route, methods.includes(method) ? method : 'other', reply.raw.statusCode);
      this.#options.log.debug(
        { route, method, status: reply.raw.statusCode, ms: Math.round(performance.now() - began) },
        'answered',
      );
    });
    reply.header('x-content-type-options', 'nosniff').header('cache-control', 'no-store');
    this.#guard.checkSource(request);
    const origin = this.#guard.corsOrigin(request);
    if (origin !== undefined) {
      reply.header('access-control-allow-origin', origin).header('vary', 'Origin');
      if (method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined) {
        const wanted = request.headers['access-control-request-headers'];
        reply.header('access-control-allow-methods', 'GET, POST').header('access-control-max-age', '600');
        if (wanted !== undefined) reply.header('access-control-allow-headers', wanted);
        await reply.code(204).send();
        return;
      }
    }
    const { open, session } = request.routeOptions.config;
    if (open !== true && session?.accepts(request.headers.cookie) !== true) this.#guard.checkToken(request);
    if (method !== 'GET' && method !== 'HEAD') this.#makeRoom(request, reply);
  }

  /** Before its body is read: a body is in memory as long as its request is answered. */
  #makeRoom({ headers }: FastifyRequest, reply: FastifyReply): void {
    const { maxBodyBytes } = this.#options;
    if (this.#stopping) throw new HearthError('SHUTDOWN', 'the daemon is stopping');
    // One that does not say how long it is may be as long as any.
    const bytes = Math.min(Number(headers['content-length'] ?? maxBodyBytes), maxBodyBytes);
    if (this.#requests >= maxRequests || this.#bodyBytes + bytes > maxBodies * maxBodyBytes) {
      throw new HearthError(
        'REQUEST_BUSY',
        `expected at most ${maxRequests} requests of ${maxBodies * maxBodyBytes} bytes at a time`,
      );
    }
    this.#requests++;
    this.#bodyBytes += bytes;
    reply.raw.once('close', () => {
      this.#requests--;
      this.#bodyBytes -= bytes;
    });
  }

  #fail(thrown: unknown, { url }: FastifyRequest, reply: FastifyReply): FastifyReply {
    const error = asHearthError(thrown);
    if (error.code === 'INTERNAL') {
      const { cause = thrown } = error;
      this.#options.log.error(
        { reason: messageOf(cause), stack: cause instanceof Error ? cause.stack : undefined },
        'INTERNAL: a request was not answered',
      );
    }
    const status = statusOf(error.code);
    if (status === 401) reply.header('www-authenticate', 'Bearer');
    if (status === 503) reply.header('retry-after', '1');
    return reply.code(status).type('application/json; charset=utf-8').send(shapeFor(url)(error));
  }
}
