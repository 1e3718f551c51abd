export { Apt, type Package } from './debian/apt.ts';
export { type CpioEntry, writeCpio } from './debian/cpio.ts';
export { type DebianImages, fetchDebian } from './debian/fetch.ts';
export { buildInitramfs, type InitramfsParts, type KernelModule } from './debian/initramfs.ts';
export { loadOrder } from './debian/modules.ts';
export { EXIT } from './exit-codes.ts';
