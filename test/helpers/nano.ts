/** The small trained model, asked as a plugin would ask it, from the files of pictures and recordings. */
import { readFileSync } from 'node:fs';
import { generate, type Pace } from '../../daemon/inference/generate';
import { type EngineOptions, NativeEngine, type NativeSession } from '../../daemon/inference/native';
import type { GenerateRequest, GenerateResult, Part } from '../../daemon/inference/types';
import { decodeImage } from '../../daemon/media/image';
import { toModelRate } from '../../daemon/media/resample';
import { decodeWav } from '../../daemon/media/wav';

export async function pictureOf(path: string): Promise<Extract<Part, { type: 'image' }>> {
  return { type: 'image', image: (await decodeImage(readFileSync(path))).image };
}

export async function soundOf(path: string): Promise<Extract<Part, { type: 'audio' }>> {
  return { type: 'audio', audio: await toModelRate(decodeWav(readFileSync(path), 30_000)) };
}

export class Nano {
  private constructor(
    readonly engine: NativeEngine,
    private readonly session: NativeSession,
  ) {}

  static async open(options: Partial<EngineOptions> = {}): Promise<Nano> {
    const engine = await NativeEngine.open({
      modelPath: 'daemon/demo/model/nano.gguf',
      multimodalPath: 'daemon/demo/model/mmproj-nano.gguf',
      threads: 2,
      ...options,
    });
    return new Nano(engine, engine.newSession());
  }

  /** Greedy, at most 64 tokens. */
  async ask(
    media: readonly Part[],
    prompt: string,
    options: Pick<GenerateRequest, 'slice' | 'tailSlice' | 'maxTokens'> = {},
    pace: Pace = {},
  ): Promise<GenerateResult> {
    const parts = [...media, { type: 'text' as const, text: prompt }];
    return await generate(
      this.engine,
      this.session,
      { messages: [{ role: 'user', parts }], maxTokens: 64, ...options },
      { slice: 'full', imageSize: 0 },
      { onText: () => undefined, step: async (work) => await work(), pace },
    );
  }
}
