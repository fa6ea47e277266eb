/** Rendezvous hashing: every node comes to the same owner of a key, and a node that leaves moves only its own keys. */
import { createHash } from 'node:crypto';

function weightOf(node: string, key: string): number {
  return createHash('sha256').update(`${node}\0${key}`).digest().readUIntBE(0, 6);
}

/** The node with the highest weight; undefined of none. */
export function ownerOf(key: string, nodes: Iterable<string>): string | undefined {
  let owner: string | undefined;
  let highest = -1;
  for (const node of nodes) {
    const weight = weightOf(node, key);
    if (weight > highest || (weight === highest && owner !== undefined && node < owner)) {
      owner = node;
      highest = weight;
    }
  }
  return owner;
}
