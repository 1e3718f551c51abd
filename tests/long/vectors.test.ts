// A program compiled for x86-64-v3 gives the same in Debian on `--cpu v3` as on the host, and the kernel finds the
// features that its models claim.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { writeCpio } from '@mimic/cli';
import { cpuModel } from '@mimic/cpu';
import { type Guest, startGuest } from '@mimic/testing';
import { shellInitramfs } from '../../tools/guests/initramfs.ts';
import { debianBusybox, debianKernel } from '../../tools/guests/kernels.ts';

const SOURCE = fileURLToPath(new URL('./programs/vectors.c', import.meta.url));
const TIMEOUT = { timeoutMs: 240_000 };
const PROMPT = /mimic:~[#$] /;

/** The program, linked statically, and what it prints here; undefined where it cannot be made or run. */
function compiled(): { readonly program: Uint8Array; readonly printed: string } | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'mimic-vectors-'));
  try {
    const made = join(folder, 'vectors');
    const options = ['-O3', '-march=x86-64-v3', '-ffast-math', '-fno-finite-math-only', '-static'];
    const gcc = spawnSync('gcc', [...options, SOURCE, '-o', made, '-lm'], { encoding: 'utf8' });
    if (gcc.error || gcc.status !== 0) return undefined;
    const run = spawnSync(made, { encoding: 'utf8' });
    return run.status === 0
      ? { program: readFileSync(made), printed: run.stdout.trim() }
      : undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What a command prints. */
async function answer(guest: Guest, command: string): Promise<string> {
  await guest.sendLine(`echo; echo '<''<'; ${command}; echo '>''>'`);
  await guest.expect('<<\r\n', TIMEOUT);
  const { before } = await guest.expect('>>\r\n', TIMEOUT);
  return before.replaceAll('\r\n', '\n').trim();
}

test('a program for x86-64-v3 gives in Debian what it gives on the host', async (t) => {
  const host = compiled();
  if (!host) {
    t.diagnostic('there is no gcc, or the host is no x86-64-v3 processor');
    return;
  }
  const kernel = await debianKernel('cloud-amd64');
  const files = writeCpio([{ path: 'vectors', contents: host.program, executable: true }]);
  await using guest = await startGuest({
    kernel: kernel.image,
    initrd: Buffer.concat([shellInitramfs(await debianBusybox(kernel.architecture)), files]),
    append: 'quiet cryptomgr.notests',
    cpu: 'v3',
  });
  await guest.expect(PROMPT, TIMEOUT);
  const flags = (await answer(guest, 'grep -m1 ^flags /proc/cpuinfo')).split(/\s+/);
  const claimed = cpuModel('v3').features.filter((f) =>
    ['avx', 'avx2', 'fma', 'f16c'].includes(f.name),
  );
  assert.equal(claimed.length, 4);
  for (const { name } of claimed) assert.ok(flags.includes(name), name);
  assert.equal(await answer(guest, '/vectors'), host.printed);
  assert.equal(await answer(guest, 'dmesg -r | grep -E "^<[0-3]>"'), '');
  await guest.sendLine('exit');
  assert.equal(await guest.exited, 'power-off');
});
