/** Logging: JSON lines on standard output for the journal, and a tap for what goes out over MQTT. */
import pino, { type Logger } from 'pino';

/** Namespaces are children: `log.child({ ns: 'bus' })`. Fields come first: `log.info({ stream }, 'text')`. */
export type Log = Logger;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'fatal';

export interface LogRecord {
  readonly level: LogLevel;
  readonly ns: string;
  readonly msg: string;
  /** Unix time in seconds. */
  readonly ts: number;
}

export interface LogOptions {
  readonly level: 'trace' | LogLevel | 'silent';
  /** Hears every record of `info` and above, without its fields: those may name files and addresses. */
  readonly tap?: (record: LogRecord) => void;
  readonly destination?: pino.DestinationStream;
  /** Is handed every line that goes to the destination. */
  readonly also?: (line: string) => void;
}

/** Fields that never reach the output, wherever they are one or two levels deep. */
const secretFields = ['password', 'token', 'secret', 'authorization', 'key'];

export function createLog({ level, tap, destination, also }: LogOptions): Log {
  // Synchronous, so that the last line before an exit is not lost.
  const first = destination ?? pino.destination({ dest: 1, sync: true });
  const write = (line: string): void => {
    first.write(line);
    also?.(line);
  };
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"ts":${Date.now() / 1000}`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secretFields.flatMap((name) => [name, `*.${name}`]), censor: '***' },
      hooks: {
        logMethod(args, method, severity) {
          method.apply(this, args);
          const name = pino.levels.labels[severity];
          if (tap === undefined || severity < 30 || name === undefined) return;
          const { ns } = this.bindings() as { ns?: unknown };
          const msg = args.find((arg) => typeof arg === 'string') ?? '';
          tap({ level: name as LogLevel, ns: typeof ns === 'string' ? ns : 'hearth', msg, ts: Date.now() / 1000 });
        },
      },
    },
    also === undefined ? first : { write },
  );
}

/** The message of whatever was thrown. By shape, not by class: an error may come from another realm. */
export function messageOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
}
