// Arithmetic on working numbers with 128-bit significands, for the transcendental instructions:
// errors stay near 2^-125, so that the one rounding to 64 bits at the end decides. The numbers live
// in the vCPU's state and are named by index.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Operand, Value } from '../../lift/value.ts';
import { type Field, S } from '../../state/layout.ts';
import { multiplyHigh } from './arithmetic.ts';
import { FULL_PRECISION, normalize, roundExtended, shiftRightSticky } from './round.ts';
import type { Unpacked } from './special.ts';
import { BIAS, SIGN } from './state.ts';

/**
 * A number is 32 bytes: significand of 128 bits whose top bit is set (or zero), exponent of that
 * bit, sign 0 or 1.
 */
const part = (name: string, offset: number, type: 'i32' | 'i64'): Field => ({
  ...S.x87Wide,
  name,
  type,
  width: type === 'i64' ? 8 : 4,
  offset: S.x87Wide.offset + offset,
});
const HIGH = part('x87WideHigh', 0, 'i64');
const LOW = part('x87WideLow', 8, 'i64');
const EXPONENT = part('x87WideExponent', 16, 'i32');
const NEGATIVE = part('x87WideNegative', 20, 'i32');

/** The last number holds constants on their way into an operation. */
const CONSTANT = S.x87Wide.count - 1;

interface Parts {
  readonly high: Value;
  readonly low: Value;
  readonly exponent: Value;
  readonly negative: Value;
}

function read(l: Lift, index: Value): Parts {
  const offset = index.shl(5);
  return {
    high: l.getAt(HIGH, offset),
    low: l.getAt(LOW, offset),
    exponent: l.getAt(EXPONENT, offset),
    negative: l.getAt(NEGATIVE, offset),
  };
}
function write(l: Lift, index: Value, x: Parts): void {
  const offset = l.let(index.shl(5));
  l.setAt(HIGH, offset, x.high);
  l.setAt(LOW, offset, x.low);
  l.setAt(EXPONENT, offset, x.exponent);
  l.setAt(NEGATIVE, offset, x.negative);
}

const BINARY = { d: 'i32', a: 'i32', b: 'i32' } as const;

/** d = a * b. */
const multiply: FunctionRef = fn('x87WideMultiply', {
  params: BINARY,
  build(l, { d, a, b }) {
    const x = read(l, a);
    const y = read(l, b);
    const cross1 = l.call(multiplyHigh, x.high, y.low);
    const cross2 = l.call(multiplyHigh, x.low, y.high);
    const low1 = l.let(x.high.mul(y.high).add(cross1));
    const carry1 = low1.ltu(cross1);
    const low = l.let(low1.add(cross2));
    const carry = l.let(carry1.add(low.ltu(cross2)));
    const high = l.let(l.call(multiplyHigh, x.high, y.high).add(carry.u64()));
    // The product is below 4: its top bit may be clear.
    const shift = l.let(high.ges(0n).and(high.nez()));
    write(l, d, {
      high: high.shl(shift).or(low.shru(63).and(shift.u64())),
      low: low.shl(shift),
      exponent: x.exponent.add(y.exponent).add(1).sub(shift),
      negative: x.negative.xor(y.negative),
    });
  },
});

