// Programs that the tests compare with, from Debian's packages: installed where that can be done, named where not.

import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Program, and the Debian package that has it. */
export const TEST_PACKAGES: Readonly<Record<string, string>> = {
  iasl: 'acpica-tools',
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
  gcc: 'gcc',
};

/** Installs what is missing as root or by `sudo -n`; says what to install where neither works. */
export function installMissing(packages: Readonly<Record<string, string>>): void {
  const missing = () =>
    Object.entries(packages)
      .filter(([program]) => !isOnPath(program))
      .map(([, name]) => name);
  let names = missing();
  if (names.length === 0) return;
  process.stderr.write(`Installing ${names.join(', ')} …\n`);
  // Lists may be stale or absent, so an update comes before the second try.
  for (const args of [[], ['update']]) {
    if (args.length > 0) asRoot(['apt-get', '-qq', ...args]);
    asRoot(['apt-get', '-qq', '-y', '--no-install-recommends', 'install', ...names]);
    names = missing();
    if (names.length === 0) return;
  }
  process.stderr.write(
    `warning: the tests need programs of the Debian packages ${names.join(' ')}, ` +
      `which could not be installed from here\nhint: sudo apt-get install ${names.join(' ')}\n`,
  );
}

function asRoot(command: readonly string[]): void {
  const line = process.getuid?.() === 0 ? command : ['sudo', '-n', ...command];
  const [program = '', ...args] = line;
  spawnSync(program, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
