// --profile and --symbols from the outside.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { CpuProfile } from '@mimic/machine';
import { POWER_OFF, print, STOP, tinyKernel } from '../machine/testing/tiny-kernel.ts';
import { makeFolder, runCli } from './testing/run-cli.ts';

/** At 0x100000: nop; mov ecx, 200000000; dec ecx; jnz $-1. At 0x100009: on, and off. */
const SPIN = [0x90, 0xb9, 0x00, 0xc2, 0xeb, 0x0b, 0x49, 0x75, 0xfd];
const SYMBOLS = '0000000000100000 T spin\n0000000000100009 T say_so\n';

describe('mimic run --profile', { concurrency: 2 }, () => {
  test('names where the guest was, in a file and in a table', async () => {
    const kernel = tinyKernel([...SPIN, ...print('done\n'), ...POWER_OFF, ...STOP]);
    using folder = makeFolder({ k: kernel, map: SYMBOLS });
    const args = ['run', '-k', 'k', '-m', '16M', '--profile', 'p.cpuprofile', '--symbols', 'map'];
    const { code, output, errors } = await runCli(args, { cwd: folder.path, real: true });
    assert.equal(code, 0, errors);
    assert.equal(output, 'done\n');
    assert.match(errors, /^profile: \d+\.\d s, \d+ samples; kernel \d+\.\d%, user 0\.0%, idle /);
    assert.match(errors, /^ +\d+\.\d% {2}kernel {2}spin$/m);
    // Cast: what is checked below.
    const file = JSON.parse(readFileSync(join(folder.path, 'p.cpuprofile'), 'utf8')) as CpuProfile;
    assert.equal(file.samples.length, file.timeDeltas.length);
    const spin = file.nodes.find(({ callFrame }) => callFrame.functionName === 'spin');
    assert.ok(spin !== undefined && spin.callFrame.url === 'kernel');
    assert.ok(
      spin.hitCount > file.samples.length / 2,
      `${spin.hitCount} of ${file.samples.length}`,
    );
    const kernelNode = file.nodes.find(({ callFrame }) => callFrame.functionName === 'kernel');
    assert.ok(kernelNode?.children.includes(spin.id));
  });

  test('what cannot be used is told of before anything runs', async () => {
    using folder = makeFolder({ k: 'print hello\\n\npoweroff\n', junk: 'no symbols\n' });
    const run = (...args: string[]) =>
      runCli(['run', '-k', 'k', '--profile', ...args], { cwd: folder.path });
    assert.deepEqual(await run('p', '--symbols', 'junk'), {
      code: 2,
      output: '',
      errors:
        'error: junk names no code\nhint: symbols come from a System.map, the output of nm, an ELF ' +
        "file that is not stripped, or the guest's /proc/kallsyms, read by root with " +
        'kernel.kptr_restrict=0\n',
    });
    assert.equal((await run('p', '--symbols', 'missing')).code, 2);
    const nowhere = await run('no/such/folder/p');
    assert.equal(nowhere.code, 2);
    assert.match(nowhere.errors, /^error: no\/such\/folder\/p/);
    assert.deepEqual(folder.left(), []);
    // The scripted computer of these tests has no processor to look at.
    const { code, errors } = await run('p');
    assert.equal(code, 1);
    assert.equal(errors, 'error: this computer cannot be profiled\n');
  });
});
