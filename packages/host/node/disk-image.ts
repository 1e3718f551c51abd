// Opens raw disk images for a machine: checks, locks and describes them.
// Two machines writing one image destroy it, so an image in use by one cannot be opened by another, in any process.

import { spawnSync } from 'node:child_process';
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { basename } from 'node:path';
import { platform } from 'node:process';
import type { DiskAttachment } from '@mimic/machine';
import { fileError, HostError } from '../errors.ts';

export const SECTOR_BYTES = 512;
/** Virtio 1.2 §5.2.6, VIRTIO_BLK_T_GET_ID. */
const SERIAL_LENGTH_MAX = 20;

export interface DiskOptions {
  /** The guest may not write; others may read the image meanwhile. */
  readonly readOnly?: boolean;
  /** The guest may write, and all of it is forgotten when the machine ends. */
  readonly snapshot?: boolean;
}

/** What the worker needs to work on an open image. File descriptors belong to the whole process. */
export interface OpenImage {
  readonly path: string;
  readonly fd: number;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly snapshot: boolean;
  /** What the guest sees as the disk's serial number. */
  readonly serial: string;
}

/** Fails with a `HostError`. The lock is the kernel's and ends with the attachment, or with the process. */
export function openDiskImage(path: string, options: DiskOptions = {}): DiskAttachment {
  const { readOnly = false, snapshot = false } = options;
  const shared = readOnly || snapshot;
  const fd = open(path, shared);
  try {
    const sizeBytes = checkedSize(path, fd);
    if (!lock(fd, shared)) throw inUse(path, shared);
    const image: OpenImage = { path, fd, sizeBytes, readOnly, snapshot, serial: serialOf(path) };
    return { sizeBytes, readOnly, descriptor: image, close: () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** The image's name as far as a serial number goes: 20 characters of ASCII. */
function serialOf(path: string): string {
  return basename(path)
    .replaceAll(/[^\w.-]/g, '_')
    .slice(0, SERIAL_LENGTH_MAX);
}

function open(path: string, shared: boolean): number {
  try {
    return openSync(path, shared ? constants.O_RDONLY : constants.O_RDWR);
  } catch (error) {
    throw fileError(path, error);
  }
}

function checkedSize(path: string, fd: number): number {
  const stat = fstatSync(fd);
  if (!stat.isFile()) {
    throw new HostError('FILE_UNREADABLE', `${path} is not a plain file`, {
      hint: 'name a raw disk image',
    });
  }
  if (stat.size === 0 || stat.size % SECTOR_BYTES !== 0) {
    throw new HostError(
      'DISK_BAD_SIZE',
      `${path} has ${stat.size} bytes, which is not a raw disk of whole sectors`,
      { hint: `make it a multiple of ${SECTOR_BYTES} bytes: truncate -s %${SECTOR_BYTES} ${path}` },
    );
  }
  return stat.size;
}

/**
 * Takes flock(2) on our descriptor: the program `flock` of util-linux inherits it, and the lock then belongs to the
 * open file, which outlives that program. A host without it (not Linux) goes on without a lock.
 */
function lock(fd: number, shared: boolean): boolean {
  if (platform !== 'linux') return true;
  const mode = shared ? '--shared' : '--exclusive';
  const { status } = spawnSync('flock', ['--nonblock', '--conflict-exit-code', '99', mode, '3'], {
    stdio: ['ignore', 'ignore', 'ignore', fd],
  });
  return status !== 99;
}

function inUse(path: string, shared: boolean): HostError {
  return new HostError(
    'DISK_IN_USE',
    `${path} is in use by another machine${shared ? ', which may write to it' : ''}`,
    {
      hint: shared
        ? 'stop that machine first, or copy the image'
        : 'stop that machine first, or add ",snapshot=on" to both to share the image unchanged',
    },
  );
}
