/** What the model hears in, in Hz. */
export const modelSampleRate = 16_000;
