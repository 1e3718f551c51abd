// Arithmetic and comparisons on the register stack: checks for empty registers, the operation, the
// report of its exceptions, the result and the pop. SDM vol 1 §8.3.5–8.3.6, §8.5.1.1.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { add, divide, multiply, squareRoot, subtract } from './arithmetic.ts';
import { exponentOf, isDenormal, isNan, isSignaling, isUnsupported, signOf } from './special.ts';
import {
  callNumber,
  type Extended,
  isEmpty,
  physical,
  pop,
  raise,
  readRegister,
  report,
  SW,
  writeIndefinite,
  writeRegister,
} from './state.ts';

/**
 * A source register was empty: IE and SF, C1 clear. The default NaN goes to `destination` when IE
 * is masked.
 */
export function underflowStack(l: Lift, destination: Value, then: () => void = () => {}): void {
  l.set(S.x87Raised, SW.ie | SW.sf);
  l.if(l.call(report), () => {
    writeIndefinite(l, destination);
    then();
  });
}

/** ST(destination) = ST(destination) op ST(source), reversed or not; then a pop. */
function onStack(name: string, operation: FunctionRef, reversed: boolean): FunctionRef {
  return fn(`x87Stack${name}`, {
    params: { destination: 'i32', source: 'i32', pops: 'i32' },
    build(l, { destination, source, pops }) {
      const d = physical(l, destination);
      const s = physical(l, source);
      l.set(S.x87Raised, 0);
      l.unlikely(isEmpty(l, d).or(isEmpty(l, s)), () => {
        underflowStack(l, d, () => l.if(pops, () => pop(l)));
        l.return();
      });
      const a = readRegister(l, d);
      const b = readRegister(l, s);
      const [x, y] = reversed ? [b, a] : [a, b];
      const r = callNumber(
        l,
        operation,
        x.significand,
        x.signExponent,
        y.significand,
        y.signExponent,
      );
      l.if(l.call(report), () => {
        writeRegister(l, d, r);
        l.if(pops, () => pop(l));
      });
    },
  });
}

/** ST(0) = ST(0) op number, reversed or not. What its conversion raised is in S.x87Raised. */
function withNumber(name: string, operation: FunctionRef, reversed: boolean): FunctionRef {
  return fn(`x87Number${name}`, {
    params: { significand: 'i64', signExponent: 'i32' },
    build(l, b) {
      const top = physical(l, 0);
      l.unlikely(isEmpty(l, top), () => {
        underflowStack(l, top);
        l.return();
      });
      const a = readRegister(l, top);
      const [x, y] = reversed ? [b, a] : [a, b];
      const r = callNumber(
        l,
        operation,
        x.significand,
        x.signExponent,
        y.significand,
        y.signExponent,
      );
      l.if(l.call(report), () => writeRegister(l, top, r));
    },
  });
}

export interface StackOperation {
  readonly onStack: FunctionRef;
  readonly withNumber: FunctionRef;
}

function stackOperation(name: string, operation: FunctionRef, reversed = false): StackOperation {
  return {
    onStack: onStack(name, operation, reversed),
    withNumber: withNumber(name, operation, reversed),
  };
}

/** The six, under the names of their instructions. */
export const OPERATIONS = {
  FADD: stackOperation('Add', add),
  FMUL: stackOperation('Multiply', multiply),
  FSUB: stackOperation('Subtract', subtract),
  FSUBR: stackOperation('SubtractReversed', subtract, true),
  FDIV: stackOperation('Divide', divide),
  FDIVR: stackOperation('DivideReversed', divide, true),
} as const;

/** ST(0) = f(ST(0)). */
export function unary(name: string, operation: FunctionRef): FunctionRef {
  return fn(name, {
    params: {},
    build(l) {
      const top = physical(l, 0);
      l.set(S.x87Raised, 0);
      l.unlikely(isEmpty(l, top), () => {
        underflowStack(l, top);
        l.return();
      });
      const a = readRegister(l, top);
      const r = callNumber(l, operation, a.significand, a.signExponent);
      l.if(l.call(report), () => writeRegister(l, top, r));
    },
  });
}

export const stackSquareRoot: FunctionRef = unary('x87StackSquareRoot', squareRoot);

const UNORDERED = SW.c0 | SW.c2 | SW.c3;

/**
 * Compares two numbers; gives C0, C2 and C3. `quiet` is 1 when quiet NaNs raise nothing (FUCOM).
 */
