/**
 * A chat as the model was trained to see it: Gemma's turns as token ids, with placeholders where soft tokens go.
 *
 *   <bos><start_of_turn>user\n{parts}<end_of_turn>\n<start_of_turn>model\n
 *
 * A system message is put before the first user turn's parts. Text that came from outside is tokenised without special
 * pieces, so that no caption prompt, transcript or request can open a turn of its own.
 */
import { HearthError } from '../errors';
import type { NativeModelInfo } from './native';
import type { AudioClip, Message, Part, RgbImage } from './types';
import { inTimeOrder } from './video';

/** What the prompt needs of the engine. */
export interface PromptTokenizer {
  readonly info: Pick<NativeModelInfo, 'special' | 'imageSoftTokens' | 'audioSoftTokens' | 'vision' | 'audio'>;
  tokenize(text: string): Int32Array;
}

/** A picture or a sound, in the order its soft tokens appear in the ids. */
export type Media =
  | { readonly type: 'image'; readonly image: RgbImage }
  | { readonly type: 'audio'; readonly audio: AudioClip };

export interface Prompt {
  readonly ids: Int32Array;
  readonly media: readonly Media[];
  /**
   * How many ids other prompts may begin with, too, in ascending order: up to the end of the system message, of the last
   * picture or sound, of all.
   */
  readonly checkpoints: readonly number[];
}

class PromptBuilder {
  private readonly ids: number[] = [];
  private readonly media: Media[] = [];
  /** Neighbouring text is tokenised together: "\n" + "\n\n" is one piece of Gemma's vocabulary. */
  private text = '';
  /** Where the system message ends: after so many ids and so many characters of the text that follows them. */
  private system: { readonly ids: number; readonly chars: number } | undefined;
  private systemEnd = 0;
  private mediaEnd = 0;

  constructor(private readonly tokenizer: PromptTokenizer) {}

  addText(text: string): void {
    this.text += text;
  }

  addSpecial(id: number, name: string): void {
    if (id < 0) throw new HearthError('MODEL_MISMATCH', `the model's vocabulary has no ${name}`);
    this.flushText();
    this.ids.push(id);
  }

  /** The text that waits ends the system message. */
  endSystem(): void {
    this.system = { ids: this.ids.length, chars: this.text.length };
  }

  addPart(part: Part): void {
    switch (part.type) {
      case 'text':
        this.addText(part.text.trim());
        break;
      case 'image':
        this.addImage(part.image);
        break;
      case 'audio':
        this.addAudio(part.audio);
        break;
      case 'video':
        for (const seen of inTimeOrder(part, this.tokenizer.info)) {
          if ('image' in seen) this.addImage(seen.image);
          else this.addAudio(seen.audio);
        }
        break;
    }
  }

  build(): Prompt {
    this.flushText();
    const checkpoints = [this.systemEnd, this.mediaEnd, this.ids.length].filter((at) => at > 0).sort((a, b) => a - b);
    return { ids: Int32Array.from(this.ids), media: this.media, checkpoints };
  }

  private addImage(image: RgbImage): void {
    const { info } = this.tokenizer;
    if (!info.vision)
      throw new HearthError('MODEL_UNSUPPORTED', 'the model takes no pictures: it was loaded without a vision encoder');
    this.addSoft(info.special.startOfImage, info.special.imageSoftToken, info.imageSoftTokens, info.special.endOfImage);
    this.media.push({ type: 'image', image });
  }

  private addAudio(audio: AudioClip): void {
    const { info } = this.tokenizer;
    if (!info.audio)
      throw new HearthError('MODEL_UNSUPPORTED', 'the model takes no sound: it was loaded without an audio encoder');
    this.addSoft(info.special.startOfAudio, info.special.audioSoftToken, info.audioSoftTokens, info.special.endOfAudio);
    this.media.push({ type: 'audio', audio });
  }

  private addSoft(start: number, soft: number, count: number, end: number): void {
    this.addText('\n\n');
    this.flushText();
    this.ids.push(start, ...Array<number>(count).fill(soft), end);
    this.mediaEnd = this.ids.length;
    this.addText('\n\n');
  }

  private flushText(): void {
    if (this.text === '') return;
    const ids = this.tokenizer.tokenize(this.text);
    if (this.system?.ids === this.ids.length) {
      // A piece may reach across the end: only what the system message has by itself is the same in other prompts.
      const alone = this.tokenizer.tokenize(this.text.slice(0, this.system.chars));
      const differs = alone.findIndex((id, at) => id !== ids[at]);
      this.systemEnd = this.ids.length + (differs < 0 ? alone.length : differs);
    }
    this.ids.push(...ids);
    this.text = '';
  }
}

/** Throws `PROMPT_INVALID` for a chat that has no user turn or does not end with one, `MODEL_UNSUPPORTED` for media the model has no encoder for. */
export function buildPrompt(tokenizer: PromptTokenizer, messages: readonly Message[]): Prompt {
  const { special } = tokenizer.info;
  const system = messages.filter((message) => message.role === 'system').flatMap((message) => message.parts);
  const turns = messages.filter((message) => message.role !== 'system');
  if (turns[0]?.role !== 'user' || turns.at(-1)?.role !== 'user') {
    throw new HearthError('PROMPT_INVALID', 'a chat must begin and end with a user message');
  }
  const builder = new PromptBuilder(tokenizer);
  if (special.bos >= 0) builder.addSpecial(special.bos, '<bos>');
  turns.forEach((turn, index) => {
    builder.addSpecial(special.startOfTurn, '<start_of_turn>');
    builder.addText(`${turn.role}\n`);
    if (index === 0 && system.length > 0) {
      for (const part of system) builder.addPart(part);
      builder.addText('\n\n');
      builder.endSystem();
    }
    for (const part of turn.parts) builder.addPart(part);
    builder.addSpecial(special.endOfTurn, '<end_of_turn>');
    builder.addText('\n');
  });
  builder.addSpecial(special.startOfTurn, '<start_of_turn>');
  builder.addText('model\n');
  return builder.build();
}
