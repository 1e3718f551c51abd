// Microcode of translated code's memory accesses that its own look at the TLB did not answer. Each gives the host address
// to go on with, or 0 after a fault. It may well be in the TLB: code that has looked for one access looks at the same entry
// for those near it, which may lie in another page (passes/looks.ts).

import { type FunctionRef, fn } from '../lift/function.ts';
import { type AccessOptions, FAULT_PENDING, FAULT_RUN_ALONE, type Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { seesTime } from '../microcode/exact.ts';
import { dataAccess, loadSlow, translate } from '../microcode/memory.ts';
import { busWrite } from '../microcode/physical-memory.ts';
import { isNonCanonical } from '../microcode/stack.ts';
import { tlbEntry } from '../microcode/tlb.ts';
import { S, TLB_BYTES, TLB_ENTRY, TLB_MODE, TLB_OFFSET } from '../state/layout.ts';
import { PAGE, PAGE_FLAGS_BASE, RAM_BASE } from '../state/memory-map.ts';

/** What an access is, in one small number: the logarithm of its bytes, and flags. */
const KIND = {
  size: 7,
  /** An address that is not canonical raises #SS(0). */
  stack: 8,
  /** Through the TLB of implicit supervisor accesses. */
  system: 16,
} as const;
const STACK_FAULT = 12;

export function accessKind(bytes: number, options: AccessOptions = {}): number {
  const flags = (options.stack ? KIND.stack : 0) | (options.system ? KIND.system : 0);
  return Math.log2(bytes) | flags;
}

/** Nothing is wrong, but the instruction is one for the interpreter; nothing of it has been done. */
function leave(l: Lift): void {
  l.set(S.fault, FAULT_PENDING | FAULT_RUN_ALONE);
  l.exit('fault');
}

function tlbOf(l: Lift, kind: Value): Value {
  return l.let(l.select(kind.and(KIND.system), l.get(S.tlbSystem), l.get(S.tlb)));
}

/** Returns the address from the function if the TLB has it. */
function returnKnown(l: Lift, a: { linear: Value; bytes: Value; tlb: Value; tag: number }): void {
  const entry = l.let(tlbEntry(l, a.tlb, a.linear));
  const offset = a.linear.sub(l.loadRaw('i64.load', entry, a.tag));
  l.if(offset.leu(l.i32(4096).sub(a.bytes).u64()), () =>
    l.return(a.linear.i32().add(l.loadRaw('i32.load', entry, TLB_ENTRY.addend))),
  );
}

function checkStack(l: Lift, linear: Value, kind: Value): void {
  l.unlikely(kind.and(KIND.stack), () => l.raiseIf(isNonCanonical(linear), STACK_FAULT, 0));
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

/** Where the bytes can be read: in memory, or S.aside. */
export const readTranslated: FunctionRef = fn('readTranslated', {
  params: { linear: 'i64', kind: 'i32' },
  result: 'i32',
  zeroOnFault: true,
  build(l, { linear, kind }) {
    const size = l.let(kind.and(KIND.size));
    const bytes = l.let(l.i32(1).shl(size));
    const tlb = tlbOf(l, kind);
    returnKnown(l, { linear, bytes, tlb, tag: TLB_ENTRY.readTag });
    checkStack(l, linear, kind);
    const aside = l.cpu.add(S.aside.offset);
    l.if(
      size.eq(4),
      () => {
        const low = l.call(loadSlow, linear, 8, tlb);
        const high = l.call(loadSlow, linear.add(8n), 8, tlb);
        l.storeRaw('i64.store', aside, 0, low);
        l.storeRaw('i64.store', aside, 8, high);
      },
      () => l.storeRaw('i64.store', aside, 0, l.call(loadSlow, linear, bytes, tlb)),
    );
    l.return(aside);
  },
});

/** Where up to 8 bytes can be written: in memory, or, when the bus has got them already, S.aside. */
export const writeTranslated: FunctionRef = fn('writeTranslated', {
  params: { linear: 'i64', value: 'i64', kind: 'i32' },
  result: 'i32',
  zeroOnFault: true,
  build(l, { linear, value, kind }) {
    const bytes = l.let(l.i32(1).shl(kind.and(KIND.size)));
    const tlb = tlbOf(l, kind);
    returnKnown(l, { linear, bytes, tlb, tag: TLB_ENTRY.writeTag });
    checkStack(l, linear, kind);
    const host = writableHost(l, linear, bytes, tlb);
    l.if(host, () => l.return(host));
    seesTime(l);
    l.run(busWrite, l.get(S.result, 1), bytes, value);
    l.unlikely(l.get(S.fault), () => l.exit('fault'));
    l.return(l.cpu.add(S.aside.offset));
  },
});

/** Host address for a read-modify-write. */
export const probeTranslated: FunctionRef = fn('probeTranslated', {
  params: { linear: 'i64', kind: 'i32' },
  result: 'i32',
  zeroOnFault: true,
  build(l, { linear, kind }) {
    const bytes = l.let(l.i32(1).shl(kind.and(KIND.size)));
    const tlb = tlbOf(l, kind);
    returnKnown(l, { linear, bytes, tlb, tag: TLB_ENTRY.writeTag });
    const host = writableHost(l, linear, bytes, tlb);
    l.unlikely(host.eqz(), () => leave(l));
    l.return(host);
  },
});
