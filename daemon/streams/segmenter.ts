/** Continuous 16 kHz audio in, speech segments out: the decision where speech starts and ends, and what is kept around it. */
import { concat } from '../media/concat';
import { modelSampleRate } from '../media/sample-rate';
import { vadFrameMs, vadFrameSamples } from './voice-detector';

export interface SegmenterOptions {
  /** `push-to-talk` takes everything up to `flush`; `vad` looks for speech itself. */
  readonly mode: 'vad' | 'push-to-talk';
  /** Kept before the first voiced frame: the detector reacts late to soft consonants. */
  readonly preRollMs: number;
  /** A pause this long ends a segment. */
  readonly endSilenceMs: number;
  /** Silence left at the end of a segment, at most `endSilenceMs`; the model is trained on 0.3 to 0.8 s. */
  readonly keepSilenceMs: number;
  /** A segment with less speech is reported as too short. */
  readonly minSpeechMs: number;
  /** A longer one is cut, at a pause before this if there is one, and goes on as the next segment. */
  readonly maxSegmentMs: number;
}

/** What is told of a segment while it is being spoken. */
export interface SegmentObserver {
  /** Someone begins to speak: there is enough speech for a segment after a pause. Not told again after a cut. */
  began?(): void;
  /** The next samples of what will be the segment, once there is enough speech for one. */
  heard(samples: Float32Array): void;
  /** A pause has begun: if it goes on, the segment is what was heard so far. */
  paused(): void;
  /** The segment is over: what was heard, and `rest`. Undefined: there is none, whatever was heard. */
  ended(rest: Float32Array | undefined): void;
}

export interface Segment {
  readonly samples: Float32Array;
  /** How much of it the detector called speech; in push-to-talk mode, all of it. */
  readonly speechMs: number;
  readonly tooShort: boolean;
}

/**
 * The detector takes noise that begins together with the speech for speech, and so hears none of the pause after it.
 * A frame this far (26 dB) under the level of the speech is a pause whatever the detector says.
 */
const pauseRatio = 1 / 20;
/** Per frame between segments: the level is half forgotten after 2.8 s, for whoever speaks next may stand further away. */
const levelDecay = 0.995;

function levelOf(frame: Float32Array): number {
  let energy = 0;
  for (const sample of frame) energy += sample * sample;
  return Math.sqrt(energy / frame.length);
}

export class Segmenter {
  readonly #options: SegmenterOptions;
  readonly #isSpeech: (frame: Float32Array) => boolean;
  readonly #maxFrames: number;
  /** Fewer than `vadFrameSamples` samples, the start of the next frame. */
  #carry = new Float32Array(0);
  #preRoll: Float32Array[] = [];
  #frames: Float32Array[] = [];
  #active = false;
  /** Whether the observer knows that someone speaks. */
  #begun = false;
  #speechMs = 0;
  /** RMS of the latest speech: rises over a few frames, so that a click does not make the speech after it a pause. */
  #speechLevel = 0;
  /** Length of the pause that the audio so far ends in. */
  #silenceMs = 0;
  readonly #observer: SegmentObserver | undefined;
  /** How many of the frames the observer knows. */
  #toldFrames = 0;

  constructor(options: SegmenterOptions, isSpeech: (frame: Float32Array) => boolean, observer?: SegmentObserver) {
    this.#options = options;
    this.#isSpeech = isSpeech;
    this.#observer = observer;
    this.#maxFrames = Math.max(1, Math.floor(options.maxSegmentMs / vadFrameMs));
  }

