// Compares two struct results of one case, leaving out what the manual leaves undefined (undefined.ts says what).

import { disassemble } from '../../packages/cpu/decode/disassembler.ts';
import type { TestCase } from './generate.ts';
import { CODE, FX, MEMORY_BYTES, RESULT, selector, TEST, TIMED_OUT } from './layout.ts';
import { type Leeway, leewayOf } from './undefined.ts';
import { SEGMENT_NAMES, WORLDS } from './worlds.ts';

const PAGE_FAULT = 14;
/** Exceptions with an error code that user mode can meet. */
const WITH_ERROR_CODE = new Set([11, 12, 13, 14, 17]);
const NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
];
/** Arithmetic flags, TF, DF, NT, AC and ID. IF and IOPL are the host's; RF depends on the exception. */
const COMPARED_FLAGS = 0x24_4dd5;
/** Linux hides from signals whether an address of its own half was mapped. */
const KERNEL_HALF = 1n << 47n;
const LOW_HALF = 0xffff_ffffn;

export type Check = (name: string, a: bigint | number, b: bigint | number) => void;

/** What differs, one line each; empty when the results agree. */
export function differences(test: TestCase, native: Uint8Array, ours: Uint8Array): string[] {
  const n = new DataView(native.buffer, native.byteOffset);
  const o = new DataView(ours.buffer, ours.byteOffset);
  const found: string[] = [];
  const check: Check = (name, a, b) => {
    if (a !== b) found.push(`${name}: host ${a.toString(16)}, ours ${b.toString(16)}`);
  };
  const vector = n.getUint32(RESULT.vector, true);
  if (vector === TIMED_OUT) return found;
  const leeway = leewayOf(test, n, o);
  if (leeway.all) return found;
  check('vector', vector, o.getUint32(RESULT.vector, true));
  compareFault(n, o, check, leeway);
  check('rip', n.getBigUint64(RESULT.rip, true), o.getBigUint64(RESULT.rip, true));
  compareRegisters(test, n, o, check, leeway);
  compareFx(n, o, check, leeway);
  compareMemory(n, o, check, leeway);
  return found;
}

export function compareFault(n: DataView, o: DataView, check: Check, leeway: Leeway): void {
  const vector = n.getUint32(RESULT.vector, true);
  const address = n.getBigUint64(RESULT.cr2, true);
  if (vector === PAGE_FAULT && !leeway.cr2) check('cr2', address, o.getBigUint64(RESULT.cr2, true));
  if (!WITH_ERROR_CODE.has(vector) || leeway.errorCode) return;
  const hidden = vector === PAGE_FAULT && address >= KERNEL_HALF ? 1 : 0;
  check(
    'error code',
    n.getUint32(RESULT.error, true) | hidden,
    o.getUint32(RESULT.error, true) | hidden,
  );
}

export function compareRegisters(
  test: TestCase,
  n: DataView,
  o: DataView,
  check: Check,
  leeway: Leeway,
): void {
  // The upper halves are undefined once a legacy mode was entered. SDM vol 1 §3.4.1.1.
  const isLong =
    WORLDS[test.world].bits === 64 &&
    n.getUint16(RESULT.selectors + 2, true) === selector('code64');
  for (let i = 0; i < (isLong ? 16 : 8); i++) {
    const mask = isLong ? ~0n : LOW_HALF;
    check(
      NAMES[i]!,
      n.getBigUint64(RESULT.gpr + 8 * i, true) & mask,
      o.getBigUint64(RESULT.gpr + 8 * i, true) & mask,
    );
  }
  const mask = BigInt(COMPARED_FLAGS & ~leeway.flags);
  check(
    'rflags',
    n.getBigUint64(RESULT.rflags, true) & mask,
    o.getBigUint64(RESULT.rflags, true) & mask,
  );
  // The host's kernel leaves by IRET, which makes all null selectors 0.
  SEGMENT_NAMES.forEach((name, i) => {
    const [a, b] = [
      n.getUint16(RESULT.selectors + 2 * i, true),
      o.getUint16(RESULT.selectors + 2 * i, true),
    ];
    if (a > 3 || b > 3) check(name, a, b);
  });
  for (const [name, at, selectorAt] of [
    ['fs base', RESULT.fsBase, 8],
    ['gs base', RESULT.gsBase, 10],
  ] as const) {
    // Whether loading a null selector clears the base differs between manufacturers.
    const isNull = n.getUint16(RESULT.selectors + selectorAt, true) < 4;
    if (!isNull) check(name, n.getBigUint64(at, true), o.getBigUint64(at, true));
  }
}

