// Which kernel modules the machine's devices need, and in which order they load.
// A module names what it depends on in its .modinfo section: "depends=virtio,virtio_ring" (Linux, scripts/mod).

import type { KernelModule } from './initramfs.ts';

/** Drivers for what is on the board; a kernel that has one built in, or not at all, goes without. */
export const WANTED_MODULES = [
  'virtio_pci',
  'virtio_blk',
  'virtio_net',
  'virtio_console',
  'virtio_rng',
  '9pnet_virtio',
  '9p',
  // The power button, and the way in which user space hears of it.
  'button',
  'evdev',
];

/** The wanted modules and what they depend on, each after its dependencies. */
export function loadOrder(
  available: readonly KernelModule[],
  wanted: readonly string[] = WANTED_MODULES,
): KernelModule[] {
  const byName = new Map(available.map((module) => [moduleName(module.fileName), module]));
  const order: KernelModule[] = [];
  const seen = new Set<string>();
  function visit(name: string): void {
    const module = byName.get(name);
    if (seen.has(name) || module === undefined) return;
    seen.add(name);
    for (const dependency of dependencies(module.contents)) visit(dependency);
    order.push(module);
  }
  for (const name of wanted) visit(name);
  return order;
}

/** The kernel treats '-' and '_' in module names as one. */
function moduleName(fileName: string): string {
  return fileName.replace(/\.ko$/, '').replaceAll('-', '_');
}

function dependencies(module: Uint8Array): string[] {
  const text = new TextDecoder('latin1').decode(module);
  const names = /\0depends=([^\0]*)\0/.exec(`\0${text}`)?.[1] ?? '';
  return names
    .split(',')
    .filter(Boolean)
    .map((name) => name.replaceAll('-', '_'));
}
