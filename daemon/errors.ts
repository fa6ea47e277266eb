/**
 * The catalogue of everything that can go wrong: one entry per code, with what it means, whether trying again can
 * help, and the exit code where it ends a command. The README's table is generated from it.
 */
interface CatalogueEntry {
  readonly meaning: string;
  readonly retryable: boolean;
  /** Process exit code (sysexits.h) when this ends `hearthd` or a CLI command. */
  readonly exitCode?: number;
}

export const catalogue = {
  CONFIG_INVALID: { meaning: 'The configuration has an unknown key or a value that does not fit.', retryable: false, exitCode: 78 },
  ENGINE_NOT_READY: { meaning: 'The model is not loaded yet, or could not be.', retryable: true },
  ENGINE_RESTARTED: { meaning: 'The runner process ended while the job was running.', retryable: true },
  ENGINE_CANCELLED: { meaning: 'The job was cancelled.', retryable: false },
  INTERNAL: { meaning: 'A defect in hearth.', retryable: false, exitCode: 70 },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof catalogue;

/** An error with a code from the catalogue. The message says what was expected, for what, and what was received. */
export class HearthError extends Error {
  override readonly name = 'HearthError';
  readonly retryable: boolean;

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { readonly cause?: unknown },
  ) {
    super(message, options);
    this.retryable = catalogue[code].retryable;
  }

  /** What goes onto a topic or over IPC: never a stack. */
  toJSON(): { code: ErrorCode; message: string; retryable: boolean } {
    return { code: this.code, message: this.message, retryable: this.retryable };
  }
}