export function compareFx(n: DataView, o: DataView, check: Check, leeway: Leeway): void {
  const fx = RESULT.fx;
  check('fcw', n.getUint16(fx + FX.control, true), o.getUint16(fx + FX.control, true));
  const status = ~leeway.x87Status & 0xffff;
  check(
    'fsw',
    n.getUint16(fx + FX.status, true) & status,
    o.getUint16(fx + FX.status, true) & status,
  );
  check('tags', n.getUint8(fx + FX.tag), o.getUint8(fx + FX.tag));
  check('mxcsr', n.getUint32(fx + FX.mxcsr, true), o.getUint32(fx + FX.mxcsr, true));
  for (let i = 0; i < 8; i++) {
    const at = fx + FX.st + 16 * i;
    const read = (v: DataView) =>
      (BigInt(v.getUint16(at + 8, true)) << 64n) | v.getBigUint64(at, true);
    const [a, b] = [read(n), read(o)];
    if (!leeway.isCloseX87(a, b, i)) check(`st${i}`, a, b);
  }
  for (let i = 0; i < 16; i++) {
    const at = fx + FX.xmm + 16 * i;
    for (let word = 0; word < 4; word++) {
      const [a, b] = [n.getUint32(at + 4 * word, true), o.getUint32(at + 4 * word, true)];
      if (!leeway.isCloseSse(a, b)) check(`xmm${i}[${word}]`, a, b);
    }
    for (let word = 4; word < 8; word++) {
      const place = RESULT.ymm + 16 * i + 4 * (word - 4);
      const [a, b] = [n.getUint32(place, true), o.getUint32(place, true)];
      if (!leeway.isCloseSse(a, b)) check(`ymm${i}[${word}]`, a, b);
    }
  }
}

function compareMemory(n: DataView, o: DataView, check: Check, leeway: Leeway): void {
  for (let i = 0; i < MEMORY_BYTES; i += 4) {
    const [a, b] = [n.getUint32(RESULT.memory + i, true), o.getUint32(RESULT.memory + i, true)];
    if (a === b) continue;
    for (let k = i; k < i + 4; k++) {
      if (!leeway.memory.has(k))
        check(
          `memory+${k.toString(16)}`,
          n.getUint8(RESULT.memory + k),
          o.getUint8(RESULT.memory + k),
        );
    }
  }
}

/** The case's code as text, and what it began with. */
export function describe(test: TestCase): string {
  const view = new DataView(test.bytes.buffer, test.bytes.byteOffset);
  const length = view.getUint32(TEST.codeLength, true) - 1;
  const rip = view.getBigUint64(TEST.rip, true);
  const world = WORLDS[test.world];
  const lines = disassemble(test.bytes.slice(0, length), rip, world.bits, 8);
  const registers = NAMES.slice(0, world.bits === 64 ? 16 : 8).map(
    (name, n) => `${name}=${view.getBigUint64(TEST.gpr + 8 * n, true).toString(16)}`,
  );
  return [
    `${world.name}, code at ${(CODE + view.getUint32(TEST.codeOffset, true)).toString(16)}, rflags=${view.getBigUint64(TEST.rflags, true).toString(16)}`,
    ...lines.map(
      (d) => `${d.gva.toString(16)}: ${Buffer.from(d.bytes).toString('hex').padEnd(24)} ${d.text}`,
    ),
    registers.join(' '),
  ].join('\n');
}
