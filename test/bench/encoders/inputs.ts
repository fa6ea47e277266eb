/** What the encoders are given: noise over something smooth, the same on every machine. */
import type { RgbImage } from '../../../daemon/inference/types';
import { randomNumbers } from '../../helpers/checkpoint';

const sampleRate = 16_000;

/** Larger than any size it is brought to, as pictures are: resizing is part of what is measured. */
export function picture(side = 1024): RgbImage {
  const random = randomNumbers(2);
  const data = new Uint8Array(side * side * 3);
  for (let i = 0; i < data.length; i++) {
    const pixel = Math.floor(i / 3);
    const smooth = 80 * Math.sin((pixel % side) / (17 + (i % 3))) * Math.cos(Math.floor(pixel / side) / 29);
    data[i] = 128 + smooth + 47 * (random() - 0.5);
  }
  return { width: side, height: side, data };
}

export function sound(seconds: number): Float32Array {
  const random = randomNumbers(3);
  return Float32Array.from({ length: seconds * sampleRate }, (_, i) => {
    const t = i / sampleRate;
    return 0.3 * Math.sin(2 * Math.PI * (200 + 90 * Math.sin(3 * t)) * t) + 0.02 * (2 * random() - 1);
  });
}

/** Frames of the mel spectrogram of so much sound. */
export function melFrames(seconds: number): number {
  const hop = 160;
  return Math.floor((seconds * sampleRate - 513) / hop) + 1;
}
