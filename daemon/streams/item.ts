/** Where an input came from, and the parts every item made of it shares. */
import { createHash } from 'node:crypto';
import { ulid } from 'ulid';

export interface Captured {
  readonly topic: string;
  /** Unix time in seconds when it arrived. */
  readonly receivedTs: number;
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function itemFields(stream: string, topic: string, capturedTs: number, sha256: string, ref: string) {
  return { id: ulid(), stream, topic, capturedTs, sha256, media: { ref } };
}
