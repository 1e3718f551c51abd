// The layout of one vCPU in shared memory, written once: every engine, the microcode, the snapshot and the monitor
// find a register here. Offsets are from the vCPU's base address; the TLBs follow the registers.

import type { ValueType } from '../wasm/opcodes.ts';

/** One field, or an array of equal elements. `width` is bytes in memory, `type` what it loads as. */
export interface Field {
  readonly name: string;
  readonly offset: number;
  readonly type: ValueType;
  readonly width: 1 | 2 | 4 | 8 | 16;
  readonly count: number;
  /** Bytes from one element to the next. */
  readonly stride: number;
}

let cursor = 0;

function field(
  name: string,
  type: ValueType,
  options: { count?: number; stride?: number } = {},
): Field {
  const width = type === 'v128' ? 16 : type === 'i64' || type === 'f64' ? 8 : 4;
  const stride = options.stride ?? width;
  const count = options.count ?? 1;
  cursor = Math.ceil(cursor / width) * width;
  const result: Field = { name, offset: cursor, type, width, count, stride };
  cursor += stride * count;
  return result;
}

/** Segment registers in the manual's encoding order, then the two system segments. */
export const SEGMENT = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5, ldtr: 6, tr: 7 } as const;
export type SegmentName = keyof typeof SEGMENT;

/** General registers in encoding order. */
export const GPR = {
  rax: 0, rcx: 1, rdx: 2, rbx: 3, rsp: 4, rbp: 5, rsi: 6, rdi: 7,
  r8: 8, r9: 9, r10: 10, r11: 11, r12: 12, r13: 13, r14: 14, r15: 15,
} as const; // biome-ignore format: one line per half reads as the encoding does

/** Entries of each TLB, a power of two. */
export const TLB_ENTRIES = 1024;
/** One entry: read tag i64, write tag i64, addend i32, physical page i32 (TLB_PAGE), execute tag i64. */
export const TLB_ENTRY = {
  size: 32,
  readTag: 0,
  writeTag: 8,
  addend: 16,
  page: 20,
  executeTag: 24,
} as const;
/** Of an entry's physical page: its number, whether the page is global, and whether it is part of a large one. The shifts bring a
 *  page table entry's bits there. */
export const TLB_PAGE = {
  number: 0xf_ffff,
  global: 0x8000_0000,
  globalShift: 31 - 8,
  large: 0x4000_0000,
  largeShift: 30 - 7,
} as const;
/**
 * A tag that is to match nothing is that of a page so far away: no address of the entry's pages matches it, nor does one of
 * their neighbours', whom translated code compares with it too (translator/passes/looks.ts).
 */
export const TLB_EMPTY_DISTANCE: number = (TLB_ENTRIES / 2) * 4096;
/**
 * TLBs by what an access may touch: supervisor with SMAP in force, user, supervisor without SMAP,
 * and one that is never filled, for modes in which every access must be looked at (alignment checks, data breakpoints).
 */
export const TLB_MODE = { supervisorSmap: 0, user: 1, supervisor: 2, checked: 3 } as const;
export const TLB_MODES = 4;

/** What happens to a fault besides its delivery: nothing, `run` ends instead (tests, comparisons with a host
 *  processor), or the host is told (traces). */
export const ON_FAULT = { deliver: 0, stop: 1, report: 2 } as const;

