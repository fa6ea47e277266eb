/** The event a plugin's result becomes: what the plugin said, completed from the item and the job behind it. */
import { ranAs, type StreamEvent } from '../events';
import { summarise } from '../summary';
import type { ClipItem, EmitFields, FrameItem, GenerateResult, SegmentItem } from './api';

/** What the host remembers of a job that has ended. */
export interface JobRecord {
  readonly result: GenerateResult;
  readonly model: string;
  /** Unix time in seconds of the first piece of text; undefined where there was none. */
  readonly firstTokenTs: number | undefined;
}

export interface EventContext {
  readonly id: string;
  readonly node: string;
  readonly plugin: string;
  /** Unix time in seconds. */
  readonly ts: number;
}

type Item = FrameItem | SegmentItem | ClipItem;

function base(kind: StreamEvent['kind'], item: Item, { id, node, plugin, ts }: EventContext) {
  return {
    v: 1,
    id,
    kind,
    node,
    stream: item.stream,
    ts,
    captured_ts: item.capturedTs,
    // A clock that was set back must not make a negative latency.
    latency_ms: Math.max(0, Math.round((ts - item.capturedTs) * 1000)),
    source: { topic: item.topic, ...(item.sha256 !== '' && { sha256: item.sha256 }) },
    ...(item.kind === 'clip' && {
      clip: { frames: item.frames, sounds: item.sounds, duration_ms: item.durationMs },
    }),
    plugin,
  } as const;
}

function ofJob({ result, model, firstTokenTs }: JobRecord, capturedTs: number) {
  return {
    ...(firstTokenTs !== undefined && { first_token_ms: Math.max(0, Math.round((firstTokenTs - capturedTs) * 1000)) }),
    model,
    ...ranAs(result),
    tokens: result.tokens,
    truncated: result.finishReason === 'length',
  };
}

export function resultEvent(
  fields: Omit<EmitFields, 'item' | 'result'>,
  item: Item,
  job: JobRecord | undefined,
  context: EventContext,
): StreamEvent {
  const { kind, text, lang, call, outcome, dry_run } = fields;
  const summary = fields.summary ?? text;
  return {
    ...base(kind, item, context),
    ...(job !== undefined && ofJob(job, item.capturedTs)),
    ...(text !== undefined && { text }),
    ...(summary !== undefined && { summary: summarise(summary) }),
    ...(lang !== undefined && { lang }),
    ...(call !== undefined && { call }),
    ...(outcome !== undefined && { outcome }),
    ...(dry_run !== undefined && { dry_run }),
  };
}

export function errorEvent(error: NonNullable<StreamEvent['error']>, item: Item, context: EventContext): StreamEvent {
  return { ...base('error', item, context), error };
}
