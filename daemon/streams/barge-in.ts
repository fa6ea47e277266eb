/**
 * Who speaks into a microphone interrupts what is being said to them. When speech begins there, jobs for its stream and
 * for the streams it names are cancelled, whether they run, wait or are only about to be asked for. What writes down what
 * was said goes on.
 */
import { HearthError } from '../errors';
import type { Job, JobQueue, JobRole } from './job-queue';

export interface BargeInOptions {
  /** `answers`: what the daemon says in reply; `all`: also what else is made of earlier speech, such as calls. */
  readonly mode: 'none' | 'answers' | 'all';
  /** Beside the microphone's own. */
  readonly streams: readonly string[];
}

const rolesOf: Readonly<Record<BargeInOptions['mode'], readonly JobRole[]>> = {
  none: [],
  answers: ['answer'],
  all: ['answer', 'result'],
};

export class BargeIn {
  /** By role and stream: the microphone, and when speech began there last, Unix time in seconds. */
  readonly #speech = new Map<string, { readonly microphone: string; readonly ts: number }>();

  constructor(private readonly queue: Pick<JobQueue, 'interrupt'>) {}

  /** Speech begins at `ts`, Unix time in seconds; what goes on without a pause does not begin again. */
  speechBegins(microphone: string, ts: number, { mode, streams }: BargeInOptions): void {
    const roles = rolesOf[mode];
    if (roles.length === 0) return;
    const interrupted = new Set([microphone, ...streams]);
    for (const stream of interrupted) {
      for (const role of roles) this.#speech.set(`${role}/${stream}`, { microphone, ts });
    }
    const fits = ({ role, stream }: Pick<Job<unknown>, 'role' | 'stream'>): boolean =>
      role !== undefined && roles.includes(role) && stream !== undefined && interrupted.has(stream);
    this.queue.interrupt(fits, `was interrupted by speech into ${microphone}`);
  }

  /** Throws `BARGE_IN` for a job about something that came before speech began: it is too late to ask for it. */
  check(role: JobRole, stream: string, sinceTs: number): void {
    const speech = this.#speech.get(`${role}/${stream}`);
    if (speech === undefined || sinceTs >= speech.ts) return;
    throw new HearthError('BARGE_IN', `job for ${stream}: was interrupted by speech into ${speech.microphone}`);
  }
}
