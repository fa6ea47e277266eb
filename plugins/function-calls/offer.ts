/** What the model is offered: the functions of the configuration and those other plugins have registered. */
import { type FunctionDeclaration, type JsonSchema, replySchema } from '../../daemon/plugins/api';
import type { FunctionTerms, OwnFunction, RegisteredTerms } from './functions';
import { isListed } from './policy';
import { type ReplyParser, replyParser } from './reply';

export interface Offer {
  readonly functions: readonly FunctionDeclaration[];
  readonly schema: JsonSchema;
  readonly parse: ReplyParser;
  /** What holds for one of them. */
  readonly terms: (name: string) => FunctionTerms;
}

export class Offers {
  #current: { readonly key: string; readonly offer: Offer } | undefined;

  constructor(
    private readonly own: readonly OwnFunction[],
    private readonly registered: readonly RegisteredTerms[],
    private readonly maxCalls: number,
  ) {
    // A configuration that cannot work should say so before anyone speaks.
    this.with([]);
  }

  /** The functions of the configuration have their names before those of plugins. */
  with(others: readonly FunctionDeclaration[]): Offer {
    const key = JSON.stringify(others);
    if (this.#current?.key === key) return this.#current.offer;
    const names = new Set(this.own.map(({ name }) => name));
    const termsOf = (name: string): RegisteredTerms | undefined =>
      this.registered.find((terms) => isListed(name, [terms.name]));
    const added = others.filter(({ name }) => !names.has(name) && termsOf(name) !== undefined);
    const functions = [
      ...this.own.map(({ name, description, parameters }) => ({
        name,
        ...(description !== undefined && { description }),
        parameters,
      })),
      ...added,
    ];
    const schema = replySchema(functions, { maxCalls: this.maxCalls });
    const offer: Offer = {
      functions,
      schema,
      parse: replyParser(schema),
      terms: (name) => this.own.find((each) => each.name === name) ?? termsOf(name) ?? {},
    };
    this.#current = { key, offer };
    return offer;
  }
}
