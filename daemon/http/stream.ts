/** A reply in pieces, as they come: server-sent events for one front door, a JSON object a line for the other. */
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { HearthError } from '../errors';
import { asHearthError } from './status';

export const eventStream = 'text/event-stream; charset=utf-8';
export const jsonLines = 'application/x-ndjson';

export const sse = (data: object | string): string =>
  `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;

export const jsonLine = (data: object): string => `${JSON.stringify(data)}\n`;

/**
 * Sends what `pieces` yields. What goes wrong before the first piece rejects, so that the response has the status of the
 * error; what goes wrong later ends the stream with `errorPiece`.
 */
export async function sendStream(
  reply: FastifyReply,
  contentType: string,
  pieces: AsyncGenerator<string, void>,
  errorPiece: (error: HearthError) => string,
): Promise<FastifyReply> {
  const first = await pieces.next();
  const all = async function* (): AsyncGenerator<string, void> {
    try {
      if (first.done !== true) yield first.value;
      yield* pieces;
    } catch (error) {
      yield errorPiece(asHearthError(error));
    }
  };
  // The second one keeps proxies from collecting pieces.
  reply.type(contentType).header('cache-control', 'no-store').header('x-accel-buffering', 'no');
  return reply.send(Readable.from(all()));
}
