/** Orderly endings: steps that may each take so long and no longer, and a bound on the whole. */
import type { Log } from './log';
import { messageOf } from './log';

/** Runs one step of a shutdown; what fails or hangs is logged, and the next step comes all the same. */
export async function step(name: string, timeoutMs: number, log: Log, run: () => unknown): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), timeoutMs);
  });
  try {
    const outcome = await Promise.race([Promise.resolve().then(run), timeout]);
    if (outcome === 'late') log.warn({ step: name, timeoutMs }, 'a part of the daemon did not end in time');
  } catch (error) {
    log.warn({ step: name, reason: messageOf(error) }, 'a part of the daemon did not end well');
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves with the first of `signals`; a second one ends the process at once. */
export async function firstSignal(signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return await new Promise((resolve) => {
    let seen = false;
    for (const signal of signals) {
      process.on(signal, () => {
        if (seen) process.exit(1);
        seen = true;
        resolve(signal);
      });
    }
  });
}
