import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The version in `package.json`, two directories above the compiled file. */
export const version = (JSON.parse(readFileSync(join(__dirname, '../../package.json'), 'utf8')) as { version: string })
  .version;
