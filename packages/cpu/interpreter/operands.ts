// Operands and surroundings of an instruction whose registers are only known at run time: everything is read from
// its record. This is what makes one lifted form the interpreter's handler for all registers.

import type { InstructionContext, LiftOperand, OperandSpec } from '../isa/instruction.ts';
import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import type { AccessBytes, Lift, UpdateAccess } from '../lift/lift.ts';
import { constant, constantOf, type Value } from '../lift/value.ts';
import { countExactly } from '../microcode/exact.ts';
import { isFlatData, isFlatSegment, segmentLinear } from '../microcode/segment-access.ts';
import { MODE_SINGLE_STEP } from '../state/decoding-mode.ts';
import { at, type Field, S, SEGMENT } from '../state/layout.ts';
import { R, RECORD_FLAGS } from './record.ts';

/** One form in one operand size, with a register or a memory operand, in 64-bit mode or not. */
export interface Variant {
  /** Operand size in bits: 8, 16, 32, 64, or 0 when the form has none. */
  readonly bits: number;
  readonly isMemory: boolean;
  readonly mode64: boolean;
  /** The decoding mode is `flat32`; only the translator, which knows the segment, makes use of it. */
  readonly flat?: boolean;
  /** With a LOCK prefix; told apart only where other processors share the memory. */
  readonly locked?: boolean;
}

/** Effective address of a record's memory operand, wrapped to its address size. */
function effectiveAddress(l: Lift, record: Value): Value {
  const base = l.loadRaw('i64.load', l.cpu.add(l.loadRaw('i32.load16_u', record, R.rm)));
  const index = l.loadRaw('i64.load', l.cpu.add(l.loadRaw('i32.load16_u', record, R.index)));
  const scaled = index.shl(l.loadRaw('i64.load8_u', record, R.scale));
  return l.let(base.add(scaled).add(l.loadRaw('i64.load', record, R.displacement)));
}

function addressBits(l: Lift, record: Value): Value {
  const flags = l.loadRaw('i32.load8_u', record, R.flags);
  return l.let(
    l.i32(16).shl(flags.and(RECORD_FLAGS.addressSize).shru(RECORD_FLAGS.addressSizeShift)),
  );
}

/** Wraps an address to 16, 32 or 64 bits. */
function wrap(l: Lift, address: Value, bits: Value): Value {
  return l.let(address.and(l.select(bits.eq(64), l.i64(-1n), l.i64(1n).shl(bits).sub(1n))));
}

const checkedLinear: FunctionRef = fn('checkedLinear', {
  params: { record: 'i32', address: 'i64', bytes: 'i32', write: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { record, address, bytes, write }) {
    const isLegacy32 = l.loadRaw('i32.load8_u', record, R.flags).and(RECORD_FLAGS.legacy32).nez();
    l.if(isLegacy32, () => {
      const segment = l.loadRaw('i32.load8_u', record, R.segment);
      const attributes = l.getAt(S.segAttributes, segment.shl(2));
      l.if(isFlatData(attributes, l.getAt(S.segLimit, segment.shl(2))), () =>
        l.return(l.getAt(S.segBase, segment.shl(3)).add(address).and(0xffff_ffffn)),
      );
    });
    const offset = wrap(l, address, addressBits(l, record));
    l.return(
      l.call(segmentLinear, l.loadRaw('i32.load8_u', record, R.segment), offset, bytes, write),
    );
  },
});

const BYTES: Readonly<Record<string, number>> = {
  b: 1,
  w: 2,
  d: 4,
  q: 8,
  t: 10,
  x: 16,
  qq: 32,
  n: 8,
};

/** Width in bits of an operand in a variant. */
export function operandBits(spec: OperandSpec, bits: number): number {
  if (spec.source === 'relative') return 64;
  if (spec.source === 'immediateSigned') return Math.max(bits, 8);
  switch (spec.size) {
    case 'v':
      return bits;
    case 'z':
      return Math.min(bits, 32);
    case 'y':
      return bits === 64 ? 64 : 32;
    default:
      return BYTES[spec.size]! * 8;
  }
}

