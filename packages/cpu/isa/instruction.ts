// The language of the instruction table. An instruction is one entry: encodings as the manual prints them, operands,
// flags, exceptions, manual section and meaning. Decoder, disassembler, both engines and the coverage page derive from it.
//
// Encoding text (SDM vol 2A §3.1.1.1): 'F3 0F 10 /r', '80 /0 ib', '50+r', '0F 01 D0' (fixed ModRM byte), 'D8 C0+i'.
// A first word NP, 66, F3 or F2 is a mandatory prefix; 'REX.W' and 'REX.W0' bind the form to that bit of REX.
// 'VEX.256.66.0F38.W0 16 /r': vector length 128, 256, LZ (must be 0) or LIG (ignored), mandatory prefix if any, map,
// W0, W1 or WIG (ignored; so is W when it is left out and the operands' size follows it).
// Immediates need not be written: operands say them.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';

/** Where an operand comes from. */
export type OperandSource =
  | 'rm' // ModRM.rm: general register or memory
  | 'rmRegister' // ModRM.rm, register only
  | 'rmMemory' // ModRM.rm, memory only
  | 'reg' // ModRM.reg: general register
  | 'opcode' // low three bits of the opcode: general register
  | 'fixed' // a named register
  | 'immediate' // zero-extended, or the full width
  | 'immediateSigned' // sign-extended to the operand size
  | 'relative' // branch displacement, sign-extended
  | 'far' // pointer in the instruction: selector and offset
  | 'moffs' // memory at an address in the instruction
  | 'one' // the constant 1 of the shift forms
  | 'segment' // ModRM.reg: segment register
  | 'control' // ModRM.reg: control register
  | 'debug' // ModRM.reg: debug register
  | 'xmm' // ModRM.reg: XMM register
  | 'xmmRm' // ModRM.rm: XMM register or memory
  | 'xmmRmRegister' // ModRM.rm: XMM register
  | 'vvvv' // VEX.vvvv: general register
  | 'xmmVvvv' // VEX.vvvv: XMM or YMM register
  | 'xmmIs4' // bits 7–4 of the last byte: XMM or YMM register
  | 'vsib' // ModRM.rm: memory with an XMM or YMM register as index
  | 'mmx' // ModRM.reg: MMX register
  | 'mmxRm' // ModRM.rm: MMX register or memory
  | 'mmxRmRegister' // ModRM.rm: MMX register
  | 'st0' // x87 top of stack
  | 'sti'; // x87 ST(i), i in ModRM.rm

/** b 8, w 16, d 32, q 64, t 80, x 128, qq 256 bits; v 16/32/64 by operand size; z 16/32/32; y 32/32/64; n: no size of its own. */
export type OperandSize = 'b' | 'w' | 'd' | 'q' | 't' | 'x' | 'qq' | 'v' | 'z' | 'y' | 'n';

export interface OperandSpec {
  readonly source: OperandSource;
  readonly size: OperandSize;
  /** For 'fixed': register number in encoding order, or 16 + n for a segment register. */
  readonly register?: number;
}

const spec = (source: OperandSource, size: OperandSize, register?: number): OperandSpec =>
  register === undefined ? { source, size } : { source, size, register };

