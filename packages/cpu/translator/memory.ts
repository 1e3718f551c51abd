// Microcode of translated code's memory accesses that the TLB did not answer. They get the tag that did not match, and have
// no use for it: V8 loads a value twice that is only compared, and once if somebody wants it.

import { type FunctionRef, fn } from '../lift/function.ts';
import { FAULT_PENDING, FAULT_RUN_ALONE, type Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { seesTime } from '../microcode/exact.ts';
import { dataAccess, loadSlow, translate } from '../microcode/memory.ts';
import { busWrite } from '../microcode/physical-memory.ts';
import { isNonCanonical } from '../microcode/stack.ts';
import { S, TLB_BYTES, TLB_MODE, TLB_OFFSET } from '../state/layout.ts';
import { PAGE, PAGE_FLAGS_BASE, RAM_BASE } from '../state/memory-map.ts';

/** Added to the number of bytes: a stack access, where an address that is not canonical raises #SS(0). */
export const STACK_ACCESS = 0x100;
const BYTES = 0xff;
const STACK_FAULT = 12;

/** Nothing is wrong, but the instruction is one for the interpreter; nothing of it has been done. */
function leave(l: Lift): void {
  l.set(S.fault, FAULT_PENDING | FAULT_RUN_ALONE);
  l.exit('fault');
}

function checkStack(l: Lift, linear: Value, kind: Value): void {
  l.unlikely(kind.and(STACK_ACCESS), () => l.raiseIf(isNonCanonical(linear), STACK_FAULT, 0));
}

/** Host address for a write, or 0 on the bus; leaves for the interpreter when the page holds decoded code, when the access
 *  crosses a page, and in modes in which every access is looked at. */
function writableHost(l: Lift, linear: Value, bytes: Value, tlb: Value): Value {
  l.unlikely(tlb.eq(l.cpu.add(TLB_OFFSET + TLB_MODE.checked * TLB_BYTES)), () => leave(l));
  l.unlikely(linear.i32().and(0xfff).add(bytes).gtu(4096), () => leave(l));
  const host = l.call(translate, linear, dataAccess(l, tlb, true), tlb);
  const page = l.let(host.sub(RAM_BASE).shru(12));
  l.if(host, () => {
    const flags = l.loadRaw('i32.load8_u', page, PAGE_FLAGS_BASE);
    l.unlikely(flags.and(PAGE.hasCode), () => leave(l));
  });
  return host;
}

/** Up to 8 bytes; `kind` is their number, with STACK_ACCESS. */
export const loadTranslated: FunctionRef = fn('loadTranslated', {
  params: { linear: 'i64', kind: 'i32', tlb: 'i32', tag: 'i64' },
  result: 'i64',
  faults: true,
  build(l, { linear, kind, tlb }) {
    checkStack(l, linear, kind);
    l.return(l.call(loadSlow, linear, kind.and(BYTES), tlb));
  },
});

export const storeTranslated: FunctionRef = fn('storeTranslated', {
  params: { linear: 'i64', value: 'i64', kind: 'i32', tlb: 'i32', tag: 'i64' },
  result: 'i32',
  zeroOnFault: true,
  build(l, { linear, value, kind, tlb }) {
    checkStack(l, linear, kind);
    const bytes = l.let(kind.and(BYTES));
    const host = writableHost(l, linear, bytes, tlb);
    l.unlikely(host.eqz(), () => {
      seesTime(l);
      l.run(busWrite, l.get(S.result, 1), bytes, value);
      l.unlikely(l.get(S.fault), () => l.exit('fault'));
      l.return(1);
    });
    l.switch(
      bytes.ctz(),
      [
        () => l.storeRaw('i64.store8', host, 0, value),
        () => l.storeRaw('i64.store16', host, 0, value),
        () => l.storeRaw('i64.store32', host, 0, value),
      ],
      () => l.storeRaw('i64.store', host, 0, value),
    );
    l.return(1);
  },
});

/** Host address for a read-modify-write of `bytes` bytes. */
export const probeTranslated: FunctionRef = fn('probeTranslated', {
  params: { linear: 'i64', bytes: 'i32', tlb: 'i32', tag: 'i64' },
  result: 'i32',
  zeroOnFault: true,
  build(l, { linear, bytes, tlb }) {
    const host = writableHost(l, linear, bytes, tlb);
    l.unlikely(host.eqz(), () => leave(l));
    l.return(host);
  },
});