const MEMORY_SOURCES = new Set(['rm', 'rmMemory', 'xmmRm', 'mmxRm', 'moffs', 'vsib']);
const REGISTER_FIELD: Readonly<Record<string, number>> = {
  rm: R.rm, rmRegister: R.rm, opcode: R.rm, xmmRm: R.rm, xmmRmRegister: R.rm, mmxRm: R.rm, mmxRmRegister: R.rm,
  reg: R.reg, xmm: R.reg, mmx: R.reg, segment: R.reg, control: R.reg, debug: R.reg, sti: R.rm,
  vvvv: R.vvvv, xmmVvvv: R.vvvv, xmmIs4: R.is4,
}; // biome-ignore format: sources by field

function fail(what: string): never {
  throw new Error(`operand has no ${what}`);
}
const NO_VECTOR = { readHalf: () => fail('halves'), writeHalf: () => fail('halves') };
const NO_ADDRESS = {
  linear: () => fail('address'),
  effective: () => fail('address'),
  element: () => fail('elements'),
};

/** Binds one operand of a variant to the record. */
export function bindOperand(
  l: Lift,
  record: Value,
  spec: OperandSpec,
  variant: Variant,
  access: 'r' | 'w' | 'rw' | 'none',
): LiftOperand {
  const bits = operandBits(spec, variant.bits);
  const memory = MEMORY_SOURCES.has(spec.source) && (variant.isMemory || spec.source === 'moffs');
  if (memory) return new MemoryOperand(l, record, bits, access, variant);
  if (spec.source === 'one') return immediateOperand(l, bits, () => constant('i32', 1));
  if (
    spec.source === 'immediate' ||
    spec.source === 'immediateSigned' ||
    spec.source === 'relative'
  ) {
    const load = bits === 64 ? 'i64.load' : 'i32.load';
    return immediateOperand(l, bits, () => l.loadRaw(load, record, R.immediate));
  }
  if (spec.source === 'far')
    return immediateOperand(l, 64, () => l.loadRaw('i64.load', record, R.immediate));
  if (spec.source === 'fixed') return fixedOperand(l, spec.register!, bits);
  const fieldOffset = REGISTER_FIELD[spec.source];
  if (fieldOffset === undefined) return numberOperand(bits, () => fail('number'));
  const offset = () => l.loadRaw('i32.load16_u', record, fieldOffset);
  if (
    spec.source === 'segment' ||
    spec.source === 'control' ||
    spec.source === 'debug' ||
    spec.source === 'sti'
  ) {
    return numberOperand(bits, offset);
  }
  return registerOperand(l, bits, spec.source.startsWith('xmm'), offset);
}

function immediateOperand(l: Lift, bits: number, value: () => Value): LiftOperand {
  return {
    bits,
    isMemory: false,
    read: () => l.let(value()),
    write: () => fail('destination'),
    ...NO_VECTOR,
    ...NO_ADDRESS,
    stateOffset: () => fail('register'),
    number: () => fail('number'),
  };
}

function numberOperand(bits: number, number: () => Value): LiftOperand {
  return {
    bits,
    isMemory: false,
    read: () => fail('value: use number()'),
    write: () => fail('value: use number()'),
    ...NO_VECTOR,
    ...NO_ADDRESS,
    stateOffset: () => fail('register'),
    number,
  };
}

function fixedOperand(l: Lift, register: number, bits: number): LiftOperand {
  if (register >= 16) {
    return {
      ...numberOperand(bits, () => l.i32(register - 16)),
      read: () => l.get(S.segSelector, register - 16),
    };
  }
  const offset = at(S.gpr, register);
  return registerOperand(l, bits, false, () => l.i32(offset));
}

const LOAD_BY_BITS: Readonly<Record<number, string>> = {
  8: 'i32.load8_u',
  16: 'i32.load16_u',
  32: 'i32.load',
  64: 'i64.load',
  128: 'v128.load',
  256: 'v128.load',
};

