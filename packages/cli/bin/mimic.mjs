#!/usr/bin/env node
// `mimic` on the command line, for any Node: the same start as `npm start`, which brings the Node that Mimic needs.
import '../../../tools/bootstrap.mjs';