export const S = {
  gpr: field('gpr', 'i64', { count: 16 }),
  /** Always 0: stands in for an absent base, index or segment base. */
  zero: field('zero', 'i64'),
  rip: field('rip', 'i64'),
  /** rip of the running block minus its offset in the page: rip of a record is ripBase + its page offset. */
  ripBase: field('ripBase', 'i64'),

  // Arithmetic flags, each as the value it is computed from (lift/flags.ts).
  /** ZF = (flagZ == 0). */
  flagZ: field('flagZ', 'i64'),
  /** SF = bit 63; PF = even parity of the low byte. */
  flagSP: field('flagSP', 'i64'),
  /** OF = bit 63. */
  flagO: field('flagO', 'i64'),
  /** CF, 0 or 1. */
  flagC: field('flagC', 'i32'),
  /** AF = bit 4. */
  flagA: field('flagA', 'i32'),
  /** The bits of RFLAGS that are not arithmetic, in place; bit 1 is kept set, arithmetic bits are 0. */
  rflags: field('rflags', 'i32'),
  /** What translated code says of the arithmetic flags instead of computing them (microcode/flag-note.ts): 0, the fields
   *  above have them, or which operation gave them, and two values of it. Always 0 outside translated code. */
  flagsKind: field('flagsKind', 'i32'),
  flagsLeft: field('flagsLeft', 'i64'),
  flagsRight: field('flagsRight', 'i64'),

  segSelector: field('segSelector', 'i32', { count: 8 }),
  /** Bits 8–23 of the descriptor's high word, in place (type, S, DPL, P, AVL, L, D/B, G); 0 = unusable (null). */
  segAttributes: field('segAttributes', 'i32', { count: 8 }),
  /** Limit in bytes, unsigned, granularity applied. */
  segLimit: field('segLimit', 'i32', { count: 8 }),
  segBase: field('segBase', 'i64', { count: 8 }),
  gdtrBase: field('gdtrBase', 'i64'),
  idtrBase: field('idtrBase', 'i64'),
  gdtrLimit: field('gdtrLimit', 'i32'),
  idtrLimit: field('idtrLimit', 'i32'),
  /** Current privilege level, 0–3. */
  cpl: field('cpl', 'i32'),
  /** Code size of CS in bits: 16, 32 or 64. */
  codeBits: field('codeBits', 'i32'),
  /** Stack-pointer mask by SS.B and mode: 0xffff, 0xffffffff or all ones. */
  stackMask: field('stackMask', 'i64'),

  cr0: field('cr0', 'i64'),
  cr2: field('cr2', 'i64'),
  cr3: field('cr3', 'i64'),
  cr4: field('cr4', 'i64'),
  efer: field('efer', 'i64'),
  xcr0: field('xcr0', 'i64'),
  /** Bits that XCR0 can have on this model; bit 63, as in XCOMP_BV: XSAVEC and the compacted format exist. */
  xstate: field('xstate', 'i64'),
  dr: field('dr', 'i64', { count: 8 }),
  /** PAE page-directory-pointer entries, loaded by writes to CR3 (SDM vol 3A §4.4.1). */
  pdpte: field('pdpte', 'i64', { count: 4 }),

  msrStar: field('msrStar', 'i64'),
  msrLstar: field('msrLstar', 'i64'),
  msrCstar: field('msrCstar', 'i64'),
  msrSfmask: field('msrSfmask', 'i64'),
  msrKernelGsBase: field('msrKernelGsBase', 'i64'),
  msrSysenterCs: field('msrSysenterCs', 'i64'),
  msrSysenterEsp: field('msrSysenterEsp', 'i64'),
  msrSysenterEip: field('msrSysenterEip', 'i64'),
  msrTscAux: field('msrTscAux', 'i64'),
  msrPat: field('msrPat', 'i64'),
  msrApicBase: field('msrApicBase', 'i64'),
  msrMiscEnable: field('msrMiscEnable', 'i64'),
  msrDebugctl: field('msrDebugctl', 'i64'),
  /** Added to the time-stamp clock: IA32_TIME_STAMP_COUNTER writes and IA32_TSC_ADJUST. */
  tscOffset: field('tscOffset', 'i64'),
  msrTscAdjust: field('msrTscAdjust', 'i64'),
  msrSpecCtrl: field('msrSpecCtrl', 'i64'),
  msrMcgStatus: field('msrMcgStatus', 'i64'),
  /** IA32_MCi_CTL. */
  msrMcCtl: field('msrMcCtl', 'i64', { count: 4 }),
  msrMtrrDefType: field('msrMtrrDefType', 'i64'),
  msrMtrrFixed: field('msrMtrrFixed', 'i64', { count: 11 }),
  /** Variable-range MTRRs, base and mask in turn. */
  msrMtrrVariable: field('msrMtrrVariable', 'i64', { count: 16 }),

  /** YMM n: 32 bytes, of which XMM n is the low half. */
  xmm: field('xmm', 'v128', { count: 16, stride: 32 }),
  mxcsr: field('mxcsr', 'i32'),
  /** Exception flags met by the running SSE instruction, in MXCSR's places (microcode/sse). */
  sseFlags: field('sseFlags', 'i32'),

  /** x87 registers by physical number: 64-bit significand; MMX registers are the same bytes. */
  x87Significand: field('x87Significand', 'i64', { count: 8, stride: 16 }),
  x87Control: field('x87Control', 'i32'),
  /** Status word without TOP. */
  x87Status: field('x87Status', 'i32'),
  /** Physical number of ST(0). */
  x87Top: field('x87Top', 'i32'),
  /** Bit n set: physical register n is in use (FXSAVE's abridged tag word). */
  x87Tags: field('x87Tags', 'i32'),
  x87Opcode: field('x87Opcode', 'i32'),
  x87InstructionSelector: field('x87InstructionSelector', 'i32'),
  x87DataSelector: field('x87DataSelector', 'i32'),
  x87InstructionPointer: field('x87InstructionPointer', 'i64'),
  x87DataPointer: field('x87DataPointer', 'i64'),
  /** Exceptions, stack fault and C1 of the running x87 instruction, in the status word's places (microcode/x87). */
  x87Raised: field('x87Raised', 'i32'),
  /** Working numbers of the transcendental instructions: 128-bit significand, exponent, sign (microcode/x87/wide.ts). */
  x87Wide: field('x87Wide', 'i64', { count: 12, stride: 32 }),

  /** A fault that the running instruction met: 0, or FAULT_PENDING | vector (microcode/fault.ts). */
  fault: field('fault', 'i32'),
  faultCode: field('faultCode', 'i32'),
  /** Linear address of a page fault. */
  faultAddress: field('faultAddress', 'i64'),

  /** Class of the event being delivered (microcode/exception.ts), 0 outside delivery: for double faults and EXT bits. */
  delivering: field('delivering', 'i32'),
  /** rip of an instruction that may switch tasks: faults behind the switch belong to the new task. */
  instructionRip: field('instructionRip', 'i64'),
  /** Stack that a TSS gave for an inner privilege level, right after the call that read it. */
  innerSs: field('innerSs', 'i32'),
  innerRsp: field('innerRsp', 'i64'),
  /** Kinds of breakpoints that DR7 arms: 1 instruction, 2 data, 4 I/O (microcode/mode.ts). */
  breakpoints: field('breakpoints', 'i32'),

  /** Address (in memory) of the TLB in force for data accesses at the current privilege. */
  tlb: field('tlb', 'i32'),
  /** What the TLBs may hold, TLBS_USED bits (microcode/tlb.ts). Power-on memory is zero, which a TLB must not be: all are used then. */
  tlbsUsed: field('tlbsUsed', 'i32'),
  /** Where the TLBs may hold parts of large pages, and of global ones among these: a bit for each GiB, modulo 64. */
  tlbsLarge: field('tlbsLarge', 'i64'),
  tlbsLargeGlobal: field('tlbsLargeGlobal', 'i64'),
  /** Address of the TLB for implicit supervisor accesses (descriptor tables, TSS). */
  tlbSystem: field('tlbSystem', 'i32'),
  /** Address of the TLB whose execute tags are in force. */
  tlbFetch: field('tlbFetch', 'i32'),
  /** Bytes of guest RAM, from guest-physical 0; constant while the machine lives. */
  ramBytes: field('ramBytes', 'i64'),
  /** Linear address of the page that code runs from, or all ones; and its guest-physical address. */
  codePageLinear: field('codePageLinear', 'i64'),
  codePagePhysical: field('codePagePhysical', 'i64'),
  /** 1 when RFLAGS.TF was set as the running block began: a trap follows its one instruction. */
  stepping: field('stepping', 'i32'),
  /** 1: the next block is one instruction long, whatever the mode says. */
  runOne: field('runOne', 'i32'),
  /** 1 between the delivery of an NMI and the IRET that ends its handler. */
  nmiBlocked: field('nmiBlocked', 'i32'),
  /** 1: MWAIT was told to wake on interrupts even when they are masked. */
  mwaitWakes: field('mwaitWakes', 'i32'),
  /** Decoding mode of the next block (decode/mode.ts). */
  mode: field('mode', 'i32'),
  /** Address of the record that runs, and of the first record of its block. */
  record: field('record', 'i32'),
  blockStart: field('blockStart', 'i32'),
  /** Instructions retired since reset, up to date between blocks. */
  instructionCount: field('instructionCount', 'i64'),
  /** 1 while the host asks where an address leads: the page walk leaves accessed and dirty bits alone. */
  walkSilently: field('walkSilently', 'i32'),
  /** 1 after decoded code was dropped by a write: translated code must not go on with what it was made from. */
  codeChanged: field('codeChanged', 'i32'),
  /** Times that a block is entered before it is handed to the translator; never, when there is none. */
  hotThreshold: field('hotThreshold', 'i32'),
  /** The same for asking whether an earlier machine's translation is kept; another number. */
  warmThreshold: field('warmThreshold', 'i32'),
  /** Counts what makes cached translations of code addresses useless (microcode/jump-cache.ts). */
  generation: field('generation', 'i32'),
  /** Generation, privilege and decoding mode in one word: what a jump-cache entry must have been filled under; -1: no entry counts. */
  context: field('context', 'i32'),
  /** When the slice of guest code under way should end, ns of the host's clock; 0: none is under way (smp/ticker.ts). */
  sliceEnd: field('sliceEnd', 'i64'),
  /** Instructions that `run` may still retire. */
  budget: field('budget', 'i32'),
  /** 1: what `instructionCount` counts depends on the guest alone (microcode/exact.ts). */
  exact: field('exact', 'i32'),
  /** With `exact`: the count at which the one instruction of the running block began. */
  aloneAt: field('aloneAt', 'i64'),

  /** 1 while the running instruction has stopped all other vCPUs (interpreter/locked.ts). */
  stopsOthers: field('stopsOthers', 'i32'),
  /** PAUSE instructions so far. */
  pauses: field('pauses', 'i32'),

  /** Why the processor must look up before the next block, a set of EVENT bits; written by other threads too. */
  events: field('events', 'i32'),
  /** Activity state: 0 running, 1 halted, 2 waiting for SIPI, 3 shut down. */
  activity: field('activity', 'i32'),
  /** 1: interrupts are held back for one instruction after STI; 2: also debug traps, after MOV SS or POP SS. */
  interruptShadow: field('interruptShadow', 'i32'),
  /**
   * Bit 0: x87 and MMX, bit 1: SSE instructions must look at CR0/CR4 because one would fault (whoever writes those
   * registers sets these two); bit 2: an unmasked x87 exception waits (microcode/x87 keeps it); bit 3: `exact`, and
   * the exceptions of x87 instructions go out by FERR#.
   */
  fpuTrap: field('fpuTrap', 'i32'),
  /** Why VEX-encoded instructions would fault, VECTOR_TRAP bits (microcode/avx/check.ts); kept like bits 0 and 1 of fpuTrap. */
  vectorTrap: field('vectorTrap', 'i32'),
  /** Virtual-8086 or real mode, for checks in microcode: 0 protected, 1 real, 2 virtual-8086. */
  legacyMode: field('legacyMode', 'i32'),
  /** Debug conditions met by the running instruction, to be reported after it (DR6 bits). */
  debugPending: field('debugPending', 'i32'),
  /** Monitored line of MONITOR, or all ones. */
  monitorAddress: field('monitorAddress', 'i64'),
  /** Host's choice, one of ON_FAULT. */
  stopOnFault: field('stopOnFault', 'i32'),
  /** Scratch for microcode that returns more than one value; meaningful only right after the call. */
  result: field('result', 'i64', { count: 8 }),
  scratch: field('scratch', 'v128', { count: 8 }),
  /** What translated code reads or writes instead of memory that it cannot reach itself (translator/memory.ts). */
  aside: field('aside', 'v128'),
  /** Entries written to the jump cache, and faults met by translated code: both since power-on. */
  jumpFills: field('jumpFills', 'i64'),
  translatedFaults: field('translatedFaults', 'i64'),
  /** `generation` when such things last happened to users' addresses, and to the supervisor's. */
  userGeneration: field('userGeneration', 'i32'),
  supervisorGeneration: field('supervisorGeneration', 'i32'),
  /** 1: some of the supervisor's entries in the jump cache are for pages that are not global. */
  jumpsNotGlobal: field('jumpsNotGlobal', 'i32'),
  /** Not 0 when instructions of the page that code runs from are run one by one: it is near non-canonical addresses. */
  codePageAlone: field('codePageAlone', 'i32'),
  /** Not 0 when the page that code runs from is global; the same of the page that was last translated for a fetch. */
  codePageGlobal: field('codePageGlobal', 'i32'),
  fetchGlobal: field('fetchGlobal', 'i32'),
  /** A bit for each of 4096 pages, by the low bits of their number: the jump cache may know code there. */
  jumpPages: field('jumpPages', 'i32', { count: 128 }),
} as const;

