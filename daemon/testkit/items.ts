/** What a plugin is handed, ready to be changed: `{ ...frame, stream: 'garden' }`. */
import type { ClipItem, FrameItem, ModelInfo, PluginGenerateRequest, RequestItem, SegmentItem } from '../plugins/api';

export const model: ModelInfo = {
  name: 'nano',
  architecture: 'gemma3n',
  parameters: 1,
  layers: 1,
  contextLength: 512,
  modalities: ['text', 'image', 'audio'],
  slices: ['full'],
  sliceInfos: [{ name: 'full', decodeMacs: 1e7, prefillMacs: 5e6, kvGroup: 0, published: true }],
  loadedSlice: 'full',
  imageSizes: [256],
  imageSize: 256,
  maxAudioSeconds: 30,
  isa: 'scalar',
  threads: 1,
  memory: {
    kvType: 'f16',
    kvBytes: 2,
    kvBytesF16: 2,
    kvBytesQ8: 1,
    sessions: 1,
    weightBytes: 10,
    encoderBytes: 0,
    totalBytes: 20,
  },
  prompts: {
    caption: 'Describe the image.',
    video: 'What happens?',
    transcribe: 'Transcribe the audio.',
    translateAudio: 'Translate the audio into {lang}.',
    translate: 'Translate into {lang}: {text}',
    call: 'Answer with one JSON function call, or null.\n{text}',
    calls: 'Answer with up to {max} JSON function calls, or null.\n{text}',
    languages: { en: 'English', es: 'Spanish', de: 'German' },
  },
};

export const frame: FrameItem = {
  kind: 'frame',
  id: '01FRAME',
  stream: 'front',
  capturedTs: 1_795_500_000,
  topic: 'hearth/in/front/frame',
  sha256: 'a'.repeat(64),
  media: { ref: 'frame-ref' },
  width: 2,
  height: 2,
};

export const segment: SegmentItem = {
  kind: 'segment',
  id: '01SEGMENT',
  stream: 'kitchen',
  capturedTs: 1_795_500_000,
  topic: 'hearth/in/kitchen/audio',
  sha256: 'b'.repeat(64),
  media: { ref: 'segment-ref' },
  durationMs: 1200,
};

export const clip: ClipItem = {
  kind: 'clip',
  id: '01CLIP',
  stream: 'drive',
  capturedTs: 1_795_500_000,
  topic: 'hearth/in/drive/frame',
  sha256: 'c'.repeat(64),
  media: { ref: 'clip-ref' },
  frames: 5,
  sounds: 1,
  durationMs: 8000,
};

export function request(
  verb: string,
  payload: Readonly<Record<string, unknown>>,
  media: Pick<RequestItem, 'image' | 'audio'> = {},
): RequestItem {
  return { kind: 'request', id: 'r1', verb, payload, ...media };
}

/** The texts of a job's only message, and the reference in it. */
export function contentOf(job: PluginGenerateRequest | undefined): {
  readonly texts: string[];
  readonly refs: string[];
} {
  const parts = job?.messages.flatMap((message) => message.parts) ?? [];
  return {
    texts: parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])),
    refs: parts.flatMap((part) => (part.type === 'media' ? [part.media.ref] : [])),
  };
}