export const Eb: OperandSpec = spec('rm', 'b');
export const Ew: OperandSpec = spec('rm', 'w');
export const Ed: OperandSpec = spec('rm', 'd');
export const Eq: OperandSpec = spec('rm', 'q');
export const Ev: OperandSpec = spec('rm', 'v');
export const Ey: OperandSpec = spec('rm', 'y');
export const Rd: OperandSpec = spec('rmRegister', 'd');
export const Rq: OperandSpec = spec('rmRegister', 'q');
export const Ry: OperandSpec = spec('rmRegister', 'y');
export const Rv: OperandSpec = spec('rmRegister', 'v');
export const Mb: OperandSpec = spec('rmMemory', 'b');
export const Mw: OperandSpec = spec('rmMemory', 'w');
export const Md: OperandSpec = spec('rmMemory', 'd');
export const Mq: OperandSpec = spec('rmMemory', 'q');
export const Mt: OperandSpec = spec('rmMemory', 't');
export const Mx: OperandSpec = spec('rmMemory', 'x');
export const Mv: OperandSpec = spec('rmMemory', 'v');
export const My: OperandSpec = spec('rmMemory', 'y');
/** Memory whose size the meaning decides (far pointers, FXSAVE, LGDT). */
export const M: OperandSpec = spec('rmMemory', 'n');
export const Gb: OperandSpec = spec('reg', 'b');
export const Gw: OperandSpec = spec('reg', 'w');
export const Gd: OperandSpec = spec('reg', 'd');
export const Gq: OperandSpec = spec('reg', 'q');
export const Gv: OperandSpec = spec('reg', 'v');
export const Gy: OperandSpec = spec('reg', 'y');
export const Gz: OperandSpec = spec('reg', 'z');
export const Zb: OperandSpec = spec('opcode', 'b');
export const Zv: OperandSpec = spec('opcode', 'v');
export const Zy: OperandSpec = spec('opcode', 'y');
export const Ib: OperandSpec = spec('immediate', 'b');
export const Iw: OperandSpec = spec('immediate', 'w');
/** A byte sign-extended to the operand size. */
export const Ibs: OperandSpec = spec('immediateSigned', 'b');
/** 16 or 32 bits, sign-extended to 64 when the operand size is 64. */
export const Iz: OperandSpec = spec('immediateSigned', 'z');
/** The full operand size, 64 bits too (MOV only). */
export const Iv: OperandSpec = spec('immediate', 'v');
export const Jb: OperandSpec = spec('relative', 'b');
export const Jz: OperandSpec = spec('relative', 'z');
export const Ap: OperandSpec = spec('far', 'n');
export const Ob: OperandSpec = spec('moffs', 'b');
export const Ov: OperandSpec = spec('moffs', 'v');
export const ONE: OperandSpec = spec('one', 'b');
export const Sw: OperandSpec = spec('segment', 'w');
export const Cy: OperandSpec = spec('control', 'n');
export const Dy: OperandSpec = spec('debug', 'n');
export const AL: OperandSpec = spec('fixed', 'b', 0);
export const CL: OperandSpec = spec('fixed', 'b', 1);
export const AX: OperandSpec = spec('fixed', 'w', 0);
export const DX: OperandSpec = spec('fixed', 'w', 2);
export const EAX: OperandSpec = spec('fixed', 'd', 0);
/** AX, EAX or RAX by operand size. */
export const rAX: OperandSpec = spec('fixed', 'v', 0);
export const ES: OperandSpec = spec('fixed', 'w', 16);
export const CS: OperandSpec = spec('fixed', 'w', 17);
export const SS: OperandSpec = spec('fixed', 'w', 18);
export const DS: OperandSpec = spec('fixed', 'w', 19);
export const FS: OperandSpec = spec('fixed', 'w', 20);
export const GS: OperandSpec = spec('fixed', 'w', 21);
/** XMM operands: register number side, register-or-memory side with its memory size, register only. */
export const Vx: OperandSpec = spec('xmm', 'x');
export const Vq: OperandSpec = spec('xmm', 'q');
export const Vd: OperandSpec = spec('xmm', 'd');
export const Wx: OperandSpec = spec('xmmRm', 'x');
export const Wq: OperandSpec = spec('xmmRm', 'q');
export const Wd: OperandSpec = spec('xmmRm', 'd');
export const Ww: OperandSpec = spec('xmmRm', 'w');
export const Wb: OperandSpec = spec('xmmRm', 'b');
export const Ux: OperandSpec = spec('xmmRmRegister', 'x');
export const Uq: OperandSpec = spec('xmmRmRegister', 'q');
/** Operands of VEX forms. SDM vol 2D §A.2.1: B and H in VEX.vvvv, L in an immediate; qq is 256 bits. */
export const Bd: OperandSpec = spec('vvvv', 'd');
export const Bq: OperandSpec = spec('vvvv', 'q');
export const By: OperandSpec = spec('vvvv', 'y');
export const Hx: OperandSpec = spec('xmmVvvv', 'x');
export const Hq: OperandSpec = spec('xmmVvvv', 'q');
export const Hd: OperandSpec = spec('xmmVvvv', 'd');
export const Lx: OperandSpec = spec('xmmIs4', 'x');
export const Vqq: OperandSpec = spec('xmm', 'qq');
export const Hqq: OperandSpec = spec('xmmVvvv', 'qq');
export const Wqq: OperandSpec = spec('xmmRm', 'qq');
export const Uqq: OperandSpec = spec('xmmRmRegister', 'qq');
export const Lqq: OperandSpec = spec('xmmIs4', 'qq');
export const Mqq: OperandSpec = spec('rmMemory', 'qq');
/** Memory at indices in a vector register: the size is that of the index register. */
export const VMx: OperandSpec = spec('vsib', 'x');
export const VMqq: OperandSpec = spec('vsib', 'qq');
export const Pq: OperandSpec = spec('mmx', 'q');
export const Pd: OperandSpec = spec('mmx', 'd');
export const Qq: OperandSpec = spec('mmxRm', 'q');
export const Qd: OperandSpec = spec('mmxRm', 'd');
export const Nq: OperandSpec = spec('mmxRmRegister', 'q');
export const ST0: OperandSpec = spec('st0', 't');
export const STi: OperandSpec = spec('sti', 't');

