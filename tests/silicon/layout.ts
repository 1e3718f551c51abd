// What a case looks like in memory, written once: the shapes that runner.c reads and writes, where its pages lie, and
// the segments that both processors have. native.ts makes runner.c's header from here.

export const CODE = 0x20_0000;
export const DATA = 0x40_0000;
export const STACK = 0x60_0000;
export const PAGE = 4096;
/** Pages that exist; everything around them is unmapped. */
export const PAGES: readonly { readonly address: number; readonly isCode: boolean }[] = [
  { address: CODE, isCode: true },
  { address: CODE + PAGE, isCode: true },
  { address: DATA, isCode: false },
  { address: DATA + PAGE, isCode: false },
  { address: STACK, isCode: false },
];
/** The parts of the data pages that a case sets and compares; the rest is zero before every case. */
export interface MemoryPart {
  readonly address: number;
  readonly bytes: number;
}
export const MEMORY_PARTS: readonly MemoryPart[] = [
  { address: DATA, bytes: 640 },
  { address: DATA + PAGE - 128, bytes: 256 },
  { address: DATA + 2 * PAGE - 128, bytes: 128 },
  { address: STACK + PAGE / 2 - 128, bytes: 256 },
];
const bytesOf = (parts: readonly MemoryPart[]) => parts.reduce((sum, p) => sum + p.bytes, 0);
export const MEMORY_BYTES: number = bytesOf(MEMORY_PARTS);
export const CODE_BYTES_MAX = 96;
const FX_BYTES = 512;
/** Bits 255:128 of the sixteen YMM registers. */
const YMM_BYTES = 256;

/** Gives each member its place; sizes in bytes, all multiples of 4 with 8-byte members at multiples of 8. */
function struct<K extends string>(
  members: Readonly<Record<K, number>>,
): Readonly<Record<K | 'size', number>> {
  let offset = 0;
  const places: Record<string, number> = {};
  for (const [name, bytes] of Object.entries<number>(members)) {
    places[name] = offset;
    offset += bytes;
  }
  return { ...(places as Record<K, number>), size: offset };
}
/** What a program begins with and ends with. `selectors`: ES, CS, SS, DS, FS, GS as words. */
const STATE = {
  rip: 8,
  rflags: 8,
  gpr: 128,
  selectors: 16,
  fsBase: 8,
  gsBase: 8,
  fx: FX_BYTES,
  ymm: YMM_BYTES,
  memory: MEMORY_BYTES,
} as const;
/** One case; the bases count where a selector is null. */
export const TEST = struct({ code: CODE_BYTES_MAX, codeOffset: 4, codeLength: 4, ...STATE });
/** What it led to. `cr2` and `error` are those of the exception that ended it. */
export const RESULT = struct({ vector: 4, error: 4, cr2: 8, ...STATE });
/** The same shapes with other parts of memory at their end, for whole regions of code (tests/fuzz). */
export interface Layout {
  readonly parts: readonly MemoryPart[];
  readonly memoryBytes: number;
  readonly testBytes: number;
  readonly resultBytes: number;
}
export function layoutOf(parts: readonly MemoryPart[]): Layout {
  const memoryBytes = bytesOf(parts);
  return {
    parts,
    memoryBytes,
    testBytes: TEST.memory + memoryBytes,
    resultBytes: RESULT.memory + memoryBytes,
  };
}
export const LAYOUT: Layout = layoutOf(MEMORY_PARTS);
/** Offsets in an FXSAVE image. SDM vol 1 §10.5.1. */
export const FX = {
  control: 0,
  status: 2,
  tag: 4,
  mxcsr: 24,
  mxcsrMask: 28,
  st: 32,
  xmm: 160,
} as const;
/** Value of `vector` when a case did not end by itself. */
export const TIMED_OUT = 0xff;

/** A segment descriptor as modify_ldt takes it. `kind`: 0 data, 1 expand-down data, 2 code. */
export interface LdtSegment {
  readonly base: number;
  readonly limit: number;
  readonly kind: 0 | 1 | 2;
  readonly isBig?: boolean;
  readonly inPages?: boolean;
  /** Data without write, code without read access. */
  readonly isRestricted?: boolean;
  readonly isAbsent?: boolean;
  /** The bit that is software's. */
  readonly isAvailable?: boolean;
  /** Came after the cases were recorded: only programs of tests/fuzz load it. */
  readonly isForPrograms?: boolean;
}
const FLAT = { base: 0, limit: 0xf_ffff, isBig: true, inPages: true } as const;

/** The LDT of both sides. Bases of 16-bit segments lie so that their 64 KiB hold the pages they are for. */
export const LDT = {
  code16: { base: CODE, limit: 0xffff, kind: 2 },
  data16: { base: DATA - 0x4000, limit: 0xffff, kind: 0 },
  stack16: { base: STACK - 0x4000, limit: 0xffff, kind: 0 },
  code32: { ...FLAT, base: 0x10_0000, kind: 2 },
  data32: { base: DATA, limit: 2 * PAGE - 17, isBig: true, kind: 0 },
  down32: { base: DATA - 0x1_0000, limit: 0x1_0000 + PAGE - 40, isBig: true, kind: 1 },
  down16: { base: STACK + PAGE - 0x1_0000, limit: 0xf7c0, kind: 1 },
  readOnly: { ...FLAT, base: DATA - 0x1000, kind: 0, isRestricted: true },
  executeOnly: { ...FLAT, kind: 2, isRestricted: true },
  absent: { ...FLAT, kind: 0, isAbsent: true },
  wrapping: { ...FLAT, base: DATA + 0x2_0000, kind: 0 },
  available: { ...FLAT, kind: 0, isAvailable: true },
  // Nearly flat: what these lack, programs notice only now and then.
  limited: { ...FLAT, limit: STACK >> 12, kind: 0, isForPrograms: true },
  down: { ...FLAT, limit: (DATA - PAGE) >> 12, kind: 1, isForPrograms: true },
  shifted: { ...FLAT, base: 0x40, kind: 0, isForPrograms: true },
  readOnlyFlat: { ...FLAT, kind: 0, isRestricted: true, isForPrograms: true },
} as const satisfies Readonly<Record<string, LdtSegment>>;
export const LDT_SEGMENTS: readonly LdtSegment[] = Object.values(LDT);

/** Selector of an LDT segment, or of one that Linux keeps in its GDT for user programs (asm/segment.h). */
export function selector(name: keyof typeof LDT | 'code32Flat' | 'data32Flat' | 'code64'): number {
  if (name === 'code32Flat') return 0x23;
  if (name === 'data32Flat') return 0x2b;
  if (name === 'code64') return 0x33;
  return (Object.keys(LDT).indexOf(name) << 3) | 7;
}
