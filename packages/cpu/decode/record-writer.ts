// Writes decoded instructions into records: the one place that knows what of an instruction goes where.

import type { HandlerNumbers } from '../interpreter/handlers.ts';
import { R, RECORD_BYTES, RECORD_FLAGS } from '../interpreter/record.ts';
import type { OperandSpec } from '../isa/instruction.ts';
import { at, S, SEGMENT } from '../state/layout.ts';
import {
  addressRegisterOffset,
  type Decoded,
  registerStateOffset,
  vectorIndexOffset,
} from './decoder.ts';

const REG_SOURCES = new Set(['reg', 'xmm', 'mmx', 'segment', 'control', 'debug']);
const RM_SOURCES = new Set([
  'rm',
  'rmRegister',
  'opcode',
  'xmmRm',
  'xmmRmRegister',
  'mmxRm',
  'mmxRmRegister',
  'sti',
]);

export class RecordWriter {
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #i64: BigInt64Array;
  readonly #handlers: HandlerNumbers;

  constructor(buffer: ArrayBufferLike, handlers: HandlerNumbers) {
    this.#u8 = new Uint8Array(buffer);
    this.#u16 = new Uint16Array(buffer);
    this.#i64 = new BigInt64Array(buffer);
    this.#handlers = handlers;
  }

  blank(record: number, handler: number, pageOffset: number): void {
    this.#u8.fill(0, record, record + RECORD_BYTES);
    this.#u16[(record + R.handler) / 2] = handler;
    this.#u16[(record + R.pageOffset) / 2] = pageOffset;
  }

  /** Writes a record; gives whether the block ends behind it. */
  write(record: number, d: Decoded, pageOffset: number, isMode64: boolean): boolean {
    if (d.status !== 'ok' || !d.candidate) {
      this.blank(
        record,
        d.status === 'tooLong' ? this.#handlers.tooLong : this.#handlers.invalid,
        pageOffset,
      );
      this.#u8[record + R.length] = d.length;
      return true;
    }
    const { table } = d.candidate;
    const handler = this.#handlers.find(table, {
      bits: d.bits,
      isMemory: usesMemory(d),
      mode64: isMode64,
      locked: d.lock,
    });
    this.blank(record, handler, pageOffset);
    this.#u8[record + R.length] = d.length;
    this.#u8[record + R.flags] = recordFlags(d, isMode64);
    this.#u8[record + R.segment] = d.segment;
    for (const operand of table.form.operands) this.#register(record, operand, d);
    if (d.isMemory) this.#address(record, d, pageOffset);
    this.#u16[(record + R.segmentBase) / 2] = segmentBaseOffset(d.segment, isMode64);
    this.#i64[(record + R.immediate) / 8] = d.immediate;
    for (const operand of table.form.operands) this.#vexRegister(record, operand, d);
    return table.form.ends === true || this.#handlers.neverFallsThrough(handler);
  }
  #register(record: number, operand: OperandSpec, d: Decoded): void {
    if (REG_SOURCES.has(operand.source)) {
      this.#u16[(record + R.reg) / 2] = registerStateOffset(operand, d.reg, d.bits, d.hasRex);
    } else if (RM_SOURCES.has(operand.source) && !d.isMemory) {
      this.#u16[(record + R.rm) / 2] = registerStateOffset(operand, d.rm, d.bits, d.hasRex);
    }
  }
  /** Behind the immediate, whose field these share. */
  #vexRegister(record: number, operand: OperandSpec, d: Decoded): void {
    const { source } = operand;
    const offset = (n: number) => registerStateOffset(operand, n, d.bits, true);
    if (source === 'vvvv' || source === 'xmmVvvv')
      this.#u16[(record + R.vvvv) / 2] = offset(d.vvvv);
    else if (source === 'xmmIs4') this.#u16[(record + R.is4) / 2] = offset(d.is4);
  }
  #address(record: number, d: Decoded, pageOffset: number): void {
    this.#u16[(record + R.rm) / 2] = addressRegisterOffset(d.base);
    this.#u16[(record + R.index) / 2] = d.candidate!.isVsib
      ? vectorIndexOffset(d.index)
      : addressRegisterOffset(d.index);
    this.#u8[record + R.scale] = d.scale;
    // rip-relative: S.ripBase plus the instruction's place in the page.
    const displacement = d.base === 16 ? d.displacement + BigInt(pageOffset) : d.displacement;
    this.#i64[(record + R.displacement) / 8] = BigInt.asIntN(64, displacement);
  }
}

/** The form's ModRM.rm operand is memory (a moffs form has no such variant). */
export function usesMemory(d: Decoded): boolean {
  return (
    d.isMemory &&
    !d.candidate!.table.form.operands.some((o) => o.source === 'moffs') &&
    d.candidate!.allowsMemory &&
    hasRmOperand(d)
  );
}
function hasRmOperand(d: Decoded): boolean {
  return d.candidate!.table.form.operands.some(
    (o) =>
      o.source === 'rm' ||
      o.source === 'rmMemory' ||
      o.source === 'xmmRm' ||
      o.source === 'mmxRm' ||
      o.source === 'vsib',
  );
}

function recordFlags(d: Decoded, isMode64: boolean): number {
  const size = d.addressBits === 64 ? 2 : d.addressBits === 32 ? 1 : 0;
  return (
    (d.rep ? RECORD_FLAGS.rep : 0) |
    (d.repne ? RECORD_FLAGS.repne : 0) |
    (d.lock ? RECORD_FLAGS.lock : 0) |
    (isMode64 && d.addressBits === 64 ? 0 : RECORD_FLAGS.checkedAddress) |
    (!isMode64 && d.addressBits === 32 ? RECORD_FLAGS.legacy32 : 0) |
    (size << RECORD_FLAGS.addressSizeShift)
  );
}

function segmentBaseOffset(segment: number, isMode64: boolean): number {
  if (isMode64 && segment !== SEGMENT.fs && segment !== SEGMENT.gs) return S.zero.offset;
  return at(S.segBase, segment);
}
