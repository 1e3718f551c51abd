// Debian's kernels on the interpreter alone.

import { test } from 'node:test';
import { checkShell } from '../boot/shell.ts';

for (const flavour of ['cloud-amd64', '686'] as const)
  test(`Debian's ${flavour} kernel boots to a shell without the translator`, () =>
    checkShell(flavour, 'interpreter'));
