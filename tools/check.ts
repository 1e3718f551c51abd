// npm run check: formatting, lint and types.

import { runStaticChecks } from './steps.ts';

process.exitCode = runStaticChecks() ? 0 : 1;
