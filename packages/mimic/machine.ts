// The library's front door for programs in Node: a machine from files and images by their paths.

import { readFile } from 'node:fs/promises';
import {
  type DiskOptions,
  fileError,
  nodeHost,
  openDiskImage,
  openSharedFolder,
} from '@mimic/host';
import {
  Machine as CoreMachine,
  type MachineOptions as CoreMachineOptions,
  type DiskAttachment,
  type Host,
  type ShareAttachment,
} from '@mimic/machine';

/** A raw disk image: its path, or its path with `readOnly` or `snapshot`. */
export type Disk = string | ({ readonly path: string } & DiskOptions);

/** A folder to share: its path, or its path with a tag other than 'share', or `readOnly`. */
export type Share =
  | string
  | { readonly path: string; readonly tag?: string; readonly readOnly?: boolean };

/** What a machine is made from; all but `kernel` have defaults. */
export interface MachineOptions
  extends Omit<CoreMachineOptions, 'kernel' | 'initrd' | 'disks' | 'shares'> {
  /** Path or contents of a Linux bzImage, or of an ELF kernel with a PVH entry. */
  readonly kernel: string | Uint8Array;
  /** Path or contents of an initramfs. */
  readonly initrd?: string | Uint8Array;
  /** Raw images; the first is /dev/vda. An image that is written belongs to one machine at a time. */
  readonly disks?: readonly Disk[];
  /**
   * Folders that the guest can mount by their tags: `mount -t 9p -o trans=virtio,version=9p2000.L share /mnt`.
   * The guest works in them with the rights of this process, and sees nothing outside of them.
   */
  readonly shares?: readonly Share[];
}

/**
 * A virtual PC.
 *
 *     await using vm = await Machine.create({ kernel: 'vmlinuz', initrd: 'initrd.img', append: 'console=ttyS0' });
 *     await vm.start();
 *     await vm.serial.expect('login: ');
 *     await vm.serial.sendLine('root');
 */
export type Machine = CoreMachine;

export const Machine = {
  /**
   * Builds a machine and loads the kernel; `start` makes it run. Fails with an `OperatingError` (`code`, `message`,
   * `hint`) for a file that is missing, in use or no kernel, and for an option that cannot be met. Nothing is left
   * behind then. `host` is for programs that bring their own workers.
   */
  async create(options: MachineOptions, host: Host = nodeHost()): Promise<Machine> {
    const { kernel, initrd, disks = [], shares = [], ...rest } = options;
    const images = {
      kernel: await contents(kernel),
      ...(initrd === undefined ? {} : { initrd: await contents(initrd) }),
    };
    return await CoreMachine.create({ ...rest, ...images, ...openAll(disks, shares) }, host);
  },
};

async function contents(file: string | Uint8Array): Promise<Uint8Array> {
  if (typeof file !== 'string') return file;
  try {
    return new Uint8Array(await readFile(file));
  } catch (error) {
    throw fileError(file, error);
  }
}

function openAll(
  disks: readonly Disk[],
  shares: readonly Share[],
): { disks: DiskAttachment[]; shares: ShareAttachment[] } {
  const open: { disks: DiskAttachment[]; shares: ShareAttachment[] } = { disks: [], shares: [] };
  try {
    for (const disk of disks) {
      const { path, ...options } = typeof disk === 'string' ? { path: disk } : disk;
      open.disks.push(openDiskImage(path, options));
    }
    for (const share of shares) {
      const { path, ...options } = typeof share === 'string' ? { path: share } : share;
      open.shares.push(openSharedFolder(path, { tag: 'share', ...options }));
    }
    return open;
  } catch (error) {
    for (const attachment of [...open.disks, ...open.shares]) attachment.close();
    throw error;
  }
}
