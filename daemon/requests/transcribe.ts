/** Speech to text for programs that ask for it directly. Recordings longer than a clip are the engine's to cut. */
import type { AudioClip, GenerateRequest, ModelInfo } from '../inference/types';
import { modelSampleRate } from '../media/sample-rate';

/** What the fastest speaker says in a second, with room. */
const tokensPerSecond = 12;
const minTokens = 128;

/** Throws nothing; whether the model has ears is found out when it runs. */
export function transcription(audio: AudioClip, { prompts }: ModelInfo): GenerateRequest {
  const seconds = audio.samples.length / modelSampleRate;
  return {
    messages: [
      {
        role: 'user',
        parts: [
          { type: 'audio', audio },
          { type: 'text', text: prompts.transcribe },
        ],
      },
    ],
    sampling: { temperature: 0 },
    maxTokens: minTokens + Math.ceil(tokensPerSecond * seconds),
  };
}
