// Linux bzImage by the x86 boot protocol 2.06 to 2.15 (Documentation/arch/x86/boot.rst): 64-bit entry where
// the kernel has one, else the 32-bit entry. Left out: zImage, EFI handover, setup code in real mode.

import { BootError } from './errors.ts';
import type { BootImage, Piece } from './image.ts';
import {
  type BootInput,
  checkKernelFits,
  commandLinePiece,
  initrdPiece,
  notAKernel,
  truncated,
} from './input.ts';
import { LAYOUT, type MemoryRange } from './layout.ts';
import { longMode, protectedMode } from './processor-state.ts';

/** Offsets of the setup header in the file and in boot_params: the same. boot.rst "The Real-Mode Kernel Header". */
const HEADER = {
  setupSects: 0x1f1,
  syssize: 0x1f4,
  bootFlag: 0x1fe,
  jump: 0x200,
  magic: 0x202,
  version: 0x206,
  typeOfLoader: 0x210,
  loadflags: 0x211,
  ramdiskImage: 0x218,
  ramdiskSize: 0x21c,
  cmdLinePtr: 0x228,
  initrdAddrMax: 0x22c,
  xloadflags: 0x236,
  cmdlineSize: 0x238,
  prefAddress: 0x258,
  initSize: 0x260,
} as const;
/** Offsets in boot_params. Documentation/arch/x86/zero-page.rst. */
const PARAMETERS = { acpiRsdpAddr: 0x070, e820Entries: 0x1e8, e820Table: 0x2d0 } as const;
const PARAMETERS_SIZE = 4096;
const E820_ENTRY_SIZE = 20;

const HEADER_MAGIC = 0x5372_6448; // "HdrS"
const BOOT_FLAG = 0xaa55;
const SECTOR_SIZE = 512;
const LOADED_HIGH = 1 << 0;
const XLF_KERNEL_64 = 1 << 0;
/** "Undefined" boot loader type, for which there is no registered number. */
const LOADER_UNDEFINED = 0xff;
const ENTRY_64_OFFSET = 0x200;
const VERSION_MIN = 0x206;
const VERSION_WITH_PREFERRED_ADDRESS = 0x20a;
const VERSION_WITH_XLOADFLAGS = 0x20c;

/** Whether the file has a setup header at all. */
export function isLinux(kernel: Uint8Array): boolean {
  if (kernel.length < HEADER.version) return false;
  const view = viewOf(kernel);
  return (
    view.getUint16(HEADER.bootFlag, true) === BOOT_FLAG &&
    view.getUint32(HEADER.magic, true) === HEADER_MAGIC
  );
}

export function loadLinux(input: BootInput): BootImage {
  const header = parseHeader(input.kernel);
  const { setupSize, payload, version } = header;
  const view = header.view;
  const preferred =
    version >= VERSION_WITH_PREFERRED_ADDRESS
      ? Number(view.getBigUint64(HEADER.prefAddress, true))
      : LAYOUT.highMemoryStart;
  // Without init_size, protocol 2.09 and older, kernels unpack in place to a few times their size.
  const initSize =
    version >= VERSION_WITH_PREFERRED_ADDRESS
      ? view.getUint32(HEADER.initSize, true)
      : payload.length * 4;
  if (preferred < LAYOUT.highMemoryStart) throw notAKernel(input.kernel);
  // A relocatable kernel loaded lower would move itself up to the preferred address, so it goes there.
  const kernelEnd = preferred + Math.max(initSize, payload.length);
  checkKernelFits(kernelEnd, input.ramEnd);
  const addressMax = view.getUint32(HEADER.initrdAddrMax, true);
  const initrd = initrdPiece(input, { kernelEnd, addressMax });
  const commandLine = commandLinePiece(input.commandLine, view.getUint32(HEADER.cmdlineSize, true));
  const is64 =
    version >= VERSION_WITH_XLOADFLAGS &&
    (view.getUint16(HEADER.xloadflags, true) & XLF_KERNEL_64) !== 0;
  const parameters = bootParameters(input.kernel.subarray(0, setupSize), {
    initrd,
    memoryMap: input.memoryMap,
  });
  const { processor, pieces } = is64
    ? longMode({ rip: preferred + ENTRY_64_OFFSET, rsi: LAYOUT.parameters })
    : protectedMode({ rip: preferred, rsi: LAYOUT.parameters });
  return {
    format: is64 ? 'linux64' : 'linux32',
    processor,
    pieces: [
      ...pieces,
      { gpa: LAYOUT.parameters, bytes: parameters },
      commandLine,
      { gpa: preferred, bytes: payload },
      ...(initrd === undefined ? [] : [initrd]),
    ],
  };
}

