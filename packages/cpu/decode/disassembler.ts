// Decoded instructions as text, in Intel's syntax, from the same table that runs them.

import { operandBits } from '../interpreter/operands.ts';
import type { OperandSpec } from '../isa/instruction.ts';
import { type Decoded, decodeInstruction, INSTRUCTION_LENGTH_MAX } from './decoder.ts';
import {
  comparison,
  idiom,
  isFarIndirect,
  memoryBits,
  mnemonic,
  repeatPrefix,
  stackOperands,
  vsibElementBits,
} from './mnemonic.ts';

const LOW = ['a', 'c', 'd', 'b'] as const;
const HIGH = ['sp', 'bp', 'si', 'di'] as const;
const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;
const SIZE_NAMES: Readonly<Record<number, string>> = {
  8: 'byte',
  16: 'word',
  32: 'dword',
  64: 'qword',
  80: 'tbyte',
  128: 'xmmword',
  256: 'ymmword',
};

/** Name of a general register of that width. */
export function generalRegisterName(number: number, bits: number, hasRex: boolean): string {
  if (number >= 8)
    return `r${number}${bits === 64 ? '' : bits === 32 ? 'd' : bits === 16 ? 'w' : 'b'}`;
  if (bits === 8) {
    if (number < 4) return `${LOW[number]}l`;
    return hasRex ? `${HIGH[number - 4]}l` : `${LOW[number - 4]}h`;
  }
  const base = number < 4 ? `${LOW[number]}x` : HIGH[number - 4]!;
  return bits === 64 ? `r${base}` : bits === 32 ? `e${base}` : base;
}

