/** Ids of ordinary text in no order, the same for every engine, machine and run. */
import { randomNumbers } from '../../helpers/checkpoint';

/** `count` ids; the first is <bos>. A shorter list is the beginning of a longer one. */
export function promptIds(textIds: readonly number[], bos: number, count: number): number[] {
  const random = randomNumbers(1);
  return Array.from({ length: count }, (_, i) =>
    i === 0 ? bos : (textIds[Math.floor(random() * textIds.length)] as number),
  );
}
