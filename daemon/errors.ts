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
  JOB_DEADLINE: { meaning: 'The job was still waiting when its deadline passed; it never started.', retryable: true },
  MEDIA_AUDIO_FORMAT: { meaning: 'Raw PCM does not fit the format declared for it, or the sample rate is out of range.', retryable: false },
  MEDIA_AUDIO_TOO_LONG: { meaning: 'An audio chunk is longer than the longest clip that is taken.', retryable: false },
  MEDIA_BAD_ENVELOPE: { meaning: 'A JSON or data-URL payload does not carry a picture in the agreed form.', retryable: false },
  MEDIA_BROKEN_IMAGE: { meaning: 'The picture starts like one but cannot be decoded.', retryable: false },
  MEDIA_BROKEN_WAV: { meaning: 'The WAV header contradicts itself or its data.', retryable: false },
  MEDIA_FRAME_SIZE: { meaning: 'A raw frame is not as many bytes as its format, width and height make.', retryable: false },
  MEDIA_GONE: { meaning: 'The picture or sound is no longer held; its handler has ended.', retryable: false },
  MEDIA_IMAGE_TOO_LARGE: { meaning: 'The picture has more pixels than are decoded.', retryable: false },
  MEDIA_NOT_AN_IMAGE: { meaning: 'The bytes are no JPEG, PNG or WebP, nor a JSON or data URL that carries one.', retryable: false },
  MEDIA_NOT_A_WAV: { meaning: 'The bytes are no RIFF/WAVE file.', retryable: false },
  MEDIA_OUT_OF_ORDER: { meaning: 'An audio chunk arrived after a later one.', retryable: false },
  MEDIA_STORE_FULL: { meaning: 'Too many decoded pictures and sounds are waiting for their handlers.', retryable: true },
  MEDIA_TOO_LARGE: { meaning: 'A payload has more bytes than its kind may have.', retryable: false },
  MEDIA_WAV_UNSUPPORTED: { meaning: 'The WAV holds a codec, a depth or a channel count that is not decoded.', retryable: false },
  QUEUE_EVICTED: { meaning: 'A job of a higher priority took the place of this one in the full queue.', retryable: true },
  QUEUE_FULL: { meaning: 'The job queue is full of jobs of the same or a higher priority.', retryable: true },
  SHUTDOWN: { meaning: 'The daemon is stopping.', retryable: true },
  STREAM_LIMIT: { meaning: 'More streams than the configured number; the new one is not taken.', retryable: false },
  STREAM_NAME_INVALID: { meaning: 'A stream name has other characters than a-z, 0-9, _ and -.', retryable: false },
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
