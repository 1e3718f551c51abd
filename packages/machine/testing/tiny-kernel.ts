// Kernels of a few bytes for tests of whole machines: an ELF file with a PVH entry around 32-bit machine code.
// Imported by tests only. PVH: Xen, docs/misc/pvh.pandoc.

/** Where the code runs, in flat 32-bit protected mode with interrupts off. */
export const TINY_KERNEL_GPA = 0x10_0000;
const CODE_OFFSET = 0x100;
const NOTE_OFFSET = 0x80;
const XEN_ELFNOTE_PHYS32_ENTRY = 18;

export function tinyKernel(code: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(CODE_OFFSET + code.length);
  const view = new DataView(bytes.buffer);
  const words = (at: number, values: readonly number[]) => {
    for (const [index, value] of values.entries()) view.setUint32(at + 4 * index, value, true);
  };
  // ELF header: 32-bit, little-endian, executable, 80386; program headers at 0x34.
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  words(0x10, [0x0003_0002, 1, TINY_KERNEL_GPA, 0x34]);
  view.setUint16(0x28, 0x34, true);
  view.setUint16(0x2a, 0x20, true);
  view.setUint16(0x2c, 2, true);
  // Type, offset, virtual and physical address, sizes in file and memory, flags, alignment.
  words(0x34, [1, CODE_OFFSET, TINY_KERNEL_GPA, TINY_KERNEL_GPA, code.length, 0x1000, 7, 0]);
  words(0x54, [4, NOTE_OFFSET, 0, 0, 20, 20, 4, 4]);
  words(NOTE_OFFSET, [4, 4, XEN_ELFNOTE_PHYS32_ENTRY]);
  bytes.set(new TextEncoder().encode('Xen'), NOTE_OFFSET + 12);
  words(NOTE_OFFSET + 16, [TINY_KERNEL_GPA]);
  bytes.set(code, CODE_OFFSET);
  return bytes;
}

/** mov dx, port; mov al, value; out dx, al */
export function out8(port: number, value: number): number[] {
  return [0x66, 0xba, port & 0xff, port >> 8, 0xb0, value, 0xee];
}

/** mov dx, port; mov ax, value; out dx, ax */
export function out16(port: number, value: number): number[] {
  return [0x66, 0xba, port & 0xff, port >> 8, 0x66, 0xb8, value & 0xff, value >> 8, 0x66, 0xef];
}

/** Sends the text to the first serial port. */
export function print(text: string): number[] {
  return [...new TextEncoder().encode(text)].flatMap((byte) => out8(0x3f8, byte));
}

/** ACPI S5: SLP_EN in the PM1a control register, sleep type 0. */
export const POWER_OFF: readonly number[] = out16(0x604, 0x2000);
/** cli; hlt, for ever. */
export const STOP: readonly number[] = [0xfa, 0xf4, 0xeb, 0xfc];
