// The kernel that Debian ships, for tests that want a real one: from MIMIC_TEST_KERNEL, or fetched once by
// the system's package client into the repository's .cache folder. Imported by tests only.

import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const CACHE = join(import.meta.dirname, '../../../.cache/guest');

/** The bzImage of Debian's current amd64 kernel. */
export function debianKernel(): Uint8Array {
  const given = process.env.MIMIC_TEST_KERNEL;
  if (given !== undefined) return readFileSync(given);
  const cached = join(CACHE, 'vmlinuz-debian-amd64');
  if (!existsSync(cached)) fetchInto(cached);
  return readFileSync(cached);
}

function fetchInto(path: string): void {
  mkdirSync(CACHE, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), 'mimic-kernel-'));
  try {
    const depends = execFileSync('apt-cache', ['depends', 'linux-image-amd64:amd64'], {
      encoding: 'utf8',
    });
    const name = /Depends: (linux-image-[0-9]\S+)/.exec(depends)?.[1];
    if (name === undefined) throw new Error(`no kernel package in:\n${depends}`);
    execFileSync('apt-get', ['download', name], { cwd: folder, stdio: 'pipe' });
    const packageFile = readdirSync(folder).find((file) => file.endsWith('.deb'));
    execFileSync('dpkg-deb', ['-x', packageFile!, 'root'], { cwd: folder });
    const boot = join(folder, 'root/boot');
    const kernel = readdirSync(boot).find((file) => file.startsWith('vmlinuz-'));
    copyFileSync(join(boot, kernel!), `${path}.new`);
    renameSync(`${path}.new`, path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
