/** A server of model files, as good or as bad as a test wants it. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

export interface Asked {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

export type Answer = (request: IncomingMessage, response: ServerResponse, content: Buffer) => void;

export interface ModelServer {
  readonly url: string;
  readonly asked: Asked[];
  /** What comes to be served at a path. */
  readonly files: Map<string, Buffer>;
  /** Answers instead, one after the other, before the files are served as they should be. */
  readonly answers: Answer[];
  close(): Promise<void>;
}

export const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex');
export const etagOf = (content: Buffer): string => `"${sha256(content).slice(0, 16)}"`;

/** Ranges, `If-Range` and ETags, as servers of files have them. */
export const serve: Answer = ({ headers }, response, content) => {
  const etag = etagOf(content);
  const from = /^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1];
  const common = { etag, 'accept-ranges': 'bytes', 'content-type': 'application/octet-stream' };
  if (from === undefined || (headers['if-range'] !== undefined && headers['if-range'] !== etag)) {
    response.writeHead(200, { ...common, 'content-length': content.length }).end(content);
    return;
  }
  const start = Number(from);
  if (start >= content.length) {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
    return;
  }
  response
    .writeHead(206, {
      ...common,
      'content-length': content.length - start,
      'content-range': `bytes ${start}-${content.length - 1}/${content.length}`,
    })
    .end(content.subarray(start));
};

/** The head and the first bytes of what `serve` would send; `then` decides what becomes of the rest. */
export function begin(bytes: number, then: (response: ServerResponse) => void): Answer {
  return (request, response, content) => {
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(start === 0 ? 200 : 206, {
      etag: etagOf(content),
      'content-length': content.length - start,
      ...(start > 0 && { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` }),
    });
    response.write(content.subarray(start, start + bytes), () => then(response));
  };
}

export async function startModelServer(): Promise<ModelServer> {
  const asked: Asked[] = [];
  const files = new Map<string, Buffer>();
  const answers: Answer[] = [];
  const server: Server = createServer((request, response) => {
    const path = request.url ?? '';
    asked.push({ path, headers: request.headers });
    const content = files.get(path);
    const answer = answers.shift() ?? serve;
    if (content === undefined && answer === serve) response.writeHead(404).end();
    else answer(request, response, content ?? Buffer.alloc(0));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    files,
    answers,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