/** x87 (or MMX), SSE, AVX; 'vex': VEX-encoded without vector registers, #UD in real and virtual-8086 mode. */
export type Unit = 'x87' | 'mmx' | 'sse' | 'avx' | 'vex';

/** What is special about a form. */
export interface FormOptions {
  /** LOCK is allowed when the destination is memory; without this it raises #UD. */
  readonly lock?: boolean;
  /** In 64-bit mode: operand size is 64 by default (16 with a 66 prefix), or always 64. */
  readonly size64?: 'default' | 'always';
  /** The operand size matters although no operand has it (PUSHA, IRET, string instructions). */
  readonly sized?: boolean;
  /** Raises #UD outside, or inside, 64-bit mode. */
  readonly mode?: '64' | 'legacy';
  /** Ends the decoded block: the next instruction is looked up anew (serialising, changes mode or mapping). */
  readonly ends?: boolean;
  /** Holds interrupts back until the instruction behind it has run. Such a form ends its block. */
  readonly shadows?: boolean;
  /** Emitted inside the interpreter's loop instead of as a function. For the most frequent forms only. */
  readonly hot?: boolean;
  /** Needs a unit that may be off or absent; the handler then begins with the check for #NM and #UD. */
  readonly unit?: Unit;
  /** On processors without its feature the mandatory prefix is ignored, and another form has the bytes (TZCNT, LZCNT). */
  readonly elseIgnored?: boolean;
}

export interface Form extends FormOptions {
  readonly encoding: string;
  readonly operands: readonly OperandSpec[];
}

export function form(encoding: string, ...rest: (OperandSpec | FormOptions)[]): Form {
  const operands = rest.filter((r): r is OperandSpec => 'source' in r);
  const options = rest.filter((r): r is FormOptions => !('source' in r));
  return Object.assign({ encoding, operands }, ...options);
}

export const LOCKABLE: FormOptions = { lock: true };
export const HOT: FormOptions = { hot: true };
export const DEFAULT64: FormOptions = { size64: 'default' };
export const ALWAYS64: FormOptions = { size64: 'always' };
export const ONLY64: FormOptions = { mode: '64' };
export const NO64: FormOptions = { mode: 'legacy' };
export const SIZED: FormOptions = { sized: true };
export const ENDS: FormOptions = { ends: true };
export const X87: FormOptions = { unit: 'x87' };
export const MMX: FormOptions = { unit: 'mmx' };
export const SSE: FormOptions = { unit: 'sse' };
export const AVX: FormOptions = { unit: 'avx' };
export const VEX: FormOptions = { unit: 'vex' };
export const ELSE_IGNORED: FormOptions = { elseIgnored: true };

