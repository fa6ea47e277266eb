/** Ollama's `pull`: a model of the catalogue is downloaded, and how far it is comes in lines. */
import type { FastifyInstance } from 'fastify';
import { ulid } from 'ulid';
import type { ModelSource } from '../../models/catalogue';
import type { Progress } from '../../models/model-update';
import { termsOf } from '../context';
import type { ModelsAccess } from '../models';
import { shapeFor } from '../status';
import { jsonLine, jsonLines, sendStream } from '../stream';

interface PullBody {
  readonly model?: string;
  readonly name?: string;
  readonly stream?: boolean;
  readonly insecure?: boolean;
}

const name = { type: 'string', minLength: 1, maxLength: 128 };
const bodySchema = {
  type: 'object',
  anyOf: [{ required: ['model'] }, { required: ['name'] }],
  // `insecure` is sent by clients; a hash is checked whatever it says.
  properties: { model: name, name, stream: { type: 'boolean' }, insecure: { type: 'boolean' } },
  additionalProperties: false,
};

const success = { status: 'success' };

function lineOf({ sha256 }: ModelSource, { phase, receivedBytes, totalBytes }: Progress): object {
  if (phase === 'verifying') return { status: 'verifying sha256 digest' };
  const digest = `sha256:${sha256}`;
  const total = totalBytes === null ? {} : { total: totalBytes };
  return { status: `pulling ${sha256.slice(0, 12)}`, digest, ...total, completed: receivedBytes };
}

/** The lines of one download, as it goes on. */
async function* linesOf(models: ModelsAccess, source: ModelSource, id: string): AsyncGenerator<object, void> {
  yield { status: 'pulling manifest' };
  // Only the newest progress is worth telling to a client that reads slowly.
  let latest: Progress | undefined;
  let wake: () => void = () => undefined;
  let ended = false;
  const pulling = models.pull(source.name, {
    id,
    onProgress: (progress) => {
      latest = progress;
      wake();
    },
  });
  const end = (): void => {
    ended = true;
    wake();
  };
  pulling.then(end, end);
  for (;;) {
    const progress = latest;
    latest = undefined;
    if (progress !== undefined) yield lineOf(source, progress);
    else if (ended) break;
    else {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  await pulling;
  yield success;
}

export function pullRoute(app: FastifyInstance, models: ModelsAccess): void {
  app.post<{ Body: PullBody }>('/api/pull', { schema: { body: bodySchema } }, async (request, reply) => {
    const { model, name: old, stream = true } = request.body;
    const source = models.source(model ?? old ?? '');
    const id = `http-${ulid()}`;
    // Who hangs up does not want it any more.
    const { signal } = termsOf(request, reply);
    signal.addEventListener('abort', () => void models.cancel(id), { once: true });
    if (!stream) {
      await models.pull(source.name, { id });
      return success;
    }
    const lines = async function* (): AsyncGenerator<string, void> {
      for await (const line of linesOf(models, source, id)) yield jsonLine(line);
    };
    return await sendStream(reply, jsonLines, lines(), (error) => jsonLine(shapeFor('/api')(error)));
  });
}
