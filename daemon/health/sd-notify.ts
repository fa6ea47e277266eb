/** The way to the service manager: sd_notify(3), through a native addon of one function. */
import { join } from 'node:path';

interface SdNotify {
  /** The reason why it could not be sent; undefined when it was. */
  notify(socketPath: string, message: string): string | undefined;
}

export interface SdNotifyOptions {
  /** `NOTIFY_SOCKET`; undefined where no service manager listens, and then nothing is sent. */
  readonly socketPath: string | undefined;
  /** Hears why a message did not get out; the daemon runs on without it. */
  readonly onError: (reason: string) => void;
}

/** A function that sends one message, lines of `NAME=value`. */
export function createSdNotify({ socketPath, onError }: SdNotifyOptions): (message: string) => void {
  if (socketPath === undefined) return () => undefined;
  // Loaded only where there is someone to tell. Not the runtime, which is never loaded into the daemon.
  const addon = require(join(__dirname, '../../../build/Release/sd_notify.node')) as SdNotify;
  return (message) => {
    const reason = addon.notify(socketPath, message);
    if (reason !== undefined) onError(`${socketPath}: ${reason}`);
  };
}
