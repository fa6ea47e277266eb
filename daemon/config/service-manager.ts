/** What a service manager passes to the daemon in its environment: systemd.exec(5), sd_notify(3). */
export interface ServiceManager {
  /** `NOTIFY_SOCKET`: where the daemon reports its state; undefined when nothing listens. */
  readonly notifySocket: string | undefined;
  /** `WATCHDOG_USEC`: silence for longer ends the daemon; undefined without a watchdog. */
  readonly watchdogMs: number | undefined;
}

export function serviceManager(env: Readonly<Record<string, string | undefined>> = process.env): ServiceManager {
  const watchdogUs = Number(env['WATCHDOG_USEC']);
  // The watchdog may be meant for another process that this one inherited its environment from.
  const mine = env['WATCHDOG_PID'] === undefined || env['WATCHDOG_PID'] === String(process.pid);
  return {
    notifySocket: env['NOTIFY_SOCKET'] || undefined,
    watchdogMs: mine && Number.isInteger(watchdogUs) && watchdogUs > 0 ? watchdogUs / 1000 : undefined,
  };
}