function hex(value: bigint): string {
  return value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

/** Name of a vector register, by the operand's size. */
function vectorName(spec: OperandSpec, number: number): string {
  return `${spec.size === 'qq' ? 'ymm' : 'xmm'}${number}`;
}
function vsibIndex(d: Decoded): string {
  return vectorName(d.candidate!.table.form.operands.find((o) => o.source === 'vsib')!, d.index);
}

function memoryText(d: Decoded, bits: number, nextRip: bigint, isSized: boolean): string {
  const size = isSized ? `${SIZE_NAMES[bits] ?? ''} ptr ` : '';
  const segment = d.segmentOverride >= 0 ? `${SEGMENTS[d.segmentOverride]}:` : '';
  const register = (n: number) => generalRegisterName(n, d.addressBits, true);
  const parts: string[] = [];
  if (d.base === 16) {
    // The decoder made the displacement relative to the instruction's first byte.
    const target = BigInt.asUintN(64, nextRip - BigInt(d.length) + d.displacement);
    return `${size}${segment}[rip+0x${target.toString(16)}]`.replace('rip+', '');
  }
  if (d.base >= 0) parts.push(register(d.base));
  if (d.index >= 0) {
    const index = d.candidate!.isVsib ? vsibIndex(d) : register(d.index);
    parts.push(d.scale ? `${index}*${1 << d.scale}` : index);
  }
  let text = parts.join('+');
  if (!text) text = hex(BigInt.asUintN(d.addressBits, d.displacement));
  else if (d.displacement) text += `${d.displacement < 0n ? '' : '+'}${hex(d.displacement)}`;
  return `${size}${segment}[${text}]`;
}

/** A branch's target: as wide as the operand size, in the 64 KiB of the instruction when that is 16 bits. */
function branchTarget(d: Decoded, nextRip: bigint): bigint {
  const sum = nextRip + d.immediate;
  const bits = d.bits === 64 ? 64 : d.bits === 32 ? 32 : 16;
  return bits === 16 ? (nextRip & ~0xffffn) | (sum & 0xffffn) : BigInt.asUintN(bits, sum);
}

/** ENTER's two immediates share the field. */
function immediateText(spec: OperandSpec, d: Decoded, bits: number): string {
  const [first, second] = d.candidate!.table.form.operands;
  if (second?.source !== 'immediate' || first?.source !== 'immediate')
    return hex(BigInt.asUintN(Math.max(bits, 8), d.immediate));
  return hex(spec === second ? d.immediate >> 16n : d.immediate & 0xffffn);
}

function operandText(spec: OperandSpec, d: Decoded, nextRip: bigint): string {
  const bits = operandBits(spec, d.bits);
  const isSized = spec.size !== 'n';
  const general = (n: number) => generalRegisterName(n, bits, d.hasRex);
  switch (spec.source) {
    case 'rm':
    case 'rmMemory':
      return d.isMemory ? memoryText(d, memoryBits(d, bits), nextRip, isSized) : general(d.rm);
    case 'rmRegister':
    case 'opcode':
      return general(d.rm);
    case 'reg':
      return general(d.reg);
    case 'fixed':
      return spec.register! >= 16
        ? SEGMENTS[spec.register! - 16]!
        : generalRegisterName(spec.register!, bits, true);
    case 'immediate':
    case 'immediateSigned':
      return immediateText(spec, d, bits);
    case 'relative':
      return hex(branchTarget(d, nextRip));
    case 'far':
      return `${hex(d.immediate >> 32n)}:${hex(d.immediate & 0xffff_ffffn)}`;
    case 'moffs':
      return memoryText(d, bits, nextRip, false);
    case 'one':
      return '1';
    case 'segment':
      return SEGMENTS[d.reg & 7] ?? '?';
    case 'control':
      return `cr${d.reg}`;
    case 'debug':
      return `dr${d.reg}`;
    case 'xmm':
      return vectorName(spec, d.reg);
    case 'xmmRm':
      return d.isMemory ? memoryText(d, bits, nextRip, isSized) : vectorName(spec, d.rm);
    case 'xmmRmRegister':
      return vectorName(spec, d.rm);
    case 'vvvv':
      return general(d.vvvv);
    case 'xmmVvvv':
      return vectorName(spec, d.vvvv);
    case 'xmmIs4':
      return vectorName(spec, d.is4);
    case 'vsib':
      return memoryText(d, vsibElementBits(d), nextRip, true);
    case 'mmx':
      return `mm${d.reg & 7}`;
    case 'mmxRm':
      return d.isMemory ? memoryText(d, bits, nextRip, isSized) : `mm${d.rm & 7}`;
    case 'mmxRmRegister':
      return `mm${d.rm & 7}`;
    case 'st0':
      return 'st0';
    case 'sti':
      return `st${d.rm & 7}`;
  }
}

/** The text of a decoded instruction that begins at `rip`. */
export function formatInstruction(d: Decoded, rip: bigint): string {
  if (!d.candidate) return '(bad)';
  const special = idiom(d);
  if (special) return special;
  const nextRip = rip + BigInt(d.length);
  const named = comparison(d);
  const { operands: all } = d.candidate.table.form;
  const specs = named ? all.slice(0, -1) : all;
  const operands = stackOperands(d) ?? specs.map((o) => operandText(o, d, nextRip)).join(', ');
  const prefix = `${d.lock ? 'lock ' : ''}${repeatPrefix(d)}`;
  const far = isFarIndirect(d) ? ' far' : '';
  return `${prefix}${named ?? mnemonic(d)}${far}${operands ? ` ${operands}` : ''}`;
}

export interface DisassembledInstruction {
  readonly gva: bigint;
  readonly bytes: Uint8Array;
  readonly text: string;
}

/** Disassembles `count` instructions of code that is given as bytes from `gva` on. */
export function disassemble(
  bytes: Uint8Array,
  gva: bigint,
  codeBits: 16 | 32 | 64,
  count: number,
): DisassembledInstruction[] {
  const result: DisassembledInstruction[] = [];
  for (let at = 0; result.length < count && at < bytes.length; ) {
    const d = decodeInstruction(
      bytes,
      at,
      Math.min(bytes.length, at + INSTRUCTION_LENGTH_MAX),
      codeBits,
    );
    const length = Math.max(1, d.candidate ? d.length : 1);
    const address = gva + BigInt(at);
    result.push({
      gva: address,
      bytes: bytes.slice(at, at + length),
      text: formatInstruction(d, address),
    });
    at += length;
  }
  return result;
}
