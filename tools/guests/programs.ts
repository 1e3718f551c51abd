// Debian programs that are not static, for guests that have no Debian: with their C library, and run by its loader.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CpioEntry } from '@mimic/cli';
import { type Architecture, debianPackage } from './packages.ts';

const LIBRARY_FOLDERS: Readonly<Record<Architecture, string>> = {
  amd64: 'lib/x86_64-linux-gnu',
  i386: 'lib/i386-linux-gnu',
};
const LOADERS: Readonly<Record<Architecture, string>> = {
  amd64: 'ld-linux-x86-64.so.2',
  i386: 'ld-linux.so.2',
};
/** Where they are in the guest. */
const GUEST_FOLDER = 'debian';

export interface DebianProgram {
  /** Files for the guest. */
  readonly files: readonly CpioEntry[];
  /** What to call it by in the guest, and on the host. */
  readonly guestCommand: string;
  readonly hostCommand: string;
}

/** mawk, the awk that has mathematics. Its C library's code for them is the processor's test. */
export async function debianMawk(architecture: Architecture): Promise<DebianProgram> {
  const [mawk, libc] = await Promise.all([
    debianPackage('mawk', architecture),
    debianPackage('libc6', architecture),
  ]);
  const libraries = join(libc.folder, LIBRARY_FOLDERS[architecture]);
  const loader = LOADERS[architecture];
  const program = join(mawk.folder, 'usr', 'bin', 'mawk');
  const sources = [program, ...[loader, 'libc.so.6', 'libm.so.6'].map((n) => join(libraries, n))];
  return {
    files: [
      { path: GUEST_FOLDER, folder: true },
      ...sources.map((source) => ({
        path: `${GUEST_FOLDER}/${source.slice(source.lastIndexOf('/') + 1)}`,
        contents: readFileSync(source),
        executable: true,
      })),
    ],
    guestCommand: `/${GUEST_FOLDER}/${loader} --library-path /${GUEST_FOLDER} /${GUEST_FOLDER}/mawk`,
    hostCommand: `${join(libraries, loader)} --library-path ${libraries} ${program}`,
  };
}
