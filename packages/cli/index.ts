export { type CpioEntry, writeCpio } from './debian/cpio.ts';
export { cacheFolder, type DebianImages, fetchDebian } from './debian/fetch.ts';
export { buildInitramfs, type InitramfsParts, type KernelModule } from './debian/initramfs.ts';
export { EXIT } from './exit-codes.ts';
