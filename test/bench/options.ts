/** Parsers of option values, for every subcommand. */
import { InvalidArgumentError } from 'commander';

/** A whole number; of these, those that `is` allows. */
export function count(
  min: number,
  max: number,
  is: (value: number) => boolean = () => true,
  expected = `a whole number from ${min} to ${max}`,
): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max || !is(value))
      throw new InvalidArgumentError(`Expected ${expected}.`);
    return value;
  };
}

export function listOf<T>(parse: (text: string) => T): (text: string) => T[] {
  return (text) => text.split(',').map((part) => parse(part.trim()));
}
