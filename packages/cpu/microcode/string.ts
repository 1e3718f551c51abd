// The loops of the string instructions, with and without repeat prefixes. SDM vol 1 §7.3.9, vol 2B REP.
// Registers move on after each element, so a fault in the middle leaves them where a restart goes on. After a bounded
// number of elements a loop leaves early, so that interrupts get in between.

import { RFLAGS, setArithmeticFlags } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import type { AccessBytes, Lift, Variable } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { GPR, S, SEGMENT } from '../state/layout.ts';
import { writeMasked } from './address.ts';
import { readRegister, writeRegister } from './registers.ts';
import { segmentLinear } from './segment-access.ts';
import { copyBulk, fillBulk } from './string-bulk.ts';

/** How an instruction repeats. */
export const REPEAT = { none: 0, equal: 1, notEqual: 2 } as const;
/** Elements, or pieces copied at once, that one run of a repeated instruction handles at most. */
export const STRING_STEPS_MAX = 512;
/**
 * With exact counting a run ends where the elements left are a multiple of this, a power of two: neither where it began
 * nor how large the pieces were makes a difference.
 */
const EXACT_ROUND_ELEMENTS = 4096;

const { rax, rcx, rsi, rdi } = GPR;

/** What a loop needs besides the element itself. */
interface StringLoop {
  readonly bytes: AccessBytes;
  /** Address size as a mask. */
  readonly mask: Value;
  readonly repeat: Value;
  /** Distance to the next element. */
  readonly step: Value;
}

function sourceLinear(l: Lift, s: StringLoop, segment: Value): Value {
  return l.call(segmentLinear, segment, l.get(S.gpr, rsi).and(s.mask), s.bytes, 0);
}
function destinationLinear(l: Lift, s: StringLoop, write: 0 | 1): Value {
  return l.call(segmentLinear, SEGMENT.es, l.get(S.gpr, rdi).and(s.mask), s.bytes, write);
}
function advance(l: Lift, s: StringLoop, register: number): void {
  writeMasked(l, register, s.mask, l.get(S.gpr, register).add(s.step));
}

/** Steps that this run may take: one while single-stepping or looking for data breakpoints. */
function stepBudget(l: Lift): Variable {
  const watched = l.get(S.stepping).or(l.get(S.dr, 7).i32().and(0xff));
  const usual = l.select(l.get(S.exact), l.i32(EXACT_ROUND_ELEMENTS), STRING_STEPS_MAX);
  return l.var('i32', l.select(watched, 1, usual));
}

/**
 * Runs elements until the count or the condition ends it: returns from the function with 0, or with 1 when the
 * instruction must be run again. `element` gives what ends the loop early, if anything; `leave` runs before leaving.
 * `bulk` may handle many elements at once and gives how many it did (0: none).
 */
function repeat(
  l: Lift,
  s: StringLoop,
  element: () => Value | undefined,
  options: { leave?: () => void; bulk?: (count: Value) => Value } = {},
): void {
  const leave = (again: number): void => {
    options.leave?.();
    l.return(again);
  };
  l.if(s.repeat.eqz(), () => {
    element();
    leave(0);
  });
  l.if(l.get(S.gpr, rcx).and(s.mask).eqz(), () => l.return(0));
  const budget = stepBudget(l);
  const round = l.let(l.select(l.get(S.exact), l.i64(EXACT_ROUND_ELEMENTS - 1), -1n));
  const takeCount = (done: Value): Value => {
    const count = l.let(l.get(S.gpr, rcx).sub(done).and(s.mask));
    writeMasked(l, rcx, s.mask, count);
    return count;
  };
  l.loop((again) => {
    const done = l.var('i64', 0n);
    const stops = l.var('i32', 0);
    const { bulk } = options;
    if (bulk) {
      l.if(budget.get().gtu(1), () => {
        const left = l.get(S.gpr, rcx).and(s.mask);
        done.set(bulk(l.let(left.sub(1n).and(round).add(1n))));
      });
    }
    l.if(done.get().eqz(), () => {
      const ends = element();
      if (ends) stops.set(ends);
      done.set(1n);
    });
    const left = takeCount(done.get());
    l.if(left.eqz().or(stops.get()), () => leave(0));
    budget.set(budget.get().sub(1));
    l.if(budget.get().nez().and(left.and(round).nez()), again);
    leave(1);
  });
}

function stringLoop(l: Lift, bytes: AccessBytes, mask: Value, repeat: Value): StringLoop {
  const isDown = l.get(S.rflags).and(RFLAGS.df);
  const step = l.let(l.select(isDown, l.i64(-bytes), l.i64(bytes)));
  return { bytes, mask, repeat, step };
}

const PARAMS = { segment: 'i32', mask: 'i64', repeat: 'i32' } as const;