const compare: FunctionRef = fn('x87Compare', {
  params: {
    aSignificand: 'i64',
    aSignExponent: 'i32',
    bSignificand: 'i64',
    bSignExponent: 'i32',
    quiet: 'i32',
  },
  result: 'i32',
  build(l, p) {
    const a = { significand: p.aSignificand, signExponent: p.aSignExponent };
    const b = { significand: p.bSignificand, signExponent: p.bSignExponent };
    l.if(isUnsupported(a).or(isUnsupported(b)), () => {
      l.set(S.x87Raised, SW.ie);
      l.return(UNORDERED);
    });
    l.if(isNan(a).or(isNan(b)), () => {
      const signals = isSignaling(a).or(isSignaling(b)).or(p.quiet.eqz());
      l.set(S.x87Raised, signals);
      l.return(UNORDERED);
    });
    raise(l, isDenormal(a).or(isDenormal(b)).mul(SW.de));
    const zeros = a.significand.or(b.significand).eqz();
    l.if(zeros, () => l.return(SW.c3));
    l.if(signOf(a).ne(signOf(b)), () => l.return(l.select(signOf(a), l.i32(SW.c0), 0)));
    // Denormals have the exponent of the smallest normal number.
    const key = (x: Extended) => l.let(l.select(exponentOf(x).eqz(), l.i32(1), exponentOf(x)));
    const aKey = key(a);
    const bKey = key(b);
    const same = aKey.eq(bKey);
    l.if(same.and(a.significand.eq(b.significand)), () => l.return(SW.c3));
    const less = aKey.ltu(bKey).or(same.and(a.significand.ltu(b.significand)));
    l.return(l.select(less.ne(signOf(a).nez()), l.i32(SW.c0), 0));
  },
});

/** Pops `count` times (0–2). */
function popTimes(l: Lift, count: Value): void {
  l.if(count, () => pop(l));
  l.if(count.eq(2), () => pop(l));
}

/** Reports a comparison and sets C0, C2 and C3; pops unless an unmasked exception was met. */
function finishCompare(l: Lift, conditions: Value, pops: Value): void {
  const goesOn = l.call(report);
  const kept = l.get(S.x87Status).and(~UNORDERED);
  l.set(S.x87Status, kept.or(conditions));
  l.if(goesOn, () => popTimes(l, pops));
}

/** FCOM and FUCOM with ST(i). */
export const compareStack: FunctionRef = fn('x87CompareStack', {
  params: { source: 'i32', pops: 'i32', quiet: 'i32' },
  build(l, { source, pops, quiet }) {
    const top = physical(l, 0);
    const other = physical(l, source);
    l.set(S.x87Raised, 0);
    l.unlikely(isEmpty(l, top).or(isEmpty(l, other)), () => {
      l.set(S.x87Raised, SW.ie | SW.sf);
      finishCompare(l, l.i32(UNORDERED), pops);
      l.return();
    });
    const a = readRegister(l, top);
    const b = readRegister(l, other);
    const c = l.call(compare, a.significand, a.signExponent, b.significand, b.signExponent, quiet);
    finishCompare(l, c, pops);
  },
});

/** FCOM with a number from memory, and FTST. */
export const compareNumber: FunctionRef = fn('x87CompareNumber', {
  params: { significand: 'i64', signExponent: 'i32', pops: 'i32' },
  build(l, { significand, signExponent, pops }) {
    const top = physical(l, 0);
    l.unlikely(isEmpty(l, top), () => {
      l.set(S.x87Raised, SW.ie | SW.sf);
      finishCompare(l, l.i32(UNORDERED), pops);
      l.return();
    });
    const a = readRegister(l, top);
    const c = l.call(compare, a.significand, a.signExponent, significand, signExponent, 0);
    finishCompare(l, c, pops);
  },
});

/** FCOMI and FUCOMI: gives the conditions, which the caller turns into CF, PF and ZF. */
export const compareFlags: FunctionRef = fn('x87CompareFlags', {
  params: { source: 'i32', pops: 'i32', quiet: 'i32' },
  result: 'i32',
  build(l, { source, pops, quiet }) {
    const top = physical(l, 0);
    const other = physical(l, source);
    l.set(S.x87Raised, 0);
    const c = l.choose(
      isEmpty(l, top).or(isEmpty(l, other)),
      'i32',
      () => {
        l.set(S.x87Raised, SW.ie | SW.sf);
        return l.i32(UNORDERED);
      },
      () => {
        const a = readRegister(l, top);
        const b = readRegister(l, other);
        return l.call(compare, a.significand, a.signExponent, b.significand, b.signExponent, quiet);
      },
    );
    l.if(l.call(report), () => popTimes(l, pops));
    l.return(c);
  },
});

/** FXAM. SDM vol 2A table 3-42. C1 is the sign, also of an empty register. */
export const examine: FunctionRef = fn('x87Examine', {
  params: {},
  build(l) {
    const top = physical(l, 0);
    const x = readRegister(l, top);
    const kind = l.var('i32', SW.c2);
    l.if(
      isEmpty(l, top),
      () => kind.set(SW.c3 | SW.c0),
      () => {
        l.if(
          isUnsupported(x),
          () => kind.set(0),
          () => {
            l.if(isNan(x), () => kind.set(SW.c0));
            l.if(exponentOf(x).eq(0x7fff).and(isNan(x).eqz()), () => kind.set(SW.c2 | SW.c0));
            l.if(exponentOf(x).eqz(), () =>
              kind.set(l.select(x.significand.eqz(), l.i32(SW.c3), SW.c3 | SW.c2)),
            );
          },
        );
      },
    );
    const sign = signOf(x).nez().mul(SW.c1);
    l.set(S.x87Status, l.get(S.x87Status).and(~SW.conditions).or(kind.get()).or(sign));
  },
});
