#!/usr/bin/env node
/** The daemon: `hearth run` under a name of its own. */
import { runCli } from './cli';

void runCli(['run', ...process.argv.slice(2)]).then((code) => process.exit(code));