function movs(bytes: 1 | 2 | 4 | 8): FunctionRef {
  return fn(`movs${bytes * 8}`, {
    params: PARAMS,
    result: 'i32',
    faults: true,
    build(l, { segment, mask, repeat: how }) {
      const s = stringLoop(l, bytes, mask, how);
      const element = (): undefined => {
        const value = l.let(l.load(bytes, sourceLinear(l, s, segment)));
        l.store(bytes, destinationLinear(l, s, 1), value);
        advance(l, s, rsi);
        advance(l, s, rdi);
      };
      repeat(l, s, element, { bulk: (count) => l.call(copyBulk, segment, mask, count, bytes) });
    },
  });
}

function stos(bytes: 1 | 2 | 4 | 8): FunctionRef {
  return fn(`stos${bytes * 8}`, {
    params: PARAMS,
    result: 'i32',
    faults: true,
    build(l, { mask, repeat: how }) {
      const s = stringLoop(l, bytes, mask, how);
      const value = readRegister(l, rax, bytes * 8);
      const element = (): undefined => {
        l.store(bytes, destinationLinear(l, s, 1), value);
        advance(l, s, rdi);
      };
      const pattern = replicated(l, bytes, value);
      repeat(l, s, element, { bulk: (count) => l.call(fillBulk, pattern, mask, count, bytes) });
    },
  });
}

/** Eight bytes full of an element. */
function replicated(l: Lift, bytes: AccessBytes, value: Value): Value {
  const factors: Readonly<Record<number, bigint>> = {
    1: 0x0101_0101_0101_0101n,
    2: 0x0001_0001_0001_0001n,
    4: 0x0000_0001_0000_0001n,
  };
  const factor = factors[bytes];
  return l.let(factor === undefined ? value : value.u64().mul(factor));
}

function lods(bytes: 1 | 2 | 4 | 8): FunctionRef {
  return fn(`lods${bytes * 8}`, {
    params: PARAMS,
    result: 'i32',
    faults: true,
    build(l, { segment, mask, repeat: how }) {
      const s = stringLoop(l, bytes, mask, how);
      repeat(l, s, () => {
        const value = l.let(l.load(bytes, sourceLinear(l, s, segment)));
        writeRegister(l, rax, bytes * 8, value);
        advance(l, s, rsi);
        return undefined;
      });
    },
  });
}

/** CMPS and SCAS: the flags are those of the last comparison, and are set only when nothing can fault any more. */
function compare(
  l: Lift,
  s: StringLoop,
  operands: () => { left: Value; right: Value },
  registers: readonly number[],
): void {
  const type = s.bytes === 8 ? 'i64' : 'i32';
  const left = l.var(type, 0);
  const right = l.var(type, 0);
  const element = (): Value => {
    const pair = operands();
    left.set(pair.left);
    right.set(pair.right);
    for (const register of registers) advance(l, s, register);
    return left.get().ne(right.get()).eq(s.repeat.eq(REPEAT.equal));
  };
  const leave = (): void => {
    const a = left.get();
    const b = right.get();
    setArithmeticFlags(l, 'sub', s.bytes * 8, a, b, a.sub(b));
  };
  repeat(l, s, element, { leave });
}

function cmps(bytes: 1 | 2 | 4 | 8): FunctionRef {
  return fn(`cmps${bytes * 8}`, {
    params: PARAMS,
    result: 'i32',
    faults: true,
    build(l, { segment, mask, repeat: how }) {
      const s = stringLoop(l, bytes, mask, how);
      const operands = () => {
        const left = l.let(l.load(bytes, sourceLinear(l, s, segment)));
        return { left, right: l.let(l.load(bytes, destinationLinear(l, s, 0))) };
      };
      compare(l, s, operands, [rsi, rdi]);
    },
  });
}

function scas(bytes: 1 | 2 | 4 | 8): FunctionRef {
  return fn(`scas${bytes * 8}`, {
    params: PARAMS,
    result: 'i32',
    faults: true,
    build(l, { mask, repeat: how }) {
      const s = stringLoop(l, bytes, mask, how);
      const left = readRegister(l, rax, bytes * 8);
      const operands = () => ({
        left,
        right: l.let(l.load(bytes, destinationLinear(l, s, 0))),
      });
      compare(l, s, operands, [rdi]);
    },
  });
}

/** The functions of one instruction by operand size in bits. Each gives 1 when the instruction must be run again. */
export type StringFunctions = Readonly<Record<8 | 16 | 32 | 64, FunctionRef>>;

const bySize = (make: (bytes: 1 | 2 | 4 | 8) => FunctionRef): StringFunctions => ({
  8: make(1),
  16: make(2),
  32: make(4),
  64: make(8),
});

export const MOVS_LOOP: StringFunctions = bySize(movs);
export const CMPS_LOOP: StringFunctions = bySize(cmps);
export const STOS_LOOP: StringFunctions = bySize(stos);
export const LODS_LOOP: StringFunctions = bySize(lods);
export const SCAS_LOOP: StringFunctions = bySize(scas);
