#!/usr/bin/env node
/** The command line `dovecote`; README.md says what it can do. */
import { run } from './command-line.js';
import { processTerminal } from './terminal.js';

// Whoever read our lines may go away.
process.stdout.on('error', () => undefined);

process.exitCode = await run({ argv: process.argv.slice(2), environment: process.env, terminal: processTerminal(process) });
