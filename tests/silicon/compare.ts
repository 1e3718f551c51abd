// Compares two struct results of one case, leaving out what the manual leaves undefined.

import { disassemble } from '../../packages/cpu/decode/disassembler.ts';
import { CODE, FX, MEMORY_BYTES, RESULT, TEST } from './layout.ts';
import type { TestCase } from './generate.ts';

const FLAG_BITS: Readonly<Record<string, number>> = { C: 1, P: 4, A: 0x10, Z: 0x40, S: 0x80, O: 0x800, D: 0x400 };
/** Flags that user mode computes: arithmetic and DF. */
const COMPARED_FLAGS = 0xcd5;
/** The case looped: nothing to compare. */
const TIMED_OUT = 0xff;
const PAGE_FAULT = 14;
const GENERAL_PROTECTION = 13;
const BREAKPOINT = 3;
const NAMES = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];

/** Shifts define OF only for a count of 1, and the double shifts nothing when the count exceeds the operand. */
const SHIFT = /^(SHL|SAL|SHR|SAR|ROL|ROR|RCL|RCR|SHLD|SHRD)$/;
/** Linux hides from signals whether an address of its own half was mapped. */
const KERNEL_HALF = 1n << 47n;

function undefinedFlags(test: TestCase): number {
  let mask = 0;
  for (const t of test.forms) {
    for (const letter of t.instruction.flags?.undefined ?? '') mask |= FLAG_BITS[letter] ?? 0;
    if (SHIFT.test(t.instruction.name) && !t.form.encoding.startsWith('D0') && !t.form.encoding.startsWith('D1')) mask |= FLAG_BITS.O!;
  }
  return mask;
}

/** What differs, one line each; empty when the results agree. */
export function differences(test: TestCase, native: Uint8Array, ours: Uint8Array): string[] {
  const n = new DataView(native.buffer, native.byteOffset);
  const o = new DataView(ours.buffer, ours.byteOffset);
  const found: string[] = [];
  const check = (name: string, a: bigint | number, b: bigint | number) => {
    if (a !== b) found.push(`${name}: host ${a.toString(16)}, ours ${b.toString(16)}`);
  };
  const vector = n.getUint32(RESULT.vector, true);
  if (vector === TIMED_OUT) return found;
  check('vector', vector, o.getUint32(RESULT.vector, true));
  if (vector === PAGE_FAULT) check('cr2', n.getBigUint64(RESULT.cr2, true), o.getBigUint64(RESULT.cr2, true));
  if (vector === PAGE_FAULT || vector === GENERAL_PROTECTION) {
    const hidden = vector === PAGE_FAULT && n.getBigUint64(RESULT.cr2, true) >= KERNEL_HALF ? 1 : 0;
    check('error code', n.getUint32(RESULT.error, true) | hidden, o.getUint32(RESULT.error, true) | hidden);
  }
  // A breakpoint reports the address behind it; ours stops in front.
  const behind = vector === BREAKPOINT ? 1n : 0n;
  check('rip', n.getBigUint64(RESULT.rip, true) - behind, o.getBigUint64(RESULT.rip, true));
  for (let i = 0; i < 16; i++) check(NAMES[i]!, n.getBigUint64(RESULT.gpr + 8 * i, true), o.getBigUint64(RESULT.gpr + 8 * i, true));
  const mask = BigInt(COMPARED_FLAGS & ~undefinedFlags(test));
  check('rflags', n.getBigUint64(RESULT.rflags, true) & mask, o.getBigUint64(RESULT.rflags, true) & mask);
  compareFx(n, o, check);
  for (let i = 0; i < MEMORY_BYTES; i += 8) {
    check(`memory+${i.toString(16)}`, n.getBigUint64(RESULT.memory + i, true), o.getBigUint64(RESULT.memory + i, true));
  }
  return found;
}

function compareFx(n: DataView, o: DataView, check: (name: string, a: bigint | number, b: bigint | number) => void): void {
  const fx = RESULT.fx;
  for (const [name, at] of [['fcw', FX.control], ['fsw', FX.status]] as const) check(name, n.getUint16(fx + at, true), o.getUint16(fx + at, true));
  check('tags', n.getUint8(fx + FX.tag), o.getUint8(fx + FX.tag));
  check('mxcsr', n.getUint32(fx + FX.mxcsr, true), o.getUint32(fx + FX.mxcsr, true));
  for (let i = 0; i < 8; i++) {
    check(`st${i}`, n.getBigUint64(fx + FX.st + 16 * i, true), o.getBigUint64(fx + FX.st + 16 * i, true));
    check(`st${i} exponent`, n.getUint16(fx + FX.st + 16 * i + 8, true), o.getUint16(fx + FX.st + 16 * i + 8, true));
  }
  for (let i = 0; i < 16; i++) {
    check(`xmm${i} low`, n.getBigUint64(fx + FX.xmm + 16 * i, true), o.getBigUint64(fx + FX.xmm + 16 * i, true));
    check(`xmm${i} high`, n.getBigUint64(fx + FX.xmm + 16 * i + 8, true), o.getBigUint64(fx + FX.xmm + 16 * i + 8, true));
  }
}

/** The case's code as text. */
export function describe(test: TestCase): string {
  const view = new DataView(test.bytes.buffer, test.bytes.byteOffset);
  const length = view.getUint32(TEST.codeLength, true) - 1;
  const rip = BigInt(CODE + view.getUint32(TEST.codeOffset, true));
  const lines = disassemble(test.bytes.slice(0, length), rip, 64, 8);
  return lines.map((d) => `${d.gva.toString(16)}: ${Buffer.from(d.bytes).toString('hex').padEnd(24)} ${d.text}`).join('\n');
}
