/**
 * Who may ask. On loopback anyone on the machine, but no web page: one from elsewhere that a browser here has open is
 * told by its `Origin`, one whose name was made to point here (DNS rebinding) by the `Host` it asks for. From other
 * machines whoever has the token.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { isLoopback } from '../config';
import { HearthError } from '../errors';

export interface GuardOptions {
  /** Whether the server listens on loopback only. */
  readonly loopback: boolean;
  readonly token: string | null;
  /** Names the daemon is asked for by, beside those of loopback. */
  readonly allowedHosts: readonly string[];
  /** Web pages that may ask, such as `https://chat.example`. */
  readonly allowedOrigins: readonly string[];
}

/** Of a `Host` header; undefined for what is none. */
function nameOf(host: string | undefined): string | undefined {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?$/i.exec(host ?? '');
  return match?.[1]?.toLowerCase().replace(/\.$/, '');
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
const shown = (text: string | undefined): string => JSON.stringify((text ?? '').slice(0, 80));

export class Guard {
  readonly #options: GuardOptions;
  readonly #token: Buffer | undefined;
  readonly #hosts: ReadonlySet<string>;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#token = options.token === null ? undefined : digest(options.token);
    this.#hosts = new Set(options.allowedHosts.map((name) => name.toLowerCase()));
  }

  /** Throws `HTTP_HOST_REFUSED` or `HTTP_ORIGIN_REFUSED`. */
  checkSource({ headers }: FastifyRequest): void {
    const { host, origin } = headers;
    const name = nameOf(host);
    const { loopback, allowedOrigins } = this.#options;
    const known = name !== undefined && (isLoopback(name) || this.#hosts.has(name));
    // Where it is opened, any name may lead here, and the token is what counts.
    if (!known && (loopback || this.#hosts.size > 0 || name === undefined)) {
      throw new HearthError(
        'HTTP_HOST_REFUSED',
        `Host: expected localhost, an address of loopback or one of http.allowedHosts, received ${shown(host)}`,
      );
    }
    // Programs send none, browsers send it with whatever a page of another origin asks for.
    if (origin === undefined || allowedOrigins.includes(origin)) return;
    if (origin !== `http://${host}` && origin !== `https://${host}`) {
      throw new HearthError(
        'HTTP_ORIGIN_REFUSED',
        `Origin: expected a program, or a web page of http.allowedOrigins, received ${shown(origin)}`,
      );
    }
  }

  /** Whether this is the token, or none is asked for. In constant time. */
  isToken(given: string): boolean {
    return this.#token === undefined || timingSafeEqual(digest(given), this.#token);
  }

  /** Throws `HTTP_UNAUTHORIZED` unless there is no token or the request has it. */
  checkToken({ headers }: FastifyRequest): void {
    if (this.#token === undefined) return;
    const given = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
    if (given === undefined || !this.isToken(given)) {
      throw new HearthError(
        'HTTP_UNAUTHORIZED',
        `Authorization: expected "Bearer" and the token, received ${given === undefined ? 'none' : 'another one'}`,
      );
    }
  }

  /** The origin a response may be shown to, where it is that of a page from elsewhere. */
  corsOrigin({ headers: { origin } }: FastifyRequest): string | undefined {
    return origin !== undefined && this.#options.allowedOrigins.includes(origin) ? origin : undefined;
  }
}
