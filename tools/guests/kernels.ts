// Debian's kernels and their modules as guests boot them, and the static busybox that goes with them.

import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type CpioEntry, type KernelModule, loadOrder } from '@mimic/cli';
import { type Architecture, debianPackage } from './packages.ts';

/** Names as in the meta packages linux-image-…; -686 has two-level page tables, -686-pae three levels. */
export const KERNEL_FLAVOURS = {
  amd64: 'amd64',
  'cloud-amd64': 'amd64',
  '686': 'i386',
  '686-pae': 'i386',
} as const satisfies Record<string, Architecture>;

export type KernelFlavour = keyof typeof KERNEL_FLAVOURS;

export interface DebianKernel {
  readonly architecture: Architecture;
  /** What `uname -r` prints: '6.1.0-50-686-pae'. */
  readonly release: string;
  /** Path of the bzImage. */
  readonly image: string;
  /** All that the package has; contents are read when asked for. */
  readonly modules: readonly ModuleFile[];
}

export interface ModuleFile extends KernelModule {
  readonly path: string;
}

export async function debianKernel(flavour: KernelFlavour): Promise<DebianKernel> {
  const architecture = KERNEL_FLAVOURS[flavour];
  const { name, folder } = await debianPackage(`linux-image-${flavour}`, architecture);
  const release = name.replace('linux-image-', '');
  const modules = readdirSync(join(folder, 'lib', 'modules', release), {
    recursive: true,
    withFileTypes: true,
  })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ko'))
    .map((entry) => moduleFile(join(entry.parentPath, entry.name)));
  return { architecture, release, image: join(folder, 'boot', `vmlinuz-${release}`), modules };
}

/** Path of the static busybox. */
export async function debianBusybox(architecture: Architecture): Promise<string> {
  const { folder } = await debianPackage('busybox-static', architecture);
  return join(folder, 'bin', 'busybox');
}

/** Wanted modules that the kernel has as modules, after those that they depend on. */
export function kernelModules(
  kernel: DebianKernel,
  wanted: readonly string[],
): readonly KernelModule[] {
  return loadOrder(kernel.modules, wanted);
}

/**
 * Modules for `modprobe`, which the kernel calls too: the files in /lib/modules/<release> with the two indexes
 * that busybox reads there. Linux, modules.dep(5).
 */
export function modprobeTree(
  kernel: DebianKernel,
  modules: readonly KernelModule[],
): readonly CpioEntry[] {
  const folder = `lib/modules/${kernel.release}`;
  const paths = modules.map(({ fileName }) => fileName);
  const dependencies = modules.map((module) => {
    const chain = loadOrder(modules, [moduleName(module)]).filter((other) => other !== module);
    return `${[`${module.fileName}:`, ...chain.map(({ fileName }) => fileName)].join(' ')}\n`;
  });
  const aliases = modules.flatMap((module) =>
    aliasesOf(module.contents).map((alias) => `alias ${alias} ${moduleName(module)}\n`),
  );
  return [
    { path: folder, folder: true },
    ...modules.map(({ contents }, index) => ({ path: `${folder}/${paths[index]}`, contents })),
    { path: `${folder}/modules.dep`, contents: dependencies.join('') },
    { path: `${folder}/modules.alias`, contents: aliases.join('') },
    { path: `${folder}/modules.symbols`, contents: '' },
  ];
}

/** Names of the modules in a folder of the package: 'crypto', 'arch/x86/crypto'. */
export function modulesUnder(kernel: DebianKernel, folder: string): string[] {
  const prefix = `/lib/modules/${kernel.release}/kernel/${folder}/`;
  return kernel.modules
    .filter((module) => module.path.includes(prefix))
    .map((module) => moduleName(module));
}

function moduleName({ fileName }: KernelModule): string {
  return fileName.replace(/\.ko$/, '').replaceAll('-', '_');
}

/** "alias=crypto-aes" strings of the .modinfo section. */
function aliasesOf(module: Uint8Array): string[] {
  const text = Buffer.from(module.buffer, module.byteOffset, module.byteLength).toString('latin1');
  return [...text.matchAll(/(?<=\0)alias=([^\0]+)\0/g)].map((match) => match[1] ?? '');
}

/** Thousands are listed and few are read. */
function moduleFile(path: string): ModuleFile {
  let contents: Uint8Array | undefined;
  return {
    path,
    fileName: basename(path),
    get contents() {
      contents ??= readFileSync(path);
      return contents;
    },
  };
}