/** Sign and exponent of x87 register n, 16 bits, in the upper half of the register's 16 bytes. */
export const X87_SIGN_EXPONENT: Field = {
  name: 'x87SignExponent', offset: S.x87Significand.offset + 8, type: 'i32', width: 4, count: 8, stride: 16,
}; // biome-ignore format: a field, as above

/** Bits 255:128 of YMM n. */
export const YMM_HIGH: Field = {
  name: 'ymmHigh', offset: S.xmm.offset + 16, type: 'v128', width: 16, count: 16, stride: 32,
}; // biome-ignore format: a field, as above

/** Bits of `S.events`. */
export const EVENT = {
  /** INTR is asserted, or the local APIC has a vector to deliver. */
  interrupt: 1,
  nmi: 2,
  smi: 4,
  init: 8,
  sipi: 16,
  /** Leave `run`: the host wants something. */
  exit: 32,
  /** Single step or a debug trap is to be delivered. */
  trap: 64,
  /** The x87 error line (FERR#) changed with CR0.NE clear. */
  ferr: 128,
  /** Another vCPU wants this one to wait between two blocks (smp/world.ts). */
  park: 256,
  /** The next instruction is to run, or has run, while all other vCPUs wait (interpreter/locked.ts). */
  alone: 512,
  /** The posted-interrupt area has something (apic/posted-interrupts.ts). */
  posted: 1024,
} as const;

/** Registers end here; TLBs begin. */
export const TLB_OFFSET: number = Math.ceil(cursor / 4096) * 4096;
export const TLB_BYTES: number = TLB_ENTRIES * TLB_ENTRY.size;
/** Entries of the jump cache, a power of two: where translated code goes on for an address, behind the TLBs. */
export const JUMP_CACHE_ENTRIES = 16384;
/** One entry: rip i64, S.context i32, slot of the region in the table i32. */
export const JUMP_CACHE_ENTRY = { size: 16, rip: 0, context: 8, entryPoint: 12 } as const;
export const JUMP_CACHE_OFFSET: number = TLB_OFFSET + TLB_MODES * TLB_BYTES;
export const JUMP_CACHE_BYTES: number = JUMP_CACHE_ENTRIES * JUMP_CACHE_ENTRY.size;
/** Bytes of one vCPU: registers, TLBs and jump cache. */
export const VCPU_BYTES: number = JUMP_CACHE_OFFSET + JUMP_CACHE_BYTES;

/** Offset of element `index` of a field. */
export function at(f: Field, index: number): number {
  return f.offset + index * f.stride;
}
