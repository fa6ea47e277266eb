/** `/v1/audio/transcriptions`: a WAV in a form, what is said in it back. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { HearthError } from '../../errors';
import { toModelRate } from '../../media/resample';
import { decodeWav } from '../../media/wav';
import { maxRecordingSeconds, type TranscribedPiece, transcribe } from '../../requests/transcribe';
import { type HttpContext, termsOf } from '../context';
import { resolveModel } from '../models';
import { shapeFor } from '../status';
import { eventStream, sendStream, sse } from '../stream';

const formats = ['json', 'text', 'verbose_json'] as const;
type Format = (typeof formats)[number];

interface Form {
  readonly file: Buffer;
  readonly fields: Readonly<Record<string, string>>;
}

async function formOf(request: FastifyRequest): Promise<Form> {
  if (!request.isMultipart()) {
    throw new HearthError('REQUEST_INVALID', 'transcription: expected multipart/form-data with a file');
  }
  let file: Buffer | undefined;
  const fields: Record<string, string> = Object.create(null) as Record<string, string>;
  for await (const part of request.parts()) {
    if (part.type === 'field') fields[part.fieldname] = String(part.value);
    else if (part.fieldname === 'file') file = await part.toBuffer();
    else throw new HearthError('REQUEST_INVALID', 'transcription: expected one file, named "file"');
  }
  if (file === undefined) throw new HearthError('REQUEST_INVALID', 'file: expected a WAV, received none');
  return { file, fields };
}

function formatOf(given: string | undefined): Format {
  const format = formats.find((known) => known === (given ?? 'json'));
  if (format !== undefined) return format;
  throw new HearthError('REQUEST_INVALID', `response_format: expected one of ${formats.join(', ')}`);
}

const textOf = (pieces: readonly TranscribedPiece[]): string =>
  pieces
    .map(({ text }) => text)
    .filter((text) => text !== '')
    .join(' ');

function usageOf(pieces: readonly TranscribedPiece[]) {
  const input = pieces.reduce((sum, { result }) => sum + result.tokens.prompt, 0);
  const output = pieces.reduce((sum, { result }) => sum + result.tokens.completion, 0);
  return { type: 'tokens', input_tokens: input, output_tokens: output, total_tokens: input + output };
}

async function* events(pieces: AsyncIterable<TranscribedPiece>): AsyncGenerator<string, void> {
  const done: TranscribedPiece[] = [];
  for await (const piece of pieces) {
    const before = textOf(done);
    done.push(piece);
    const delta = textOf(done).slice(before.length);
    if (delta !== '') yield sse({ type: 'transcript.text.delta', delta });
  }
  yield sse({ type: 'transcript.text.done', text: textOf(done), usage: usageOf(done) });
}

export function transcriptionRoutes(app: FastifyInstance, context: HttpContext): void {
  const { jobs, model, maxAudioSeconds } = context;

  app.post('/v1/audio/transcriptions', async (request, reply) => {
    const terms = termsOf(request, reply);
    const { file, fields } = await formOf(request);
    const format = formatOf(fields['response_format']);
    // Programs that know one transcriber ask for it by this name.
    const wanted = fields['model'] === 'whisper-1' ? undefined : fields['model'];
    const { info } = resolveModel(wanted, model());
    if (!info.modalities.includes('audio')) throw new HearthError('MODEL_UNSUPPORTED', 'the model takes no sound');
    const recording = await toModelRate(decodeWav(file, maxRecordingSeconds * 1000));
    const running = transcribe(recording, info, maxAudioSeconds, jobs, terms);
    if (fields['stream'] === 'true')
      return await sendStream(reply, eventStream, events(running), (error) => sse(shapeFor('/v1')(error)));

    const pieces: TranscribedPiece[] = [];
    for await (const piece of running) pieces.push(piece);
    const text = textOf(pieces);
    if (format === 'text') return reply.type('text/plain; charset=utf-8').send(`${text}\n`);
    if (format === 'json') return { text, usage: usageOf(pieces) };
    return {
      task: 'transcribe',
      language: fields['language'] ?? 'unknown',
      duration: pieces.at(-1)?.end ?? 0,
      text,
      segments: pieces.map((piece, id) => ({ id, start: piece.start, end: piece.end, text: piece.text })),
      usage: usageOf(pieces),
    };
  });
}
