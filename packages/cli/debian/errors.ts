// What can go wrong while a kernel is fetched: a closed list of codes, with text for people.

import { OperatingError } from '@mimic/base';

export type DebianErrorCode =
  | 'NO_PACKAGE_CLIENT' // Not a Debian-like system.
  | 'PACKAGE_UNKNOWN' // The package client does not know any of the packages.
  | 'DOWNLOAD_FAILED'
  | 'PACKAGE_UNUSABLE'; // It does not hold what it should.

export class DebianError extends OperatingError<DebianErrorCode> {
  override readonly name = 'DebianError';
}

/** What to do where packages cannot be fetched: exactly which two files to pass, and how. */
export const TWO_FILES_HINT =
  'pass two files instead: mimic run debian --kernel VMLINUZ --busybox BUSYBOX\n' +
  "  VMLINUZ is /boot/vmlinuz-* of Debian's package linux-image-cloud-amd64 (or any bzImage with a serial console),\n" +
  '  BUSYBOX is /bin/busybox of its package busybox-static (or any static busybox for x86-64);\n' +
  '  a .deb is unpacked with: ar x FILE.deb && tar xf data.tar.*';