/** A register in the vCPU's state: general, MMX or XMM. */
function registerOperand(l: Lift, bits: number, isXmm: boolean, offset: () => Value): LiftOperand {
  const address = () => l.let(l.cpu.add(offset()));
  return {
    bits,
    isMemory: false,
    read: () => l.loadRaw(LOAD_BY_BITS[bits]!, address()),
    write(value) {
      if (bits >= 128) l.storeRaw('v128.store', address(), 0, value);
      else if (bits === 64) l.storeRaw('i64.store', address(), 0, value);
      else if (bits === 32 && !isXmm) l.storeRaw('i64.store', address(), 0, value.u64());
      else l.storeRaw(bits === 32 ? 'i32.store' : `i32.store${bits}`, address(), 0, value);
    },
    readHalf: (half) => l.loadRaw('v128.load', address(), 16 * half),
    writeHalf: (half, value) => l.storeRaw('v128.store', address(), 16 * half, value),
    ...NO_ADDRESS,
    stateOffset: () => l.let(offset()),
    number: () => fail('number'),
  };
}

class MemoryOperand implements LiftOperand {
  readonly bits: number;
  readonly isMemory = true;
  readonly #l: Lift;
  readonly #record: Value;
  readonly #access: 'r' | 'w' | 'rw' | 'none';
  readonly #variant: Variant;
  #update: UpdateAccess | undefined;