/** d = a + b. */
const add: FunctionRef = fn('x87WideAdd', {
  params: BINARY,
  build(l, { d, a, b }) {
    const p = read(l, a);
    const q = read(l, b);
    l.if(p.high.eqz(), () => {
      write(l, d, q);
      l.return();
    });
    l.if(q.high.eqz(), () => {
      write(l, d, p);
      l.return();
    });
    const lessHigh = p.high.ltu(q.high).or(p.high.eq(q.high).and(p.low.ltu(q.low)));
    const swap = l.let(p.exponent.lts(q.exponent).or(p.exponent.eq(q.exponent).and(lessHigh)));
    const pick = (x: Value, y: Value) => l.let(l.select(swap, y, x));
    const big = { high: pick(p.high, q.high), low: pick(p.low, q.low) };
    const exponent = pick(p.exponent, q.exponent);
    const negative = pick(p.negative, q.negative);
    const small = { high: pick(q.high, p.high), low: pick(q.low, p.low) };
    // However small, the lesser one counts: sin x is less than x, and rounding up or down tells.
    const shifted = shiftRightSticky(l, small, l.let(exponent.sub(pick(q.exponent, p.exponent))));
    l.if(p.negative.ne(q.negative), () => {
      const low = l.let(big.low.sub(shifted.low));
      const high = l.let(big.high.sub(shifted.high).sub(big.low.ltu(shifted.low).u64()));
      const isZero = l.let(high.or(low).eqz());
      const n = normalize(l, { high, low });
      const e = l.select(isZero, l.i32(0), exponent.sub(n.count));
      write(l, d, { high: n.high, low: n.low, exponent: e, negative });
      l.return();
    });
    const low = l.let(big.low.add(shifted.low));
    const high1 = l.let(big.high.add(shifted.high));
    const high = l.let(high1.add(low.ltu(big.low).u64()));
    const carry = l.let(high1.ltu(big.high).or(high.ltu(high1)));
    write(l, d, {
      high: high.shru(carry).or(carry.u64().shl(63)),
      low: l.select(carry, low.shru(1).or(high.shl(63)), low),
      exponent: exponent.add(carry),
      negative,
    });
  },
});

/** d = a / b, b not zero: one bit of the quotient a round. */
const divide: FunctionRef = fn('x87WideDivide', {
  params: BINARY,
  build(l, { d, a, b }) {
    const x = read(l, a);
    const y = read(l, b);
    const restHigh = l.var('i64', x.high);
    const restLow = l.var('i64', x.low);
    const over = l.var('i32', 0);
    const quotientHigh = l.var('i64', 0);
    const quotientLow = l.var('i64', 0);
    const count = l.var('i32', 128);
    l.while(
      () => count.get(),
      () => {
        const high = restHigh.get();
        const low = restLow.get();
        const isAtLeast = high.gtu(y.high).or(high.eq(y.high).and(low.geu(y.low)));
        const fits = l.let(over.get().or(isAtLeast));
        const subLow = l.let(l.select(fits, y.low, l.i64(0)));
        const subHigh = l.select(fits, y.high, l.i64(0));
        const newLow = l.let(low.sub(subLow));
        const newHigh = l.let(high.sub(subHigh).sub(low.ltu(subLow).u64()));
        over.set(newHigh.shru(63).i32());
        restHigh.set(newHigh.shl(1).or(newLow.shru(63)));
        restLow.set(newLow.shl(1));
        quotientHigh.set(quotientHigh.get().shl(1).or(quotientLow.get().shru(63)));
        quotientLow.set(quotientLow.get().shl(1).or(fits.u64()));
        count.set(count.get().sub(1));
      },
    );
    const high = quotientHigh.get();
    const low = quotientLow.get();
    const shift = l.let(high.ges(0n).and(high.nez()));
    write(l, d, {
      high: high.shl(shift).or(low.shru(63).and(shift.u64())),
      low: low.shl(shift),
      exponent: x.exponent.sub(y.exponent).sub(shift),
      negative: x.negative.xor(y.negative),
    });
  },
});

const setNumber: FunctionRef = fn('x87WideSet', {
  params: { d: 'i32', high: 'i64', low: 'i64', exponent: 'i32', negative: 'i32' },
  build(l, { d, ...x }) {
    write(l, d, x);
  },
});

/** acc = acc * x + constant: one step of Horner's rule. */
const hornerStep: FunctionRef = fn('x87WideHornerStep', {
  params: { acc: 'i32', x: 'i32', high: 'i64', low: 'i64', exponent: 'i32', negative: 'i32' },
  build(l, { acc, x, ...constant }) {
    write(l, l.i32(CONSTANT), constant);
    l.run(multiply, acc, acc, x);
    l.run(add, acc, acc, CONSTANT);
  },
});

/** A constant as a working number has it. */
export interface WideConstant {
  readonly high: bigint;
  readonly low: bigint;
  readonly exponent: number;
  readonly negative: 0 | 1;
}

