/** Speech to text for programs that ask for it directly: one job for each piece the model can hear at once. */
import type { AudioClip, GenerateResult, ModelInfo } from '../inference/types';
import { modelSampleRate } from '../media/resample';
import { splitAtQuiet } from '../media/split';
import type { JobTerms, RequestJobs } from './jobs';

/** Longest recording that is taken, in seconds. */
export const maxRecordingSeconds = 600;

const maxTokens = 512;

export interface TranscribedPiece {
  /** Seconds from the beginning of the recording. */
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly result: GenerateResult;
}

/** Pieces in order, each when it is done. Rejects as `RequestJobs.run` does. */
export async function* transcribe(
  { samples }: AudioClip,
  model: ModelInfo,
  maxAudioSeconds: number,
  jobs: RequestJobs,
  terms: JobTerms,
): AsyncGenerator<TranscribedPiece, void> {
  let at = 0;
  const seconds = Math.min(maxAudioSeconds, model.maxAudioSeconds || maxAudioSeconds);
  for (const piece of splitAtQuiet(samples, modelSampleRate, seconds)) {
    const start = at / modelSampleRate;
    at += piece.length;
    const result = await jobs.run(
      {
        messages: [
          {
            role: 'user',
            parts: [
              { type: 'audio', audio: { samples: piece } },
              { type: 'text', text: model.prompts.transcribe },
            ],
          },
        ],
        sampling: { temperature: 0 },
        maxTokens,
      },
      terms,
    );
    yield { start, end: at / modelSampleRate, text: result.text.trim(), result };
  }
}