  constructor(
    l: Lift,
    record: Value,
    bits: number,
    access: 'r' | 'w' | 'rw' | 'none',
    variant: Variant,
  ) {
    this.#variant = variant;
    this.#l = l;
    this.#record = record;
    this.bits = bits;
    this.#access = access;
  }
  read(): Value {
    const bytes = (this.bits / 8) as AccessBytes;
    if (this.#access !== 'rw') return this.#l.load(bytes, this.linear(bytes, 'read'));
    this.#update = this.#l.update(
      bytes,
      this.linear(bytes, 'write'),
      this.#variant.locked === true,
    );
    return this.#update.value;
  }
  write(value: Value): void {
    if (this.#update) this.#update.write(value);
    else this.#l.store((this.bits / 8) as AccessBytes, this.linear(this.bits / 8, 'write'), value);
  }
  #half: Value | undefined;
  readHalf(half: 0 | 1): Value {
    if (this.bits === 128 && half === 0) return this.read();
    this.#half ??= this.#l.let(this.linear(this.bits / 8, 'read'));
    return this.#l.load(16, this.#half.add(16 * half));
  }
  writeHalf(): void {
    fail('register halves');
  }
  linear(bytes: number = this.bits / 8, access: 'read' | 'write' = 'read'): Value {
    return this.#linear(effectiveAddress(this.#l, this.#record), bytes, access);
  }
  element(index: Value, bytes: number): Value {
    const l = this.#l;
    const base = l.loadRaw('i64.load', l.cpu.add(l.loadRaw('i32.load16_u', this.#record, R.rm)));
    const scaled = index.shl(l.loadRaw('i64.load8_u', this.#record, R.scale));
    const displacement = l.loadRaw('i64.load', this.#record, R.displacement);
    return this.#linear(l.let(base.add(scaled).add(displacement)), bytes, 'read');
  }
  #linear(address: Value, bytes: number, access: 'read' | 'write'): Value {
    const l = this.#l;
    const record = this.#record;
    const isChecked = l.loadRaw('i32.load8_u', record, R.flags).and(RECORD_FLAGS.checkedAddress);
    return l.choose(
      isChecked,
      'i64',
      () => this.#checked(address, bytes, access === 'write' ? 1 : 0),
      () =>
        address.add(
          l.loadRaw('i64.load', l.cpu.add(l.loadRaw('i32.load16_u', record, R.segmentBase))),
        ),
    );
  }
  /** The address with its checks; where the record is known, it need not exist at run time. */
  #checked(address: Value, bytes: number, write: number): Value {
    const l = this.#l;
    const record = this.#record;
    if (constantOf(record) === undefined)
      return l.call(checkedLinear, record, address, bytes, write);
    const segment = Number(constantOf(l.loadRaw('i32.load8_u', record, R.segment)));
    if (this.#variant.flat && isFlatSegment(segment))
      return wrap(l, address, addressBits(l, record));
    const isLegacy32 = l.loadRaw('i32.load8_u', record, R.flags).and(RECORD_FLAGS.legacy32).nez();
    const checked = () => {
      const offset = wrap(l, address, addressBits(l, record));
      return l.call(segmentLinear, segment, offset, bytes, write);
    };
    const isFlat = () => isFlatData(l.get(S.segAttributes, segment), l.get(S.segLimit, segment));
    return l.choose(
      isLegacy32,
      'i64',
      () =>
        l.choose(
          isFlat(),
          'i64',
          () => l.get(S.segBase, segment).add(address).and(0xffff_ffffn),
          checked,
        ),
      checked,
    );
  }
  effective(): Value {
    return wrap(
      this.#l,
      effectiveAddress(this.#l, this.#record),
      addressBits(this.#l, this.#record),
    );
  }
  stateOffset(): Value {
    return this.#l.loadRaw('i32.load16_u', this.#record, R.index);
  }
  number(): Value {
    return fail('number');
  }
}

/** rip of the record's instruction, plus what is given. */
function ripOf(l: Lift, record: Value): Value {
  return l.let(l.get(S.ripBase).add(l.loadRaw('i64.load16_u', record, R.pageOffset)));
}

const PREFIX_FLAG = {
  rep: RECORD_FLAGS.rep,
  repne: RECORD_FLAGS.repne,
  lock: RECORD_FLAGS.lock,
} as const;

/** Surroundings of a variant; `askedMode` is told when the meaning depends on 64-bit mode. */
export function recordContext(
  l: Lift,
  record: Value,
  variant: Variant,
  askedMode: () => void,
): InstructionContext {
  return {
    bits: variant.bits,
    locked: variant.locked === true,
    get mode64() {
      askedMode();
      return variant.mode64;
    },
    flat: variant.flat === true,
    addressBits: () => addressBits(l, record),
    prefix: (name) => l.let(l.loadRaw('i32.load8_u', record, R.flags).and(PREFIX_FLAG[name]).nez()),
    segment: () => l.loadRaw('i32.load8_u', record, R.segment),
    segmentBase: () =>
      l.loadRaw('i64.load', l.cpu.add(l.loadRaw('i32.load16_u', record, R.segmentBase))),
    rip: () => ripOf(l, record),
    nextRip: () => l.let(ripOf(l, record).add(l.loadRaw('i64.load8_u', record, R.length))),
    mayFaultAt: () => true,
    x87Opcode: () => l.loadRaw('i32.load', record, R.immediate),
    jump(target) {
      askedMode();
      jump(l, target, variant.mode64);
    },
    again: () => again(l),
  };
}

/** An iteration of a repeated instruction counts against the budget; breakpoints on it hit before the first one only. */
function again(l: Lift): void {
  l.set(S.budget, l.get(S.budget).sub(1));
  countExactly(l);
  l.unlikely(l.get(S.mode).and(MODE_SINGLE_STEP), () => {
    l.set(S.rflags, l.get(S.rflags).or(RFLAGS.rf));
  });
  l.exit('again');
}

/** A near transfer: #GP(0) for a target that is not canonical or beyond CS's limit, before anything changes. */
function jump(l: Lift, target: Value, mode64: boolean): void {
  const to = l.let(target);
  if (mode64) l.raiseIf(to.shl(16).shrs(16).ne(to), 13, 0);
  else l.raiseIf(to.gtu(l.get(S.segLimit, SEGMENT.cs).u64()), 13, 0);
  l.set(S.rip, to);
  l.exit('jump');
}

/** State offset of general register `number` (0–15) as an operand of `bits`; without REX, byte registers 4–7 are AH–BH. */
export function generalRegisterOffset(number: number, bits: number, hasRex: boolean): number {
  if (bits === 8 && !hasRex && number >= 4 && number < 8) return at(S.gpr, number - 4) + 1;
  return at(S.gpr, number);
}

/** State offset of a register in an array, for XMM and MMX registers. */
export function arrayRegisterOffset(field: Field, number: number): number {
  return at(field, number);
}
