/** Which site is being listened to, for which session. */
import { type SiteMessage, streamOf } from './messages';

export interface Session extends SiteMessage {
  /** Segments that were taken for it so far. */
  taken: number;
  /** It ends with the next segment, or when this fires. */
  closing?: NodeJS.Timeout;
}

export class Sites {
  readonly #sessions = new Map<string, Session>();
  readonly #off = new Set<string>();
  /** Sites by the stream they were last heard on. */
  readonly #heard = new Map<string, string>();

  /** Sites that are remembered: whoever can publish makes up as many as they like. */
  constructor(private readonly limit = 256) {}

  start(message: SiteMessage): void {
    this.end(message.siteId);
    this.#sessions.set(message.siteId, { ...message, taken: 0 });
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size > this.limit && oldest !== undefined) this.end(oldest);
  }

  session(siteId: string): Session | undefined {
    return this.#sessions.get(siteId);
  }

  end(siteId: string): Session | undefined {
    const session = this.#sessions.get(siteId);
    clearTimeout(session?.closing);
    this.#sessions.delete(siteId);
    return session;
  }

  switch(siteId: string, on: boolean): void {
    if (on) this.#off.delete(siteId);
    else if (this.#off.size < this.limit) this.#off.add(siteId);
  }

  isOff(siteId: string): boolean {
    return this.#off.has(siteId);
  }

  hear(siteId: string, stream: string): void {
    if (this.#heard.has(stream) || this.#heard.size < this.limit) this.#heard.set(stream, siteId);
  }

  /** The site of a stream whose segment does not say: it was ended by a message to the stream. */
  siteOn(stream: string): string | undefined {
    const heard = this.#heard.get(stream);
    if (heard !== undefined) return heard;
    for (const siteId of this.#sessions.keys()) if (streamOf(siteId) === stream) return siteId;
    return undefined;
  }

  streamOn(siteId: string): string {
    for (const [stream, site] of this.#heard) if (site === siteId) return stream;
    return streamOf(siteId);
  }

  clear(): void {
    for (const siteId of [...this.#sessions.keys()]) this.end(siteId);
  }
}
