// Unmodified Debian kernels, as `mimic run` boots them; tests/long/interpreter.test.ts does it without the translator.

import { test } from 'node:test';
import { checkShell } from './shell.ts';

test('Debian amd64 boots to a shell that runs commands, and powers off', () =>
  checkShell('cloud-amd64'));

test('Debian i386 boots to a shell that runs commands, and powers off', () => checkShell('686'));
