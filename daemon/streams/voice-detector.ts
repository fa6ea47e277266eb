/** WebRTC's voice-activity detector (libfvad, WASM): is there a voice in these 20 ms? */
import type { FvadModule } from '@echogarden/fvad-wasm';
import { HearthError } from '../errors';
import { modelSampleRate } from '../media/sample-rate';

/** Samples of a frame: 20 ms at 16 kHz. */
export const vadFrameSamples = 320;
export const vadFrameMs = 20;

export interface VoiceDetector {
  /** `vadFrameSamples` samples in [-1, 1]. Frames of one microphone in order: the detector adapts to its noise. */
  isSpeech(frame: Float32Array): boolean;
  reset(): void;
  close(): void;
}

/** 0 lets most through, 3 the least. */
export type VadAggressiveness = 0 | 1 | 2 | 3;

export type VoiceDetectorFactory = (aggressiveness: VadAggressiveness) => VoiceDetector;

/** Loads the WASM module once; every detector made from it has a state of its own (about 1 kB). */
export async function loadVoiceDetector(): Promise<VoiceDetectorFactory> {
  const { default: load } = await import('@echogarden/fvad-wasm');
  const fvad: FvadModule = await load();
  const buffer = fvad._malloc(2 * vadFrameSamples);
  return (aggressiveness) => {
    const handle = fvad._fvad_new();
    if (handle === 0) throw new HearthError('INTERNAL', 'voice detector: out of WASM memory');
    // A reset also forgets mode and rate.
    const reset = (): void => {
      fvad._fvad_reset(handle);
      fvad._fvad_set_mode(handle, aggressiveness);
      fvad._fvad_set_sample_rate(handle, modelSampleRate);
    };
    reset();
    return {
      isSpeech(frame) {
        for (let i = 0; i < vadFrameSamples; i++) {
          const sample = Math.round((frame[i] as number) * 32768);
          fvad.HEAP16[(buffer >> 1) + i] = Math.max(-32768, Math.min(32767, sample));
        }
        return fvad._fvad_process(handle, buffer, vadFrameSamples) === 1;
      },
      reset,
      close: () => fvad._fvad_free(handle),
    };
  };
}
