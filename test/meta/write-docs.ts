/** `npm run docs`: brings the generated parts of the README up to date. */
import { readFileSync, writeFileSync } from 'node:fs';
import { withGeneratedBlocks } from './generated-docs';

const path = 'README.md';
const text = readFileSync(path, 'utf8');
const current = withGeneratedBlocks(text);
if (current !== text) writeFileSync(path, current);
console.log(current === text ? `${path} is up to date` : `${path} was brought up to date`);