/** An operand as a meaning sees it; which engine runs it and whether its register is known is not visible. */
export interface LiftOperand {
  /** Width in bits of what read() gives and write() takes. */
  readonly bits: number;
  readonly isMemory: boolean;
  /**
   * i32 (zero-extended) up to 32 bits, i64 for 64, v128 for 128; of 256 bits the low half, see readHalf.
   * An immediate is extended to the operand size.
   * For xmmRm of 32 or 64 bits: the low lane of the register or the memory operand, as i32 or i64.
   * A memory operand whose access is 'rw' is read with write intent.
   */
  read(): Value;
  /** A 32-bit write to a general register clears its upper half; 8 and 16 bits keep the rest. Memory is written
   *  before any register or flag: it may fault or, when locked, ask for a retry. XMM writes of 32 or 64 bits keep the rest. */
  write(value: Value): void;
  /** Bits 127:0 (half 0) or 255:128 (half 1) of a vector register or of 256 bits in memory. */
  readHalf(half: 0 | 1): Value;
  /** Writes half of a vector register. */
  writeHalf(half: 0 | 1, value: Value): void;
  /** Linear address of a memory operand after segment checks for that many bytes (default: the operand's). */
  linear(bytes?: number, access?: 'read' | 'write'): Value;
  /** Offset part of the address, i64, wrapped to the address size (LEA). */
  effective(): Value;
  /** Linear address of the element of a vsib operand that has this index (i64), after segment checks. */
  element(index: Value, bytes: number): Value;
  /** A register operand's byte offset in the vCPU's state, i32; for vsib that of the index register. */
  stateOffset(): Value;
  /** For segment, control and debug registers and ST(i): the number, i32. */
  number(): Value;
}

/** What surrounds an instruction while it is lifted. */
export interface InstructionContext {
  /** Operand size in bits of this variant: 8, 16, 32 or 64; 0 when the form has none. */
  readonly bits: number;
  /** This variant has a LOCK prefix; where one processor has the memory for itself, no variant says so. */
  readonly locked: boolean;
  /** This variant runs in 64-bit mode (or in all others). Asking makes the engine keep two variants. */
  readonly mode64: boolean;
  /** The decoding mode is known to be `flat32`. */
  readonly flat: boolean;
  /** Address size in bits, i32: 16, 32 or 64. */
  addressBits(): Value;
  /** 1 if the prefix is there (i32). */
  prefix(name: 'rep' | 'repne' | 'lock'): Value;
  /** Segment of the memory operand or of DS:rSI after overrides, 0–5 (i32), and its base (i64). */
  segment(): Value;
  segmentBase(): Value;
  /** rip of this instruction and of the one behind it, i64. */
  rip(): Value;
  nextRip(): Value;
  /** The x87 instruction's opcode as FOP has it: low three bits of the first byte, ModRM byte (i32). */
  x87Opcode(): Value;
  /** Whether a target has to be looked at before state changes: `jump` would fault for it. */
  mayFaultAt(target: Value): boolean;
  /** Transfers control within the code segment; the target is truncated to the operand size by the caller. */
  jump(target: Value): void;
  /** Runs the same instruction again (a REP iteration that lets interrupts in). */
  again(): void;
}

export type FlagLetters = string;

export interface InstructionSpec {
  readonly name: string;
  /** Section of the manual: 'SDM vol 2A, ADD'. */
  readonly manual: string;
  readonly forms: readonly Form[];
  /** How operands are accessed, in order; default: the first 'rw', the others 'r'. */
  readonly access?: readonly ('r' | 'w' | 'rw' | 'none')[];
  /** Letters of O S Z A P C (and D I): read, written as the result says, left undefined. */
  readonly flags?: {
    readonly reads?: FlagLetters;
    readonly writes?: FlagLetters;
    readonly undefined?: FlagLetters;
  };
  /** Exceptions beyond those of every memory access, for the coverage page: '#DE', '#GP(0)'. */
  readonly exceptions?: string;
  /** CPUID feature that the instruction belongs to, as in model/features.ts: 'SSE4.1'; several with +: 'AES + AVX'. */
  readonly feature?: string;
  readonly lift: (l: Lift, i: InstructionContext, ...operands: LiftOperand[]) => void;
}

export interface Instruction extends InstructionSpec {
  readonly supported: boolean;
}

export function instruction(spec: InstructionSpec): Instruction {
  return { ...spec, supported: true };
}

/** An instruction that we know and do not have: it decodes, disassembles and raises #UD. */
export function unsupported(name: string, manual: string, ...forms: Form[]): Instruction {
  return { name, manual, forms, supported: false, access: [], lift: (l) => l.raise(6) };
}

/** The features that a processor needs to have an instruction, by the manual's names. */
export function featuresOf({ feature }: InstructionSpec): readonly string[] {
  return feature === undefined ? [] : feature.split(' + ');
}

/** Several instructions of one shape, for example the sixteen SETcc. */
export function family<T>(
  members: readonly T[],
  make: (member: T) => InstructionSpec,
): Instruction[] {
  return members.map((member) => instruction(make(member)));
}
