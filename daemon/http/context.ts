/** What the routes need of the daemon. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { HearthError } from '../errors';
import type { ModelInfo } from '../inference/types';
import type { JobTerms, RequestJobs } from '../requests/jobs';
import type { ModelFile, ModelsAccess } from './models';

export interface Readiness {
  /** `ready`, or what the engine is doing instead. */
  readonly engine: string;
  readonly broker: 'connected' | 'offline';
}

export interface HttpContext {
  readonly jobs: RequestJobs;
  /** Undefined while no model is loaded. */
  readonly model: () => ModelInfo | undefined;
  readonly modelFile: () => ModelFile;
  readonly models?: ModelsAccess;
  readonly maxAudioSeconds: number;
  readonly readiness: () => Readiness;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

function header(request: FastifyRequest, name: string, min: number, max: number): number | undefined {
  const given = request.headers[name];
  if (given === undefined) return undefined;
  const value = typeof given === 'string' && /^\d{1,9}$/.test(given) ? Number(given) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new HearthError(
    'REQUEST_INVALID',
    `${name}: expected a whole number from ${min} to ${max}, received ${JSON.stringify(String(given).slice(0, 40))}`,
  );
}

/** Priority and deadline are headers, since the bodies are other people's; a client that hangs up cancels its job. */
export function termsOf(request: FastifyRequest, reply: FastifyReply): JobTerms & { readonly signal: AbortSignal } {
  const abort = new AbortController();
  const { raw } = reply;
  raw.once('close', () => {
    if (!raw.writableFinished) abort.abort();
  });
  if (raw.destroyed) abort.abort();
  return {
    priority: header(request, 'x-hearth-priority', 0, 9),
    deadlineMs: header(request, 'x-hearth-deadline-ms', 1, 3_600_000),
    signal: abort.signal,
  };
}
