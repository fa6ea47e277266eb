/** `hearth model convert`: shows progress, and leaves no half a file behind when it is told to stop. */
import { type ConvertOptions, type ConvertResult, convertCheckpoint } from '../models/convert/convert';

export interface ConvertCommand extends Omit<ConvertOptions, 'signal' | 'onProgress'> {
  /** A line for each per cent. */
  readonly onLine: (line: string) => void;
}

const signals = ['SIGINT', 'SIGTERM'] as const;

/** Rejects as `convertCheckpoint` does, with `CANCELLED` after SIGINT or SIGTERM. */
export async function convert({ onLine, ...options }: ConvertCommand): Promise<ConvertResult> {
  const stop = new AbortController();
  const abort = (): void => stop.abort();
  for (const signal of signals) process.once(signal, abort);
  let percent = -1;
  try {
    return await convertCheckpoint({
      ...options,
      signal: stop.signal,
      onProgress: (done, total, tensor) => {
        const now = Math.floor((100 * done) / total);
        if (now > percent) onLine(`${now} % ${tensor}`);
        percent = now;
      },
    });
  } finally {
    for (const signal of signals) process.removeListener(signal, abort);
  }
}
