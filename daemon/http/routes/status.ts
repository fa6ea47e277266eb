/** How the daemon is: for whoever restarts it, for whoever sends it requests, and for Prometheus. */
import type { FastifyInstance } from 'fastify';
import type { HttpContext } from '../context';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered without the token: says no more than that the daemon is there. */
    open?: boolean;
  }
}

export function statusRoutes(app: FastifyInstance, { readiness, metrics }: HttpContext): void {
  app.get('/healthz', { config: { open: true } }, () => ({ status: 'ok' }));

  app.get('/readyz', { config: { open: true } }, (_request, reply) => {
    const { engine, broker } = readiness();
    const ready = engine === 'ready' && broker === 'connected';
    reply.code(ready ? 200 : 503);
    return { status: ready ? 'ready' : 'not ready', engine, broker };
  });

  app.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await metrics();
    return reply.header('content-type', contentType).send(text);
  });
}
