/** Home Assistant keeps 255 characters of a state; 250 leave room for what a template puts around it. */
const maxSummaryCharacters = 250;

/** At most 250 characters (code points) of `text` on one line; a longer one is cut at a word and ends in `…`. */
export function summarise(text: string): string {
  const characters = Array.from(text.replace(/\s+/gu, ' ').trim());
  if (characters.length <= maxSummaryCharacters) return characters.join('');
  const kept = characters.slice(0, maxSummaryCharacters - 1);
  // A word that ends exactly at the limit is whole.
  const end = characters[maxSummaryCharacters - 1] === ' ' ? kept.length : kept.lastIndexOf(' ');
  return `${kept.slice(0, end > 0 ? end : kept.length).join('')}…`;
}