/** numerator / denominator, cut to 128 bits. */
export function ratio(numerator: bigint, denominator: bigint): WideConstant {
  const magnitude = numerator < 0n ? -numerator : numerator;
  if (magnitude === 0n) return { high: 0n, low: 0n, exponent: 0, negative: 0 };
  const scaled = (magnitude << 1024n) / denominator;
  const bits = scaled.toString(2).length;
  const significand = scaled >> BigInt(bits - 128);
  return {
    high: BigInt.asIntN(64, significand >> 64n),
    low: BigInt.asIntN(64, significand),
    exponent: bits - 1 - 1024,
    negative: numerator < 0n ? 1 : 0,
  };
}

const constantArguments = (c: WideConstant): [bigint, bigint, number, number] => [
  c.high,
  c.low,
  c.exponent,
  c.negative,
];

/** Operations on working numbers by index, as a microcode function uses them. */
export class WideMachine {
  readonly #l: Lift;
  constructor(l: Lift) {
    this.#l = l;
  }
  multiply(d: number, a: number, b: number): void {
    this.#l.run(multiply, d, a, b);
  }
  add(d: number, a: number, b: number): void {
    this.#l.run(add, d, a, b);
  }
  divide(d: number, a: number, b: number): void {
    this.#l.run(divide, d, a, b);
  }
  set(d: number, c: WideConstant): void {
    this.#l.run(setNumber, d, ...constantArguments(c));
  }
  copy(d: number, a: number): void {
    write(this.#l, this.#l.i32(d), read(this.#l, this.#l.i32(a)));
  }
  addConstant(d: number, a: number, c: WideConstant): void {
    this.set(CONSTANT, c);
    this.add(d, a, CONSTANT);
  }
  multiplyConstant(d: number, a: number, c: WideConstant): void {
    this.set(CONSTANT, c);
    this.multiply(d, a, CONSTANT);
  }
  /** A finite nonzero extended number. */
  load(d: number, x: Unpacked): void {
    const negative = x.sign.nez();
    this.#l.run(setNumber, d, x.significand, 0n, x.exponent.sub(BIAS), negative);
  }
  /** A signed integer. */
  loadInteger(d: number, value: Value): void {
    const l = this.#l;
    const isNegative = l.let(value.lts(0));
    const magnitude = l.let(l.select(isNegative, value.neg(), value).u64());
    const shift = l.let(magnitude.clz().i32());
    const significand = l.let(l.select(magnitude.eqz(), l.i64(0), magnitude.shl(shift)));
    l.run(setNumber, d, significand, 0n, l.i32(63).sub(shift), isNegative);
  }
  setParts(d: number, high: Value, low: Value, exponent: Operand, negative: Operand): void {
    this.#l.run(setNumber, d, high, low, exponent, negative);
  }
  negateIf(d: number, condition: Operand): void {
    const field = this.#l.get(NEGATIVE, d);
    this.#l.set(NEGATIVE, field.xor(condition), d);
  }
  isNegative(a: number): Value {
    return this.#l.get(NEGATIVE, a);
  }
  exponent(a: number): Value {
    return this.#l.get(EXPONENT, a);
  }
  /** The upper 64 bits of the significand. */
  significand(a: number): Value {
    return this.#l.get(HIGH, a);
  }
  setExponent(a: number, value: Value): void {
    this.#l.set(EXPONENT, value, a);
  }
  /** acc = the polynomial in x whose coefficients are given, lowest first. */
  polynomial(acc: number, x: number, coefficients: readonly WideConstant[]): void {
    const [last, ...rest] = coefficients.toReversed();
    this.set(acc, last!);
    for (const c of rest) this.#l.run(hornerStep, acc, x, ...constantArguments(c));
  }
  /** Rounds to an extended number; `inexact` is 1 when the number is an approximation. */
  round(a: number, inexact: 0 | 1): Value {
    const l = this.#l;
    const x = read(l, l.i32(a));
    const sign = x.negative.mul(SIGN);
    const low = inexact ? x.low.or(1n) : x.low;
    return l.call(roundExtended, sign, x.exponent.add(BIAS), x.high, low, FULL_PRECISION);
  }
}
