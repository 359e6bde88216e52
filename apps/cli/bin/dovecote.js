#!/usr/bin/env node
// npm makes this file executable when it installs; what the compiler writes it does not.
import '../dist/main.js';
