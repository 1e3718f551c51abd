// What all loaders share: their input, command line, initrd placement, memory checks and identification of
// files that are no kernel for this machine.

import { BootError } from './errors.ts';
import type { Piece } from './image.ts';
import { LAYOUT, type MemoryRange } from './layout.ts';

/** What to boot and where it may go. */
export interface BootInput {
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array;
  readonly commandLine: string;
  readonly memoryMap: readonly MemoryRange[];
  /** End of plain RAM: the first byte of the ACPI tables. */
  readonly ramEnd: number;
}

const PAGE_SIZE = 0x1000;

export function megabytes(sizeBytes: number): string {
  return `${Math.ceil(sizeBytes / 0x10_0000)} MiB`;
}

/** The command line as a zero-terminated piece; `sizeMax` is what the kernel takes, without the zero. */
export function commandLinePiece(text: string, sizeMax: number): Piece {
  const bytes = new TextEncoder().encode(`${text}\0`);
  const max = Math.min(sizeMax, LAYOUT.commandLineSize - 1);
  if (bytes.length - 1 > max) {
    const message = `The kernel's command line has ${bytes.length - 1} bytes; it takes ${max}.`;
    throw new BootError('BOOT_BAD_COMMAND_LINE', message, { hint: 'Shorten --append.' });
  }
  if (text.includes('\0')) {
    const message = "The kernel's command line has a zero byte in it, which would end it.";
    throw new BootError('BOOT_BAD_COMMAND_LINE', message, { hint: 'Remove it from --append.' });
  }
  return { gpa: LAYOUT.commandLine, bytes };
}

/** The initrd as high as it may go, on a page boundary, behind the kernel. */
export function initrdPiece(
  input: BootInput,
  bounds: { kernelEnd: number; addressMax: number },
): Piece | undefined {
  const { initrd, ramEnd } = input;
  if (initrd === undefined || initrd.length === 0) return undefined;
  const end = Math.min(ramEnd, bounds.addressMax + 1);
  const gpa = Math.floor((end - initrd.length) / PAGE_SIZE) * PAGE_SIZE;
  if (gpa < bounds.kernelEnd) {
    const wanted = megabytes(bounds.kernelEnd + initrd.length);
    const message = `Kernel and initrd need ${wanted} of memory; ${megabytes(end)} are there.`;
    throw new BootError('BOOT_NOT_ENOUGH_MEMORY', message, {
      hint: `Give the machine more memory: --memory ${suggestion(bounds.kernelEnd + initrd.length)}.`,
    });
  }
  return { gpa, bytes: initrd };
}

/** Throws unless the kernel, unpacked, ends in RAM. */
export function checkKernelFits(kernelEnd: number, ramEnd: number): void {
  if (kernelEnd <= ramEnd) return;
  const message = `The kernel needs memory up to ${megabytes(kernelEnd)}; the machine has ${megabytes(ramEnd)}.`;
  throw new BootError('BOOT_NOT_ENOUGH_MEMORY', message, {
    hint: `Give the machine more memory: --memory ${suggestion(kernelEnd)}.`,
  });
}

/** A round size with room to run in. */
function suggestion(neededBytes: number): string {
  let megabytesMin = 64;
  while (megabytesMin * 0x10_0000 < neededBytes * 2 && megabytesMin < 2048) megabytesMin *= 2;
  return `${megabytesMin}M`;
}

/** Magic numbers of things that people pass for a kernel. Offsets from the start of the file. */
const FOREIGN: readonly { offset: number; magic: string; what: string; hint: string }[] = [
  { offset: 0x38, magic: 'ARMd', what: 'an ARM64 kernel', hint: '' },
  { offset: 0x24, magic: '\x18\x28\x6f\x01', what: 'a 32-bit ARM kernel', hint: '' },
  { offset: 0x30, magic: 'RISCV', what: 'a RISC-V kernel', hint: '' },
];
const WRAPPED: typeof FOREIGN = [
  { offset: 0, magic: '\x1f\x8b', what: 'a gzip file', hint: 'Unpack it with gunzip first.' },
  { offset: 0, magic: '\xfd7zXZ\0', what: 'an xz file', hint: 'Unpack it with unxz first.' },
  {
    offset: 0,
    magic: '\x28\xb5\x2f\xfd',
    what: 'a zstd file',
    hint: 'Unpack it with unzstd first.',
  },
  {
    offset: 0,
    magic: '\x27\x05\x19\x56',
    what: 'a U-Boot image',
    hint: 'Pass the bzImage inside.',
  },
  { offset: 0, magic: '070701', what: 'a cpio archive', hint: 'Pass it with --initrd instead.' },
  { offset: 0, magic: '!<arch>', what: 'a Debian package', hint: 'Unpack it with dpkg -x first.' },
  { offset: 0, magic: 'QFI\xfb', what: 'a qcow2 disk', hint: 'Pass it with --disk instead.' },
];

function has(bytes: Uint8Array, offset: number, magic: string): boolean {
  return [...magic].every((character, index) => bytes[offset + index] === character.charCodeAt(0));
}

const KERNEL_HINT =
  'Pass an x86 Linux kernel: a bzImage, such as /boot/vmlinuz-*, or a PVH ELF image (vmlinux).';

/** The error for a file that no loader takes, which says what the file seems to be. */
export function notAKernel(kernel: Uint8Array): BootError {
  const foreign = FOREIGN.find((each) => has(kernel, each.offset, each.magic));
  if (foreign !== undefined) {
    const message = `The kernel file is ${foreign.what}; this machine is an x86 PC.`;
    return new BootError('BOOT_WRONG_ARCHITECTURE', message, { hint: KERNEL_HINT });
  }
  const wrapped = WRAPPED.find((each) => has(kernel, each.offset, each.magic));
  if (wrapped !== undefined) {
    const message = `The kernel file is ${wrapped.what}, not a kernel.`;
    return new BootError('BOOT_NOT_A_KERNEL', message, { hint: wrapped.hint });
  }
  const message =
    kernel.length === 0 ? 'The kernel file is empty.' : 'The kernel file is not a kernel.';
  return new BootError('BOOT_NOT_A_KERNEL', message, { hint: KERNEL_HINT });
}

/** The error for a file that ends too early. */
export function truncated(what: string, neededBytes: number, hasBytes: number): BootError {
  const message = `The kernel file ends too early: ${what} reaches to byte ${neededBytes}, but the file has ${hasBytes}.`;
  return new BootError('BOOT_TRUNCATED', message, {
    hint: 'Copy or download the file again; it seems to be incomplete.',
  });
}
