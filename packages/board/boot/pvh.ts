// PVH direct boot: an ELF kernel with a 32-bit entry in a Xen note. Xen's docs/misc/pvh.pandoc and
// xen/include/public/arch-x86/hvm/start_info.h, version 1 (with a memory map).

import { type Elf, parseElf } from './elf.ts';
import { BootError } from './errors.ts';
import type { BootImage, Piece } from './image.ts';
import { type BootInput, checkKernelFits, commandLinePiece, initrdPiece } from './input.ts';
import { LAYOUT } from './layout.ts';
import { protectedMode } from './processor-state.ts';

const XEN_ELFNOTE_PHYS32_ENTRY = 18;
const START_INFO_MAGIC = 0x336e_c578;
const START_INFO_VERSION = 1;
/** hvm_start_info, one module and the memory map, in this order from LAYOUT.parameters on. */
const MODULES_AT = 0x40; // hvm_start_info has 56 bytes.
const MEMORY_MAP_AT = 0x80; // hvm_modlist_entry has 32.
const MEMORY_ENTRY_SIZE = 24;
/** The start info is below 4 GiB, and so is everything it points to. */
const ADDRESS_MAX = 0xffff_ffff;

export function loadPvh(input: BootInput): BootImage {
  const elf = parseElf(input.kernel);
  const rip = entryOf(elf);
  const kernelEnd = checkSegments(elf, input.ramEnd);
  const initrd = initrdPiece(input, { kernelEnd, addressMax: ADDRESS_MAX });
  const commandLine = commandLinePiece(input.commandLine, LAYOUT.commandLineSize - 1);
  const { processor, pieces } = protectedMode({ rip, rbx: LAYOUT.parameters });
  return {
    format: 'pvh',
    processor,
    pieces: [
      ...pieces,
      { gpa: LAYOUT.parameters, bytes: startInfo(input, initrd) },
      commandLine,
      ...elf.segments,
      ...(initrd === undefined ? [] : [initrd]),
    ],
  };
}

/** The note's value has 4 bytes, or 8 in a 64-bit kernel. */
function entryOf(elf: Elf): number {
  const note = elf.notes.find(
    ({ name, type }) => name === 'Xen' && type === XEN_ELFNOTE_PHYS32_ENTRY,
  );
  if (note === undefined || note.value.length < 4) {
    throw new BootError('BOOT_UNSUPPORTED_KERNEL', 'The ELF kernel has no PVH entry point.', {
      hint: 'Build Linux with CONFIG_PVH=y, or pass its bzImage.',
    });
  }
  return new DataView(note.value.buffer, note.value.byteOffset).getUint32(0, true);
}

/** All segments lie in RAM above 1 MiB; returns where the last one ends. */
function checkSegments(elf: Elf, ramEnd: number): number {
  let end: number = LAYOUT.highMemoryStart;
  for (const segment of elf.segments) {
    if (segment.gpa < LAYOUT.highMemoryStart) {
      const message = `The kernel wants to be loaded at 0x${segment.gpa.toString(16)}, below 1 MiB.`;
      throw new BootError('BOOT_UNSUPPORTED_KERNEL', message, {
        hint: 'Pass a kernel that is linked at 1 MiB or above.',
      });
    }
    end = Math.max(end, segment.gpa + segment.bytes.length + segment.zeroBytes);
  }
  checkKernelFits(end, ramEnd);
  return end;
}

function startInfo(input: BootInput, initrd: Piece | undefined): Uint8Array {
  const bytes = new Uint8Array(MEMORY_MAP_AT + input.memoryMap.length * MEMORY_ENTRY_SIZE);
  const view = new DataView(bytes.buffer);
  const u32 = (at: number, value: number): void => view.setUint32(at, value, true);
  const u64 = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
  u32(0, START_INFO_MAGIC);
  u32(4, START_INFO_VERSION);
  u32(12, initrd === undefined ? 0 : 1);
  u64(16, initrd === undefined ? 0 : LAYOUT.parameters + MODULES_AT);
  u64(24, LAYOUT.commandLine);
  u64(32, LAYOUT.rsdp);
  u64(40, LAYOUT.parameters + MEMORY_MAP_AT);
  u32(48, input.memoryMap.length);
  if (initrd !== undefined) {
    u64(MODULES_AT, initrd.gpa);
    u64(MODULES_AT + 8, initrd.bytes.length);
  }
  for (const [index, range] of input.memoryMap.entries()) {
    const at = MEMORY_MAP_AT + index * MEMORY_ENTRY_SIZE;
    u64(at, range.gpa);
    u64(at + 8, range.sizeBytes);
    u32(at + 16, range.type);
  }
  return bytes;
}
