import type { Readable } from 'node:stream';

/**
 * Reads the fixed headers (MQTT 3.1.1 section 2.2) that pass by, so that a large packet is
 * noticed at its start, before a parser gathers it in memory. `onOversized` is to end the stream.
 */
export function limitPackets(stream: Readable, maxBytes: number, onOversized: (sizeBytes: number) => void): void {
  /** Bytes of the current packet that are still to come; -1 in a header. */
  let left = -1;
  let length = 0;
  /** Position in the header: 0 is the packet type, then up to four bytes of length. */
  let at = 0;
  stream.on('data', (chunk: Buffer) => {
    let i = 0;
    while (i < chunk.length) {
      if (left > 0) {
        const step = Math.min(left, chunk.length - i);
        left -= step;
        i += step;
        if (left === 0) left = -1;
        continue;
      }
      const byte = chunk[i++] as number;
      if (at === 0) {
        length = 0;
        at = 1;
        continue;
      }
      length += (byte & 0x7f) * 128 ** (at - 1);
      if ((byte & 0x80) !== 0 && at < 4) {
        at++;
        continue;
      }
      if (length > maxBytes) {
        onOversized(length);
        return;
      }
      at = 0;
      left = length === 0 ? -1 : length;
    }
  });
}
