/** Every call's way from proposal to outcome: the policy decides, each step is audited, and what is let through is run. */
import { randomUUID } from 'node:crypto';
import type { CallOutcome, PluginContext } from '../../daemon/plugins/api';
import { auditEntry, type Step } from './audit';
import type { Call, FunctionTerms } from './functions';
import type { Origin, Pending, Policy } from './policy';

export interface Ran {
  /** Where the call was published; null where it was not. */
  readonly topic: string | null;
  readonly result?: unknown;
}

/** Runs a call that was let through. */
export type Execute = (id: string, call: Call, origin: Origin) => Promise<Ran>;

export interface Outcome extends CallOutcome {
  readonly topic: string | null;
}

/** A call with what is needed to say later what became of it. */
interface Case {
  readonly id: string;
  readonly call: Call;
  readonly origin: Origin;
  readonly terms: FunctionTerms;
}

/** Told of what becomes of a pending call. */
type Later = (outcome: Outcome) => Promise<void>;

const reasonOf = (error: unknown): string => {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  return `${typeof code === 'string' ? code : 'PLUGIN_FAILED'}: ${String(message ?? error)}`;
};

export class Desk {
  readonly #held = new Map<string, { readonly terms: FunctionTerms; readonly later: Later }>();

  constructor(
    private readonly ctx: Pick<PluginContext, 'publish' | 'log' | 'node' | 'baseTopic'>,
    private readonly policy: Policy,
    private readonly execute: Execute,
  ) {}

  /** Rejects as the function does; a call that was not let through is an outcome. */
  async handle(call: Call, origin: Origin, terms: FunctionTerms, dryRun: boolean, later: Later): Promise<Outcome> {
    const one: Case = { id: randomUUID(), call, origin, terms };
    await this.#audit('proposed', one);
    const decision = this.policy.decide(call, origin, terms, dryRun);
    switch (decision.verdict) {
      case 'refuse':
        await this.#audit('refused', one, decision.reason);
        return outcomeOf(one, 'refused', { reason: decision.reason });
      case 'dry-run':
        await this.#audit('dry-run', one);
        return outcomeOf(one, 'dry-run', {});
      case 'confirm': {
        const { expiresAt } = this.policy.hold(one.id, call, origin);
        this.#held.set(one.id, { terms, later });
        await this.#audit('pending', one);
        return outcomeOf(one, 'pending', { expires_ts: expiresAt / 1000 });
      }
      case 'execute':
        return await this.#run(one);
    }
  }

  /** Of a pending call. Rejects with `CALL_NOT_PENDING`, or as the function does. */
  async settle(id: string, confirmed: boolean): Promise<Outcome> {
    await this.expire();
    const { call, origin } = this.policy.release(id);
    const held = this.#held.get(id);
    this.#held.delete(id);
    const one: Case = { id, call, origin, terms: held?.terms ?? {} };
    await this.#audit(confirmed ? 'confirmed' : 'rejected', one);
    const outcome = confirmed ? await this.#run(one) : outcomeOf(one, 'rejected', {});
    await this.#tell(held?.later, outcome);
    return outcome;
  }

  /** Says which pending calls have expired. */
  async expire(): Promise<void> {
    await this.#drop(this.policy.expire(), {});
  }

  /** Says that what still waits will not be run: the plugin ends, and they with it. */
  async close(): Promise<void> {
    await this.#drop(this.policy.expire(Number.POSITIVE_INFINITY), { reason: 'plugin-ended' });
  }

  async #drop(dropped: readonly Pending[], { reason }: { readonly reason?: string }): Promise<void> {
    const drop = async ({ id, call, origin }: Pending): Promise<void> => {
      const held = this.#held.get(id);
      this.#held.delete(id);
      const one: Case = { id, call, origin, terms: held?.terms ?? {} };
      await this.#audit('expired', one, reason);
      await this.#tell(held?.later, outcomeOf(one, 'expired', reason === undefined ? {} : { reason }));
    };
    await Promise.all(dropped.map(drop));
  }

  async #run(one: Case): Promise<Outcome> {
    try {
      const { topic, result } = await this.execute(one.id, one.call, one.origin);
      await this.#audit('executed', one);
      return { ...outcomeOf(one, 'executed', result === undefined ? {} : { result }), topic };
    } catch (error) {
      await this.#audit('failed', one, reasonOf(error));
      throw error;
    }
  }

  /** The item may be forgotten by now; what was decided holds all the same. */
  async #tell(later: Later | undefined, outcome: Outcome): Promise<void> {
    try {
      await later?.(outcome);
    } catch (error) {
      this.ctx.log.warn('the event of a call did not get out', { id: outcome.id, reason: reasonOf(error) });
    }
  }

  /** A call is not held up by an audit that does not get out, but the log says so. */
  async #audit(step: Step, one: Case, reason?: string): Promise<void> {
    const { ctx } = this;
    const { secrets } = one.terms;
    const entry = auditEntry(step, one, {
      node: ctx.node,
      ...(secrets !== undefined && { secrets }),
      ...(reason !== undefined && { reason }),
    });
    try {
      await ctx.publish(`${ctx.baseTopic}/${ctx.node}/audit`, JSON.stringify(entry), { qos: 1 });
    } catch (error) {
      ctx.log.warn('an audit message did not get out', { step, id: one.id, reason: reasonOf(error) });
    }
  }
}

function outcomeOf(
  { id, call }: Case,
  status: CallOutcome['status'],
  more: Pick<CallOutcome, 'reason' | 'result' | 'expires_ts'>,
): Outcome {
  return { id, status, name: call.name, arguments: call.arguments, ...more, topic: null };
}
