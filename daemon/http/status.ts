/** What an error is on the wire: its status, and its body in the words of the front door it leaves by. */
import type { FastifyError } from 'fastify';
import { catalogue, type ErrorCode, HearthError } from '../errors';
import { messageOf } from '../log';

/** By code; 503 for what is worth a retry and 400 for the rest, where nothing is named. */
const statuses: Partial<Record<ErrorCode, number>> = {
  ENGINE_CANCELLED: 499,
  GRAMMAR_DEAD_END: 500,
  HTTP_HOST_REFUSED: 403,
  HTTP_ORIGIN_REFUSED: 403,
  HTTP_ROUTE_UNKNOWN: 404,
  HTTP_TOO_MANY_GUESSES: 429,
  HTTP_UNAUTHORIZED: 401,
  INTERNAL: 500,
  JOB_DEADLINE: 504,
  MEDIA_AUDIO_TOO_LONG: 413,
  MEDIA_IMAGE_TOO_LARGE: 413,
  MEDIA_TOO_LARGE: 413,
  MODEL_UNKNOWN: 404,
  PICTURE_UNAVAILABLE: 404,
  REQUEST_TOO_LARGE: 413,
};

export function statusOf(code: ErrorCode): number {
  return statuses[code] ?? (catalogue[code].retryable ? 503 : 400);
}

/** Fastify's own errors have codes of its own. */
const ofFastify: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'REQUEST_TOO_LARGE',
  FST_REQ_FILE_TOO_LARGE: 'REQUEST_TOO_LARGE',
  FST_PARTS_LIMIT: 'REQUEST_TOO_LARGE',
  FST_FILES_LIMIT: 'REQUEST_TOO_LARGE',
  FST_FIELDS_LIMIT: 'REQUEST_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'REQUEST_BAD_JSON',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'REQUEST_BAD_JSON',
  FST_ERR_CTP_INVALID_JSON_BODY: 'REQUEST_BAD_JSON',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'REQUEST_INVALID',
};

export function asHearthError(error: unknown): HearthError {
  if (error instanceof HearthError) return error;
  const { code, validation, statusCode } = error as Partial<FastifyError>;
  const [problem] = validation ?? [];
  if (problem !== undefined) {
    const where = `body${problem.instancePath}`.replaceAll('/', '.');
    const which = problem.params?.['allowedValues'];
    return new HearthError(
      'REQUEST_INVALID',
      `${where} ${problem.message ?? 'does not fit'}${Array.isArray(which) ? `: ${which.map((value) => JSON.stringify(value)).join(', ')}` : ''}`,
    );
  }
  const known = code === undefined ? undefined : ofFastify[code];
  if (known !== undefined) return new HearthError(known, messageOf(error), { cause: error });
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new HearthError('REQUEST_INVALID', messageOf(error), { cause: error });
  return new HearthError('INTERNAL', 'a defect in hearth; its log says more', { cause: error });
}

export type ErrorShape = (error: HearthError) => Readonly<Record<string, unknown>>;

const openAiShape: ErrorShape = ({ code, message }) => {
  const status = statusOf(code);
  const type = status === 401 ? 'authentication_error' : status < 500 ? 'invalid_request_error' : 'server_error';
  return { error: { message, type, param: null, code } };
};

/** Clients show the text alone, so that the code is in it, too. */
const ollamaShape: ErrorShape = ({ code, message }) => ({ error: `${code}: ${message}`, code });

const plainShape: ErrorShape = (error) => ({ error: error.toJSON() });

/** By the path, so that what is refused before there is a route has the right shape, too. */
export function shapeFor(url: string): ErrorShape {
  if (/^\/v1([/?]|$)/.test(url)) return openAiShape;
  if (/^\/api([/?]|$)/.test(url)) return ollamaShape;
  return plainShape;
}
