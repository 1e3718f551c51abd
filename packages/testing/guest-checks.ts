// Shell scripts that run in a guest one after the other, each with its output and exit status between marks on the
// serial console; and the same scripts on the host, by the same busybox, for what they ought to print.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CpioEntry } from '@mimic/cli';
import type { Guest } from './guest.ts';

/** `name` is also a file name. The script runs in an empty folder with busybox's applets as its only programs. */
export interface GuestCheck {
  readonly name: string;
  readonly script: string;
}

export interface CheckResult {
  readonly output: string;
  readonly status: number;
}

/** Variables that name programs: the same program has another path on the host. */
export type Programs = Readonly<Record<string, string>>;

const ENVIRONMENT = { PATH: '/bin', HOME: '/', LC_ALL: 'C', TZ: 'UTC', BUSYBOX: '/bin/busybox' };

/** For `start` of the initramfs: runs /checks/* in order. The console passes bytes on unchanged. */
export function runChecksScript(programs: Programs = {}): string {
  const variables = Object.entries({ ...ENVIRONMENT, ...programs });
  return `
dmesg -n 1
stty -echo -onlcr
${variables.map(([name, value]) => `export ${name}='${value}'`).join('\n')}
while read -r name; do
  mkdir "/tmp/$name"
  echo "@@BEGIN $name"
  (cd "/tmp/$name" && exec sh "/checks/$name") </dev/null 2>&1
  echo "@@END $name $?"
  rm -rf "/tmp/$name"
done </checks/order
echo @@DONE
`;
}

/** The files that the script needs, for a cpio archive behind the initramfs. */
export function checkFiles(checks: readonly GuestCheck[]): readonly CpioEntry[] {
  return [
    { path: 'checks', folder: true },
    { path: 'checks/order', contents: checks.map(({ name }) => `${name}\n`).join('') },
    ...checks.map(({ name, script }) => ({ path: `checks/${name}`, contents: script })),
  ];
}

/** Waits for a guest that runs the script. Results of all checks by name; fails if one does not come in time. */
export async function collectChecks(
  guest: Guest,
  checks: readonly GuestCheck[],
  timeouts: { readonly bootMs: number; readonly checkMs: number },
): Promise<Map<string, CheckResult>> {
  const results = new Map<string, CheckResult>();
  for (const { name } of checks) {
    const timeoutMs = results.size === 0 ? timeouts.bootMs : timeouts.checkMs;
    await guest.expect(`@@BEGIN ${name}\n`, { timeoutMs });
    const { before, groups } = await guest.expect(/@@END \S+ (\d+)\n/, {
      timeoutMs: timeouts.checkMs,
    });
    results.set(name, { output: before, status: Number(groups[0]) });
  }
  await guest.expect('@@DONE\n');
  return results;
}

/**
 * The C library picks code by the processor's features, and fused multiply-add gives other last digits of exp or
 * sin: what the guest's processor does not have is hidden here. glibc manual, Hardware Capability Tunables.
 */
const HIDDEN_FEATURES = ['AVX', 'AVX2', 'AVX512F', 'FMA', 'FMA4', 'BMI1', 'BMI2', 'LZCNT'];

/** The same check on the host, which needs no more than the busybox and the programs. */
export function runOnHost(
  check: GuestCheck,
  busybox: string,
  programs: Programs = {},
): CheckResult {
  const folder = mkdtempSync(join(tmpdir(), 'mimic-check-'));
  try {
    const bin = join(folder, 'bin');
    const work = join(folder, 'work');
    mkdirSync(bin);
    mkdirSync(work);
    spawnSync(busybox, ['--install', '-s', bin]);
    writeFileSync(join(folder, 'script'), check.script);
    const { stdout, stderr, status, error } = spawnSync(
      busybox,
      ['sh', '-c', 'exec sh ../script 2>&1'],
      {
        cwd: work,
        encoding: 'latin1',
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          ...ENVIRONMENT,
          PATH: bin,
          BUSYBOX: busybox,
          ...programs,
          GLIBC_TUNABLES: `glibc.cpu.hwcaps=${HIDDEN_FEATURES.map((name) => `-${name}`).join(',')}`,
        },
      },
    );
    if (error !== undefined || stderr !== '') {
      throw new Error(`${check.name} on the host: ${error?.message ?? stderr}`);
    }
    return { output: stdout, status: status ?? -1 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
