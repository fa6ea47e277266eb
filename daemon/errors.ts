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
  AUDIO_INVALID: {
    meaning: 'A clip is too short or too long to encode, or has samples that are no numbers.',
    retryable: false,
  },
  BARGE_IN: { meaning: 'Someone began to speak into the microphone the job was for.', retryable: false },
  BUS_CONNECT_REFUSED: {
    meaning: 'The MQTT broker refused the connection, or could not be reached.',
    retryable: true,
    exitCode: 69,
  },
  BUS_EXPIRED: { meaning: 'A message waited for the broker until it was worth nothing any more.', retryable: false },
  BUS_OFFLINE: { meaning: 'There is no connection to the MQTT broker.', retryable: true },
  BUS_OUTBOX_FULL: { meaning: 'Too many messages are waiting for the MQTT broker.', retryable: true },
  BUS_PAYLOAD_TOO_LARGE: { meaning: 'A message is larger than the broker takes.', retryable: false },
  BUS_PUBLISH_REFUSED: { meaning: 'The MQTT broker refused a message; the ACL usually says why.', retryable: false },
  BUS_SUBSCRIBE_REFUSED: {
    meaning: 'The MQTT broker refused a subscription; the ACL usually says why.',
    retryable: false,
  },
  BUS_TOPIC_INVALID: {
    meaning: 'A topic, a filter or a name in one is malformed or may not be used.',
    retryable: false,
  },
  CALL_FUNCTION_INVALID: {
    meaning:
      'A plugin registered a function that is broken, cannot be enforced while decoding, or has the name of another.',
    retryable: false,
  },
  CALL_FUNCTION_UNKNOWN: { meaning: 'No plugin has registered the function that is called.', retryable: false },
  CALL_NOT_PENDING: { meaning: 'No call of that id waits for confirmation, or not any more.', retryable: false },
  CALL_RESULT_INVALID: { meaning: 'What a function gave back is no JSON, or too large.', retryable: false },
  CALL_TIMEOUT: { meaning: 'The result of a function call did not come in time.', retryable: true },
  CALL_TOPIC_UNSAFE: { meaning: 'An argument of a function call cannot be part of a topic.', retryable: false },
  CANCELLED: { meaning: 'The work stopped because it was told to.', retryable: false, exitCode: 130 },
  CHECKPOINT_INCOMPLETE: { meaning: 'The checkpoint lacks a file or a tensor.', retryable: false, exitCode: 66 },
  CHECKPOINT_MALFORMED: {
    meaning: 'A file of the checkpoint contradicts itself or its format.',
    retryable: false,
    exitCode: 65,
  },
  CHECKPOINT_UNSUPPORTED: {
    meaning: 'The checkpoint is of another model, or uses a type that is not converted.',
    retryable: false,
    exitCode: 65,
  },
  CONFIG_INVALID: {
    meaning: 'The configuration has an unknown key or a value that does not fit.',
    retryable: false,
    exitCode: 78,
  },
  CONTEXT_FULL: { meaning: 'The prompt or the conversation is longer than the context.', retryable: false },
  DISK_FULL: { meaning: 'The disk has no room for a download.', retryable: true, exitCode: 73 },
  ENGINE_CANCELLED: { meaning: 'The job was cancelled.', retryable: false },
  ENGINE_NOT_READY: { meaning: 'The model is not loaded yet, or could not be.', retryable: true },
  ENGINE_RESTARTED: { meaning: 'The runner process ended while the job was running.', retryable: true },
  ENGINE_STALLED: { meaning: 'The runner made no progress for too long and was ended.', retryable: true },
  FILE_NOT_FOUND: { meaning: 'A file cannot be opened, or is empty.', retryable: false, exitCode: 66 },
  FILE_UNREADABLE: { meaning: 'A file is missing or may not be read.', retryable: false, exitCode: 66 },
  FILE_WRITE_FAILED: { meaning: 'A file cannot be written.', retryable: false, exitCode: 73 },
  GGUF_MALFORMED: { meaning: 'The GGUF file contradicts itself or the format.', retryable: false, exitCode: 65 },
  GGUF_TRUNCATED: { meaning: 'The GGUF file ends before what it announces.', retryable: false, exitCode: 65 },
  GGUF_UNSUPPORTED: {
    meaning: 'The GGUF file uses a version or a tensor type that is not read.',
    retryable: false,
    exitCode: 65,
  },
  GRAMMAR_DEAD_END: { meaning: 'No token can continue the reply under its schema.', retryable: false },
  HTTP_HOST_REFUSED: {
    meaning: 'An HTTP request asked for a host this daemon is not, as a web page does that was made to point here.',
    retryable: false,
  },
  HTTP_LISTEN_FAILED: {
    meaning: 'The HTTP or the Wyoming server cannot listen; mostly because another program has its port.',
    retryable: false,
    exitCode: 69,
  },
  HTTP_ORIGIN_REFUSED: {
    meaning: 'A web page from elsewhere sent an HTTP request, and `http.allowedOrigins` does not list it.',
    retryable: false,
  },
  HTTP_ROUTE_UNKNOWN: {
    meaning: 'The HTTP server has nothing at that path, or not for that method.',
    retryable: false,
  },
  HTTP_TOO_MANY_GUESSES: {
    meaning: 'Too many wrong tokens were given to the web page from one address.',
    retryable: true,
  },
  HTTP_UNAUTHORIZED: { meaning: 'An HTTP request came without the token, or with a wrong one.', retryable: false },
  IMAGE_INVALID: {
    meaning: "A picture's size and bytes do not fit, or it is too large or too small to encode.",
    retryable: false,
  },
  INTERNAL: { meaning: 'A defect in hearth.', retryable: false, exitCode: 70 },
  ITEM_UNWANTED: { meaning: 'A plugin has no use for what it was handed.', retryable: false },
  JOB_ABANDONED: {
    meaning: 'Every node of the cluster that was given the job was lost with it or gave it back.',
    retryable: true,
  },
  JOB_DEADLINE: { meaning: 'The job was still waiting when its deadline passed; it never started.', retryable: true },
  MEDIA_AUDIO_FORMAT: {
    meaning: 'Raw PCM does not fit the format declared for it, or the sample rate is out of range.',
    retryable: false,
  },
  MEDIA_AUDIO_TOO_LONG: {
    meaning: 'An audio chunk, or the recording of a request, is longer than what is taken.',
    retryable: false,
  },
  MEDIA_BAD_ENVELOPE: {
    meaning: 'A JSON or data-URL payload does not carry a picture in the agreed form.',
    retryable: false,
  },
  MEDIA_BROKEN_IMAGE: { meaning: 'The picture starts like one but cannot be decoded.', retryable: false },
  MEDIA_BROKEN_WAV: { meaning: 'The WAV header contradicts itself or its data.', retryable: false },
  MEDIA_FRAME_SIZE: {
    meaning: 'A raw frame is not as many bytes as its format, width and height make.',
    retryable: false,
  },
  MEDIA_GONE: { meaning: 'The picture or sound is no longer held; its handler has ended.', retryable: false },
  MEDIA_IMAGE_TOO_LARGE: { meaning: 'The picture has more pixels than are decoded.', retryable: false },
  MEDIA_NOT_AN_IMAGE: {
    meaning: 'The bytes are no JPEG, PNG or WebP, nor a JSON or data URL that carries one.',
    retryable: false,
  },
  MEDIA_NOT_A_WAV: { meaning: 'The bytes are no RIFF/WAVE file.', retryable: false },
  MEDIA_OUT_OF_ORDER: { meaning: 'An audio chunk arrived after a later one.', retryable: false },
  MEDIA_STORE_FULL: {
    meaning: 'Too many decoded pictures and sounds are waiting for their handlers.',
    retryable: true,
  },
  MEDIA_TOO_LARGE: { meaning: 'A payload has more bytes than its kind may have.', retryable: false },
  MEDIA_WAV_UNSUPPORTED: {
    meaning: 'The WAV holds a codec, a depth or a channel count that is not decoded.',
    retryable: false,
  },
  MESSAGE_INVALID: { meaning: 'A message of another system does not have the form it should have.', retryable: false },
  MODEL_BUSY: { meaning: 'Another model is being downloaded, loaded or used.', retryable: true, exitCode: 75 },
  MODEL_HASH_MISMATCH: {
    meaning: 'A downloaded file is not the one whose hash the configuration names.',
    retryable: false,
    exitCode: 65,
  },
  MODEL_INCOMPLETE: { meaning: 'The model file lacks a key or a tensor.', retryable: false, exitCode: 65 },
  MODEL_MISMATCH: { meaning: 'Parts of the model file do not fit each other.', retryable: false, exitCode: 65 },
  MODEL_PULL_REFUSED: {
    meaning:
      'A server does not have the file, or offers what is not taken: another size, or a redirect to where none may lead.',
    retryable: false,
    exitCode: 69,
  },
  MODEL_TOO_LARGE: {
    meaning: 'The model needs more memory than `model.memoryLimit` allows it.',
    retryable: false,
    exitCode: 65,
  },
  MODEL_UNKNOWN: { meaning: 'A request names a model that this daemon does not have.', retryable: false },
  MODEL_UNSUPPORTED: {
    meaning: 'The model is of another kind, or lacks the part that is asked for.',
    retryable: false,
    exitCode: 65,
  },
  OPTION_INVALID: { meaning: 'An option of the runtime is out of its range.', retryable: false },
  OUT_OF_MEMORY: { meaning: 'Memory could not be had.', retryable: true },
  PICTURE_UNAVAILABLE: {
    meaning: 'The web page has no picture of that stream, or is not allowed to show it.',
    retryable: false,
  },
  PLUGIN_CONFIG_INVALID: {
    meaning: 'The configuration of a plugin does not fit its schema, or cannot work.',
    retryable: false,
  },
  PLUGIN_CRASHED: {
    meaning: 'A plugin ended, stopped answering or took too much memory while it had this in hand.',
    retryable: true,
  },
  PLUGIN_EMIT_INVALID: {
    meaning: 'A plugin published an event of an undeclared kind, or for an item it does not have in hand.',
    retryable: false,
  },
  PLUGIN_EXISTS: {
    meaning: 'A new plugin was to be written where something is already.',
    retryable: false,
    exitCode: 73,
  },
  PLUGIN_FAILED: { meaning: 'A plugin failed at what it was handed.', retryable: false },
  PLUGIN_INCOMPATIBLE: { meaning: 'A plugin is made for another version of the plugin API.', retryable: false },
  PLUGIN_LOAD_FAILED: {
    meaning: 'A plugin module is missing, cannot be loaded, or exports no plugin.',
    retryable: false,
  },
  PLUGIN_MANIFEST_INVALID: {
    meaning: 'The manifest of a plugin is broken or clashes with another plugin.',
    retryable: false,
  },
  PLUGIN_METRIC_INVALID: { meaning: 'A plugin defined a metric that cannot be.', retryable: false },
  PLUGIN_NAME_INVALID: {
    meaning: 'A plugin name has other characters than a-z, 0-9 and -, or no letter first.',
    retryable: false,
    exitCode: 64,
  },
  PLUGIN_REPLY_INVALID: { meaning: 'The model did not reply in the form a plugin needs.', retryable: false },
  PLUGIN_STORAGE_FULL: { meaning: 'A plugin keeps as much as it may already.', retryable: false },
  PLUGIN_STORAGE_INVALID: {
    meaning: 'A plugin was to keep something under a key, or with a value, that cannot be kept.',
    retryable: false,
  },
  PLUGIN_TIMEOUT: { meaning: 'A plugin did not finish in time.', retryable: true },
  PLUGIN_TOPIC_UNDECLARED: { meaning: 'A plugin used a topic its manifest does not declare.', retryable: false },
  PLUGIN_UNAVAILABLE: {
    meaning: 'A plugin is restarting or quarantined, or there is none of that name.',
    retryable: true,
  },
  PROMPT_INVALID: { meaning: 'The messages do not make a prompt.', retryable: false },
  QUEUE_EVICTED: {
    meaning: 'A job of a higher priority took the place of this one in the full queue.',
    retryable: true,
  },
  QUEUE_FULL: { meaning: 'The job queue is full of jobs of the same or a higher priority.', retryable: true },
  REQUEST_BAD_JSON: { meaning: 'A request is not a JSON object of the agreed form.', retryable: false },
  REQUEST_BUSY: { meaning: 'Too many requests are being answered.', retryable: true },
  REQUEST_INVALID: { meaning: 'A request has a member that is missing, unknown or does not fit.', retryable: false },
  REQUEST_TIMEOUT: { meaning: 'A daemon that runs did not answer in time.', retryable: true, exitCode: 75 },
  REQUEST_TOO_LARGE: { meaning: 'A request has more bytes than are parsed.', retryable: false },
  REQUEST_UNKNOWN_VERB: { meaning: 'Nothing in this daemon answers that verb.', retryable: false },
  SCHEMA_INVALID: {
    meaning: 'A JSON Schema is broken, or uses a keyword that cannot be enforced while decoding.',
    retryable: false,
  },
  SHUTDOWN: { meaning: 'The daemon is stopping.', retryable: true },
  SLICE_INVALID: { meaning: 'The slice is not one this model can run as.', retryable: false },
  SNAPSHOT_INVALID: { meaning: 'A snapshot is damaged, or of another model or slice.', retryable: false },
  STREAM_LIMIT: { meaning: 'More streams than the configured number; the new one is not taken.', retryable: false },
  STREAM_NAME_INVALID: { meaning: 'A stream name has other characters than a-z, 0-9, _ and -.', retryable: false },
  STREAM_OFF: { meaning: 'The stream is switched off, or its schedule has it rest.', retryable: false },
  STREAM_UNLISTED: {
    meaning: 'A stream that is not configured, where only configured ones are taken.',
    retryable: false,
  },
  TOKEN_INVALID: { meaning: "A token id is not one of the model's.", retryable: false },
  USAGE: { meaning: 'A command was called with arguments it does not have.', retryable: false, exitCode: 64 },
  WEB_REQUEST_FAILED: {
    meaning: 'A web service could not be reached, or did not answer as it should.',
    retryable: true,
    exitCode: 69,
  },
  WYOMING_INVALID: {
    meaning: 'A Wyoming client sent something that is no event, or not when it can be used, or too much of it.',
    retryable: false,
  },
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

/** The exit code of a command that ends with this error; 1 where the catalogue names none. */
export function exitCodeOf(error: unknown): number {
  const entry: CatalogueEntry = error instanceof HearthError ? catalogue[error.code] : catalogue.INTERNAL;
  return entry.exitCode ?? 1;
}
