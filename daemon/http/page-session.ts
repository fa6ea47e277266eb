/**
 * Who gave the page the token keeps a cookie instead: scripts cannot read it, other sites cannot have it sent, and
 * `EventSource`, which sends no headers, sends it. It says until when it holds, signed with a key made of the token, so
 * that it outlives a restart and not a change of the token.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

const name = 'hearth_page';
const lifetimeSeconds = 30 * 86_400;
/** Only what the page asks for; the other interfaces take the token and nothing else. */
const attributes = 'Path=/ui; HttpOnly; SameSite=Strict';

export class PageSession {
  readonly #key: Buffer;

  constructor(
    token: string,
    private readonly now: () => number = Date.now,
  ) {
    this.#key = createHmac('sha256', token).update('hearth page').digest();
  }

  /** A `Set-Cookie`; `secure` where the page came by HTTPS. */
  issue(secure: boolean): string {
    const until = String(Math.floor(this.now() / 1000) + lifetimeSeconds);
    const value = `${until}.${this.#sign(until).toString('base64url')}`;
    return `${name}=${value}; Max-Age=${lifetimeSeconds}; ${attributes}${secure ? '; Secure' : ''}`;
  }

  /** Whether the `Cookie` header has one that holds. */
  accepts(cookies: string | undefined): boolean {
    for (const cookie of (cookies ?? '').split(/; */)) {
      const [, until, signature] = /^hearth_page=(\d{1,12})\.([\w-]{43})$/.exec(cookie) ?? [];
      if (until === undefined || signature === undefined) continue;
      const fits = timingSafeEqual(Buffer.from(signature, 'base64url'), this.#sign(until));
      if (fits && Number(until) * 1000 > this.now()) return true;
    }
    return false;
  }

  #sign(until: string): Buffer {
    return createHmac('sha256', this.#key).update(until).digest();
  }
}

/** A `Set-Cookie` that ends it. */
export const endedSession = `${name}=; Max-Age=0; ${attributes}`;
