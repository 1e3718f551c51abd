// The binary shapes that runner.c reads and writes, and where its memory lies; the interpreter's side uses the same.

export const CODE = 0x20_0000;
export const DATA = 0x40_0000;
export const STACK = 0x60_0000;
export const PAGE = 4096;
export const WINDOW = 128;
export const CODE_BYTES_MAX = 96;

/** Offsets in `struct test`. */
export const TEST = { code: 0, codeOffset: 96, codeLength: 100, gpr: 104, rflags: 232, fx: 240, memory: 752, size: 1520 } as const;
/** Offsets in `struct result`. */
export const RESULT = { vector: 0, error: 4, cr2: 8, rip: 16, gpr: 24, rflags: 152, fx: 160, memory: 672, size: 1440 } as const;
/** The parts of `struct memory`: where each lies in the address space, and its size. */
export const MEMORY_PARTS = [
  { address: DATA, bytes: WINDOW },
  { address: DATA + PAGE - WINDOW, bytes: 2 * WINDOW },
  { address: DATA + 2 * PAGE - WINDOW, bytes: WINDOW },
  { address: STACK + PAGE / 2 - WINDOW, bytes: 2 * WINDOW },
] as const;
export const MEMORY_BYTES = 6 * WINDOW;
/** Offsets in an FXSAVE image. SDM vol 1 §10.5.1. */
export const FX = { control: 0, status: 2, tag: 4, mxcsr: 24, mxcsrMask: 28, st: 32, xmm: 160 } as const;
