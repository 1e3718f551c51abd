// Deterministic runs from the command line, with the real processor and board.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { POWER_OFF, print, STOP, tinyKernel } from '../machine/testing/tiny-kernel.ts';
import { makeFolder, runCli } from './testing/run-cli.ts';

/** rdrand; a byte of it to the serial port. */
const DICE = [0x0f, 0xc7, 0xf0, 0x66, 0xba, 0xf8, 0x03, 0xee];
const KERNEL = tinyKernel([...print('up\n'), ...DICE, ...DICE, ...POWER_OFF, ...STOP]);
const STATE = /^(\d+) instructions, ([\d.]+) s of guest time, state ([\da-f]{64})\n$/;

describe('mimic run --deterministic', { concurrency: 2 }, () => {
  test('tells the hash of the state, which is the same each time', async () => {
    using folder = makeFolder({ k: KERNEL });
    const run = (...more: string[]) =>
      runCli(['run', '-k', 'k', '-m', '16M', ...more], { cwd: folder.path, real: true });
    const first = await run('--deterministic');
    assert.equal(first.code, 0);
    assert.match(first.errors, STATE);
    assert.deepEqual(await run('--deterministic'), first);
    const other = await run('--deterministic=2');
    assert.notEqual(STATE.exec(other.errors)?.[3], STATE.exec(first.errors)?.[3]);
    const short = await run('--deterministic', '--instructions', '4');
    assert.equal(short.code, 0);
    assert.equal(STATE.exec(short.errors)?.[1], '4');
  });

  test('a recorded run is replayed from its file', async () => {
    using folder = makeFolder({ k: KERNEL, x: 'no recording\n' });
    const run = (...more: string[]) =>
      runCli(['run', '-k', 'k', '-m', '16M', ...more], { cwd: folder.path, real: true });
    const recorded = await run('--deterministic=99', '--record', 'r');
    assert.equal(recorded.code, 0);
    const lines = readFileSync(join(folder.path, 'r'), 'utf8').trimEnd().split('\n');
    assert.deepEqual(
      lines.map((line) => (JSON.parse(line) as { kind?: string }).kind),
      [undefined, 'end'],
    );
    assert.deepEqual(await run('--replay', 'r'), recorded);
    const refused = await run('--replay', 'x');
    assert.equal(refused.code, 2);
    assert.match(refused.errors, /^error: line 1 of the recording: .*\nhint: /);
    const missing = await run('--replay', 'nowhere');
    assert.equal(missing.code, 2);
    assert.match(missing.errors, /nowhere/);
  });
});
