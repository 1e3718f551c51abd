// LDTR and TR: LLDT and LTR. SDM vol 2A, LLDT, LTR; 16-byte descriptors in long mode (vol 3A §7.2.3).

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { S, SEGMENT } from '../state/layout.ts';
import {
  attributesOf,
  baseOf,
  changeDescriptorType,
  installNull,
  isLongMode,
  isNull,
  isPresent,
  isSystem,
  limitOf,
  loadDescriptor,
  loadDescriptorHigh,
  SYSTEM_TYPE,
  systemTypeOf,
} from './descriptor.ts';
import { raiseSelectorIf, VECTOR } from './fault.ts';
import { isNonCanonical } from './stack.ts';

/** Reads a system descriptor of the GDT with its base of 32 or 64 bits. Raises #GP(selector) or #NP(selector). */
function load(
  l: Lift,
  selector: Value,
  isType: (type: Value) => Value,
): { descriptor: Value; base: Value } {
  raiseSelectorIf(l, selector.and(4).nez(), VECTOR.gp, selector);
  const descriptor = l.call(loadDescriptor, selector, VECTOR.gp);
  const attributes = l.let(attributesOf(descriptor));
  const isValid = isSystem(attributes).and(isType(systemTypeOf(attributes)));
  raiseSelectorIf(l, isValid.eqz(), VECTOR.gp, selector);
  raiseSelectorIf(l, isPresent(attributes).eqz(), VECTOR.np, selector);
  const low = l.let(baseOf(descriptor));
  const base = l.choose(
    isLongMode(l),
    'i64',
    () => {
      const high = l.call(loadDescriptorHigh, selector, VECTOR.gp);
      const whole = l.let(low.or(high.shl(32)));
      const isBad = isNonCanonical(whole).or(high.shru(40).and(0x1fn).nez());
      raiseSelectorIf(l, isBad, VECTOR.gp, selector);
      return whole;
    },
    () => low,
  );
  return { descriptor, base };
}

function install(l: Lift, segment: number, selector: Value, base: Value, descriptor: Value): void {
  l.set(S.segSelector, selector, segment);
  l.set(S.segAttributes, attributesOf(descriptor), segment);
  l.set(S.segLimit, limitOf(l, descriptor), segment);
  l.set(S.segBase, base, segment);
}

export const loadLdt: FunctionRef = fn('loadLdt', {
  params: { selector: 'i32' },
  faults: true,
  build(l, { selector }) {
    l.if(isNull(selector), () => {
      l.run(installNull, SEGMENT.ldtr, selector);
      l.return();
    });
    const { descriptor, base } = load(l, selector, (type) => type.eq(SYSTEM_TYPE.ldt));
    install(l, SEGMENT.ldtr, selector, base, descriptor);
  },
});

export const loadTaskRegister: FunctionRef = fn('loadTaskRegister', {
  params: { selector: 'i32' },
  faults: true,
  build(l, { selector }) {
    l.raiseIf(isNull(selector), VECTOR.gp, 0);
    const isLong = isLongMode(l);
    const { descriptor, base } = load(l, selector, (type) => {
      const is32 = type.eq(SYSTEM_TYPE.tss32);
      return is32.or(type.eq(SYSTEM_TYPE.tss16).and(isLong.eqz()));
    });
    l.run(changeDescriptorType, selector, 0, 2);
    const busy = 2n << 40n;
    install(l, SEGMENT.tr, selector, base, descriptor.or(busy));
  },
});
