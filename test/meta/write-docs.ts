/** `npm run docs`: brings the generated parts of the documents up to date. */
import { readFileSync, writeFileSync } from 'node:fs';
import { generatedParts, withGeneratedBlocks } from './generated-docs';

for (const path of Object.keys(generatedParts)) {
  const text = readFileSync(path, 'utf8');
  const current = withGeneratedBlocks(text);
  if (current !== text) writeFileSync(path, current);
  console.log(current === text ? `${path} is up to date` : `${path} was brought up to date`);
}
