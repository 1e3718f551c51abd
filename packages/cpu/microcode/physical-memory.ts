// Guest-physical memory as microcode reaches it: RAM in shared memory, and the bus for everything else.

import { type FunctionRef, fn, imported } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { S } from '../state/layout.ts';
import { PAGE, PAGE_FLAGS_BASE, RAM_BASE } from '../state/memory-map.ts';

/** MMIO: the access leaves the processor. Address, size in bytes 1–8; values zero-extended. */
export const busRead: FunctionRef = imported('busRead', { gpa: 'i64', bytes: 'i32' }, 'i64');
export const busWrite: FunctionRef = imported('busWrite', {
  gpa: 'i64',
  bytes: 'i32',
  value: 'i64',
});
/**
 * Around a write to a page with decoded code: the first drops what the write overlaps, and nobody decodes before the second.
 */
const beginCodeWrite: FunctionRef = imported('beginCodeWrite', { gpa: 'i32', bytes: 'i32' });
const endCodeWrite: FunctionRef = imported('endCodeWrite', { gpa: 'i32', bytes: 'i32' });
/** Physical address width that CPUID leaf 0x80000008 tells. */
export const PHYSICAL_BITS = 40;

/** Host address of a byte of guest RAM, or 0 where RAM is not. */
export const ramAddress: FunctionRef = fn('ramAddress', {
  params: { gpa: 'i64' },
  result: 'i32',
  build(l, { gpa }) {
    l.if(gpa.geu(l.get(S.ramBytes)), () => l.return(0));
    const page = l.let(gpa.i32().shru(12));
    l.if(l.loadRaw('i32.load8_u', page, PAGE_FLAGS_BASE).and(PAGE.notRam), () => l.return(0));
    l.return(gpa.i32().add(RAM_BASE));
  },
});

export const physicalLoad64: FunctionRef = fn('physicalLoad64', {
  params: { gpa: 'i64' },
  result: 'i64',
  build(l, { gpa }) {
    const host = l.call(ramAddress, gpa);
    l.if(host.eqz(), () => l.return(l.call(busRead, gpa, 8)));
    l.return(l.loadRaw('i64.load', host));
  },
});
export const physicalLoad32: FunctionRef = fn('physicalLoad32', {
  params: { gpa: 'i64' },
  result: 'i64',
  build(l, { gpa }) {
    const host = l.call(ramAddress, gpa);
    l.if(host.eqz(), () => l.return(l.call(busRead, gpa, 4)));
    l.return(l.loadRaw('i64.load32_u', host));
  },
});

/** Sets a page's dirty flag. Others set the other flags at the same time. */
export function markDirty(l: Lift, page: Value, flags: Value): void {
  l.if(flags.and(PAGE.dirty).eqz(), () =>
    l.atomic('i32.atomic.rmw8.or_u', page, PAGE_FLAGS_BASE, l.i32(PAGE.dirty)),
  );
}

/** Before a write to RAM behind the TLB's back: marks the page dirty, gives whether it has code, which is dropped. */
const beginWrite: FunctionRef = fn('beginWrite', {
  params: { host: 'i32', bytes: 'i32' },
  result: 'i32',
  build(l, { host, bytes }) {
    const gpa = l.let(host.sub(RAM_BASE));
    const page = l.let(gpa.shru(12));
    const flags = l.loadRaw('i32.load8_u', page, PAGE_FLAGS_BASE);
    markDirty(l, page, flags);
    l.if(flags.and(PAGE.hasCode).eqz(), () => l.return(0));
    l.run(beginCodeWrite, gpa, bytes);
    l.return(1);
  },
});

/**
 * A write to RAM behind the TLB's back, within a page: marks the page dirty and drops code made from it. `write` neither
 * faults nor leaves; what it computes for later it has to put into a local.
 */
export function writeRam<T>(l: Lift, host: Value, bytes: Value | number, write: () => T): T {
  const hasCode = l.let(l.call(beginWrite, host, bytes));
  const result = write();
  l.unlikely(hasCode, () => l.run(endCodeWrite, host.sub(RAM_BASE), bytes));
  return result;
}
