/** The token for a server of models, read when it is needed: it is in no configuration that is held or shown. */
import { readFileSync } from 'node:fs';
import { HearthError } from '../errors';

/** Throws `FILE_UNREADABLE`, never with what the file holds. */
export function readToken(path: string): string {
  let token: string;
  try {
    token = readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new HearthError('FILE_UNREADABLE', `tokenFile: ${(error as { code?: string }).code ?? 'unreadable'}`, {
      cause: error,
    });
  }
  if (/^[!-~]{1,4096}$/.test(token)) return token;
  throw new HearthError(
    'FILE_UNREADABLE',
    `tokenFile: expected 1 to 4096 printable ASCII characters without spaces, received ${token.length} characters`,
  );
}
