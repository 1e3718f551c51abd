// Where a set of results comes from: this computer, this commit, these programs.

import { readFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { execute } from './execute.ts';
import type { Results } from './results.ts';
import { V86_VERSION } from './v86.ts';

const BYTES_PER_GIB = 2 ** 30;

export function hostDescription(): Results['host'] {
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / BYTES_PER_GIB),
    load: loadavg()[0] ?? 0,
  };
}

/** Of a checkout: '1a2b3c4d', with ' and changes' where the tree has some. */
export async function commitName(root: string): Promise<string> {
  try {
    const name = await execute('git', ['-C', root, 'rev-parse', '--short=12', 'HEAD']);
    const changes = await execute('git', ['-C', root, 'status', '--porcelain', '--untracked=no']);
    return `${name.trim()}${changes === '' ? '' : ' and changes'}`;
  } catch {
    return 'unknown';
  }
}

export async function programVersions(parts: {
  readonly peers: readonly string[];
  /** Of the guests' kernels. */
  readonly releases: readonly string[];
  /** On the disk. */
  readonly packages: readonly string[];
  /** Another checkout of Mimic. */
  readonly baseRoot: string | undefined;
}): Promise<string[]> {
  const qemu = async () => {
    const text = await execute('qemu-system-x86_64', ['--version']);
    return (text.split('\n')[0] ?? '').replace('emulator version ', '');
  };
  return [
    `Node ${process.version} on ${hostKernel()}`,
    ...(parts.peers.includes('qemu') ? [await qemu()] : []),
    ...(parts.peers.includes('v86') ? [`v86 ${V86_VERSION} (npm)`] : []),
    ...(parts.baseRoot === undefined ? [] : [`base: ${await commitName(parts.baseRoot)}`]),
    ...new Set(parts.releases.map((release) => `Guest: ${release}`)),
    ...(parts.packages.length === 0 ? [] : [`Guest's programs: ${parts.packages.join(', ')}`]),
  ];
}

function hostKernel(): string {
  return `Linux ${readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim()}`;
}
