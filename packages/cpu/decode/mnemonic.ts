// Names of instructions that have several: by operand size, by address size, or where one encoding is special.
// The table of instructions keeps each under one name; the manual lists them in one section, too.

import type { Decoded } from './decoder.ts';

/** By operand size 16, 32, 64. */
const BY_SIZE: Readonly<Record<string, readonly [string, string, string]>> = {
  CBW: ['cbw', 'cwde', 'cdqe'],
  CWD: ['cwd', 'cdq', 'cqo'],
  PUSHF: ['pushf', 'pushfd', 'pushfq'],
  POPF: ['popf', 'popfd', 'popfq'],
  PUSHA: ['pusha', 'pushad', 'pushad'],
  POPA: ['popa', 'popad', 'popad'],
  IRET: ['iret', 'iretd', 'iretq'],
  MOVS: ['movsw', 'movsd', 'movsq'],
  CMPS: ['cmpsw', 'cmpsd', 'cmpsq'],
  STOS: ['stosw', 'stosd', 'stosq'],
  LODS: ['lodsw', 'lodsd', 'lodsq'],
  SCAS: ['scasw', 'scasd', 'scasq'],
  INS: ['insw', 'insd', 'insd'],
  OUTS: ['outsw', 'outsd', 'outsd'],
  MOVD: ['movd', 'movd', 'movq'],
  PINSRD: ['pinsrd', 'pinsrd', 'pinsrq'],
  PEXTRD: ['pextrd', 'pextrd', 'pextrq'],
  FXSAVE: ['fxsave', 'fxsave', 'fxsave64'],
  FXRSTOR: ['fxrstor', 'fxrstor', 'fxrstor64'],
  XSAVE: ['xsave', 'xsave', 'xsave64'],
  XSAVEC: ['xsavec', 'xsavec', 'xsavec64'],
  XSAVEOPT: ['xsaveopt', 'xsaveopt', 'xsaveopt64'],
  XRSTOR: ['xrstor', 'xrstor', 'xrstor64'],
  SYSRET: ['sysret', 'sysret', 'sysretq'],
  SYSEXIT: ['sysexit', 'sysexit', 'sysexitq'],
};

const bySize = (names: readonly [string, string, string], bits: number): string =>
  names[bits === 64 ? 2 : bits === 16 ? 0 : 1];

const UD_BY_OPCODE: Readonly<Record<number, string>> = { 11: 'ud2', 185: 'ud1', 255: 'ud0' };

/** The whole text of an instruction that is an idiom of its own, or undefined. */
export function idiom(d: Decoded): string | undefined {
  const { instruction, form } = d.candidate!.table;
  // XCHG eAX, eAX does nothing, not even clear the upper half of RAX; with REP it is PAUSE.
  if (instruction.name === 'XCHG' && form.encoding === '90+r' && d.rm === 0)
    return d.rep ? 'pause' : 'nop';
  const isEndbr = instruction.name === 'NOP' && d.opcode === 0x1e && d.rep && !d.isMemory;
  if (isEndbr && d.reg === 7 && (d.rm === 2 || d.rm === 3))
    return d.rm === 2 ? 'endbr64' : 'endbr32';
  if (instruction.name === 'UD' && !form.operands.length) return UD_BY_OPCODE[d.opcode]!;
  return undefined;
}

/** Comparison predicates as they appear in names: 0–7 of SSE, all of AVX. SDM vol 2A, CMPPD, table 3-3. */
const PREDICATES = (
  'eq lt le unord neq nlt nle ord eq_uq nge ngt false neq_oq ge gt true ' +
  'eq_os lt_oq le_oq unord_s neq_us nlt_uq nle_uq ord_s eq_us nge_uq ngt_uq false_os neq_os ge_oq gt_oq true_us'
).split(' ');
const COMPARISON = /^(V?CMP)([PS][SD])$/;

/** The name that stands for a comparison with its immediate, if there is one. */
export function comparison(d: Decoded): string | undefined {
  const { instruction, form } = d.candidate!.table;
  const [, name, suffix] = COMPARISON.exec(instruction.name) ?? [];
  if (!name || !form.unit) return undefined;
  const predicate = Number(d.immediate);
  if (predicate >= (name === 'CMP' ? 8 : 32)) return undefined;
  return `${name}${PREDICATES[predicate]!}${suffix}`.toLowerCase();
}

/** Mnemonic in lower case. */
export function mnemonic(d: Decoded): string {
  const { name } = d.candidate!.table.instruction;
  // 64-bit lengths are told by a suffix.
  if (d.hasRex && /PCMPESTR/.test(name) && /REX\.W |W1/.test(d.candidate!.table.form.encoding))
    return `${name.toLowerCase()}q`;
  const sized = BY_SIZE[name];
  if (sized) return bySize(sized, d.bits);
  if (name === 'JCXZ') return bySize(['jcxz', 'jecxz', 'jrcxz'], d.addressBits);
  if (name === 'UD') return UD_BY_OPCODE[d.opcode]!;
  // /6 of the shift groups is SHL's twin.
  if (name === 'SAL') return 'shl';
  return name.toLowerCase();
}

/** CALL and JMP through a far pointer in memory. */
export function isFarIndirect(d: Decoded): boolean {
  const { instruction, form } = d.candidate!.table;
  const isBranch = instruction.name === 'CALL' || instruction.name === 'JMP';
  return isBranch && form.operands[0]?.source === 'rmMemory';
}

/** Instructions whose memory operand is a word whatever the operand size. */
const WORD_IN_MEMORY = new Set(['SLDT', 'STR', 'SMSW', 'LSL', 'LAR']);

/** Size in bits of a general operand in memory. */
export function memoryBits(d: Decoded, bits: number): number {
  const { instruction, form } = d.candidate!.table;
  const isSegmentMove = form.operands.some((o) => o.source === 'segment');
  return isSegmentMove || WORD_IN_MEMORY.has(instruction.name) ? 16 : bits;
}

/** Size in bits of one element that a gather reads: its name ends in PS, PD, D or Q. */
export function vsibElementBits(d: Decoded): number {
  return /(PS|D)$/.test(d.candidate!.table.instruction.name.replace(/PD$/, 'Q')) ? 32 : 64;
}

const HAS_TWO_STACK_OPERANDS = /^(F(ADD|MUL|SUBR?|DIVR?)P?|FCMOV.*|FU?COMIP?)$/;

/** x87 arithmetic between ST(0) and ST(i) names both, the destination first. */
export function stackOperands(d: Decoded): string | undefined {
  const { instruction, form } = d.candidate!.table;
  const isOne = form.operands.length === 1 && form.operands[0]!.source === 'sti';
  if (!isOne || !HAS_TWO_STACK_OPERANDS.test(instruction.name)) return undefined;
  const st = `st${d.rm & 7}`;
  return d.opcode === 0xdc || d.opcode === 0xde ? `${st}, st0` : `st0, ${st}`;
}

const IS_STRING = /^(INS|OUTS|MOVS|CMPS|SCAS|LODS|STOS)B?$/;
const COMPARES = /^(CMPS|SCAS)/;

/** 'rep ', 'repe ', 'repne ' or nothing. */
export function repeatPrefix(d: Decoded): string {
  const { name } = d.candidate!.table.instruction;
  if (d.candidate!.prefix !== 'any' || !IS_STRING.test(name)) return '';
  if (d.repne) return 'repne ';
  return d.rep ? (COMPARES.test(name) ? 'repe ' : 'rep ') : '';
}