interface Header {
  readonly view: DataView;
  readonly version: number;
  /** Bytes of boot sector and setup code before the kernel proper. */
  readonly setupSize: number;
  readonly payload: Uint8Array;
}

/** Checks everything that the loader relies on; the rest of the header goes to the kernel as it is. */
function parseHeader(kernel: Uint8Array): Header {
  const end = HEADER.initSize + 4;
  if (kernel.length < end) throw truncated('its header', end, kernel.length);
  const view = viewOf(kernel);
  const version = view.getUint16(HEADER.version, true);
  if (version < VERSION_MIN || (kernel[HEADER.loadflags]! & LOADED_HIGH) === 0) {
    const text = `${version >>> 8}.${(version & 0xff).toString().padStart(2, '0')}`;
    const message = `The kernel is too old: a zImage, or boot protocol ${text}; 2.06 is needed.`;
    throw new BootError('BOOT_UNSUPPORTED_KERNEL', message, {
      hint: 'Use Linux 2.6.22 or newer, built as bzImage.',
    });
  }
  const sectors = kernel[HEADER.setupSects] === 0 ? 4 : kernel[HEADER.setupSects]!;
  const setupSize = (sectors + 1) * SECTOR_SIZE;
  const payloadSize = view.getUint32(HEADER.syssize, true) * 16;
  // syssize counts paragraphs and is rounded up; signatures may follow the payload.
  if (kernel.length < setupSize + payloadSize - 15 || payloadSize === 0) {
    throw truncated('the kernel proper', setupSize + payloadSize, kernel.length);
  }
  return { view, version, setupSize, payload: kernel.subarray(setupSize, setupSize + payloadSize) };
}

/** The zero page: the setup header as in the file, and what only the loader knows. */
function bootParameters(
  setup: Uint8Array,
  facts: { initrd: Piece | undefined; memoryMap: readonly MemoryRange[] },
): Uint8Array {
  const bytes = new Uint8Array(PARAMETERS_SIZE);
  const view = viewOf(bytes);
  // The header ends where its jump instruction leads to; boot.rst, 64-bit boot protocol. It may not reach
  // into the memory map, whatever the file says.
  const headerEnd = Math.min(HEADER.magic + setup[HEADER.jump + 1]!, PARAMETERS.e820Table);
  bytes.set(setup.subarray(HEADER.setupSects, headerEnd), HEADER.setupSects);
  bytes[HEADER.typeOfLoader] = LOADER_UNDEFINED;
  view.setUint32(HEADER.cmdLinePtr, LAYOUT.commandLine, true);
  view.setUint32(HEADER.ramdiskImage, facts.initrd?.gpa ?? 0, true);
  view.setUint32(HEADER.ramdiskSize, facts.initrd?.bytes.length ?? 0, true);
  view.setBigUint64(PARAMETERS.acpiRsdpAddr, BigInt(LAYOUT.rsdp), true);
  bytes[PARAMETERS.e820Entries] = facts.memoryMap.length;
  for (const [index, range] of facts.memoryMap.entries()) {
    const at = PARAMETERS.e820Table + index * E820_ENTRY_SIZE;
    view.setBigUint64(at, BigInt(range.gpa), true);
    view.setBigUint64(at + 8, BigInt(range.sizeBytes), true);
    view.setUint32(at + 16, range.type, true);
  }
  return bytes;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
