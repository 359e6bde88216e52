#!/usr/bin/env node
// npm makes this file executable when it installs; what the build writes it does not.
import '../bundle/main.js';