  /** Milliseconds of audio held: at most `maxSegmentMs` plus the pre-roll. */
  get heldMs(): number {
    return (this.#frames.length + this.#preRoll.length) * vadFrameMs + (this.#carry.length * 1000) / modelSampleRate;
  }

  /** Returns the segments that ended within `samples`. */
  push(samples: Float32Array): Segment[] {
    const all = concat([this.#carry, samples]);
    const segments: Segment[] = [];
    let at = 0;
    for (; at + vadFrameSamples <= all.length; at += vadFrameSamples) {
      const segment = this.#frame(all.slice(at, at + vadFrameSamples));
      if (segment !== undefined) segments.push(segment);
    }
    this.#carry = all.slice(at);
    return segments;
  }

  /** Ends the segment in hand, if any, as if silence followed, and forgets everything. */
  flush(): Segment | undefined {
    const carry = this.#carry;
    this.#carry = new Float32Array(0);
    if (carry.length > 0 && (this.#active || this.#options.mode === 'push-to-talk')) {
      this.#active = true;
      this.#frames.push(carry);
    }
    const missing = Math.ceil((this.#options.keepSilenceMs - this.#silenceMs) / vadFrameMs);
    for (let i = 0; this.#active && i < missing && this.#frames.length < this.#maxFrames; i++) {
      this.#frames.push(new Float32Array(vadFrameSamples));
      this.#silenceMs += vadFrameMs;
    }
    const segment = this.#active ? this.#end() : undefined;
    this.#preRoll = [];
    this.#silenceMs = 0;
    this.#speechLevel = 0;
    return segment;
  }

  #frame(frame: Float32Array): Segment | undefined {
    const voiced = this.#isVoiced(frame);
    const talk = this.#options.mode === 'push-to-talk';
    if (!this.#active) {
      if (!voiced && !talk) {
        this.#preRoll.push(frame);
        if (this.#preRoll.length * vadFrameMs > this.#options.preRollMs) this.#preRoll.shift();
        return undefined;
      }
      this.#active = true;
      this.#frames = this.#preRoll;
      this.#preRoll = [];
    }
    this.#frames.push(frame);
    this.#silenceMs = voiced ? 0 : this.#silenceMs + vadFrameMs;
    if (voiced || talk) this.#speechMs += vadFrameMs;
    if (!talk && this.#silenceMs >= this.#options.endSilenceMs) return this.#end();
    const length = this.#frames.length;
    const pause = Math.round(this.#silenceMs / vadFrameMs);
    const silent = pause >= length;
    if (!silent && this.#silenceMs >= this.#cuttingPauseMs())
      return this.#cut(length, length - Math.min(pause, Math.floor(this.#options.preRollMs / vadFrameMs)));
    if (length >= this.#maxFrames) return silent ? this.#cut(length, length) : this.#cutWithoutPause();
    this.#tell();
    return undefined;
  }

  /** Frames at the end that a segment which ended now would do without. */
  #surplusFrames(): number {
    if (this.#options.mode !== 'vad') return 0;
    const surplus = Math.max(0, Math.floor((this.#silenceMs - this.#options.keepSilenceMs) / vadFrameMs));
    return Math.min(surplus, this.#frames.length);
  }

  #tell(): void {
    if (this.#observer === undefined || this.#speechMs === 0 || this.#speechMs < this.#options.minSpeechMs) return;
    if (!this.#begun) this.#observer.began?.();
    this.#begun = true;
    const surplus = this.#surplusFrames();
    const frames = this.#frames.slice(this.#toldFrames, this.#frames.length - surplus);
    this.#toldFrames += frames.length;
    if (frames.length > 0) this.#observer.heard(concat(frames));
    else if (surplus === 1) this.#observer.paused();
  }

  #isVoiced(frame: Float32Array): boolean {
    const voiced = this.#isSpeech(frame);
    if (!this.#active) this.#speechLevel *= levelDecay;
    const level = levelOf(frame);
    if (!voiced || level < this.#speechLevel * pauseRatio) return false;
    this.#speechLevel = Math.max(this.#speechLevel * 0.99, this.#speechLevel * 0.8 + level * 0.2);
    return true;
  }

  /** Takes out what is held, without the silence beyond what is kept; that becomes the next segment's pre-roll. */
  #end(): Segment | undefined {
    const keep = this.#frames.length - this.#surplusFrames();
    const segment = this.#take(this.#frames.slice(0, keep));
    const preRollFrames = Math.floor(this.#options.preRollMs / vadFrameMs);
    this.#preRoll = preRollFrames > 0 ? this.#frames.slice(keep).slice(-preRollFrames) : [];
    this.#frames = [];
    this.#active = false;
    this.#begun = false;
    return segment;
  }

  /** How long a pause has to be to cut the segment there: the fuller it is, the shorter. */
  #cuttingPauseMs(): number {
    const left = 1 - this.#frames.length / this.#maxFrames;
    return left > 1 / 3 ? Number.POSITIVE_INFINITY : Math.max(2 * vadFrameMs, 3 * left * this.#options.endSilenceMs);
  }

  /** Nobody paused: cut at the quietest moment of the last third. */
  #cutWithoutPause(): Segment | undefined {
    const from = Math.floor((this.#maxFrames * 2) / 3);
    const levels = this.#frames.map((frame, at) => (at < from ? Number.POSITIVE_INFINITY : levelOf(frame)));
    const quietest = levels.indexOf(Math.min(...levels));
    const segment = this.#cut(quietest + 1, quietest);
    this.#speechMs = (this.#frames.length - 1) * vadFrameMs;
    return segment;
  }

  /** Hands out the frames before `end` and goes on recording, with those from `next` on as the beginning. */
  #cut(end: number, next: number): Segment | undefined {
    const segment = this.#take(this.#frames.slice(0, end));
    this.#frames = this.#frames.slice(next);
    return segment;
  }

  #take(frames: readonly Float32Array[]): Segment | undefined {
    const speechMs = this.#speechMs;
    const told = this.#toldFrames;
    this.#speechMs = this.#toldFrames = 0;
    const tooShort = speechMs < this.#options.minSpeechMs;
    // What follows a cut may be nothing but the pause at the end of the speech.
    const none = speechMs === 0 && this.#options.mode === 'vad';
    // Some of what was heard may belong to the next segment.
    this.#observer?.ended(none || tooShort || told > frames.length ? undefined : concat(frames.slice(told)));
    return none ? undefined : { samples: concat(frames).slice(), speechMs, tooShort };
  }
}
