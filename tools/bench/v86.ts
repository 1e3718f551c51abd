// v86, the 32-bit PC in a browser, as a peer: its npm package in .cache/bench and SeaBIOS from Debian.
// It is never a dependency of the workspace; without a registry there is no comparison with it.

import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { debianPackage } from '../guests/packages.ts';
import { execute } from './execute.ts';
import { BENCH_CACHE } from './guest.ts';

export const V86_VERSION = '0.5.462';

export interface V86Files {
  /** Of the npm package. */
  readonly folder: string;
  readonly bios: string;
  readonly vgaBios: string;
}

/** Installs it unless it is there. Fails with npm's words where npm has no registry. */
export async function v86Files(): Promise<V86Files> {
  const prefix = join(BENCH_CACHE, `v86-${V86_VERSION}`);
  const folder = join(prefix, 'node_modules', 'v86');
  if (!existsSync(folder)) {
    await mkdir(prefix, { recursive: true });
    const options = ['--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
    await execute('npm', ['install', ...options, '--prefix', prefix, `v86@${V86_VERSION}`]);
  }
  const seabios = await debianPackage('seabios', 'amd64');
  const bioses = join(seabios.folder, 'usr', 'share', 'seabios');
  return {
    folder,
    bios: join(bioses, 'bios.bin'),
    vgaBios: join(bioses, 'vgabios-stdvga.bin'),
  };
}
