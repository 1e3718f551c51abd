// MOV to CR0, CR3, CR4, CR8, LMSW, and what follows: modes, TLB flushes, PDPTE loads. SDM vol 2B, MOV (control
// registers); vol 3A §2.5, §4.4.1, §9.8.5 (entering and leaving IA-32e mode).

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { CR0, CR4, EFER } from '../state/control-bits.ts';
import { S, SEGMENT } from '../state/layout.ts';
import { systemTypeOf } from './descriptor.ts';
import { seesTime } from './exact.ts';
import { VECTOR } from './fault.ts';
import { apicReadTpr, apicWriteTpr } from './host.ts';
import { updateMode } from './mode.ts';
import { PHYSICAL_BITS, physicalLoad64 } from './physical-memory.ts';
import { ATTRIBUTES } from './segment-access.ts';
import { flushNotGlobal, flushTlb } from './tlb.ts';

/** Bits of CR0 that exist; writes to the others are ignored. */
const CR0_BITS =
  CR0.pe | CR0.mp | CR0.em | CR0.ts | CR0.ne | CR0.wp | CR0.am | CR0.nw | CR0.cd | CR0.pg;
/** Changes of these bits change what the TLB would say. */
const CR0_PAGING = CR0.pg | CR0.wp | CR0.pe;
/** What CPUID offers; setting another bit raises #GP(0). */
const CR4_BITS =
  CR4.tsd | CR4.de | CR4.pse | CR4.pae | CR4.mce | CR4.pge | CR4.pce | CR4.osfxsr | CR4.osxmmexcpt |
  CR4.umip | CR4.fsgsbase | CR4.pcide | CR4.osxsave | CR4.smep | CR4.smap; // biome-ignore format: a set of bits
const CR4_PAGING = CR4.pse | CR4.pae | CR4.pge | CR4.pcide | CR4.smep | CR4.smap;
const PHYSICAL_MASK = (1n << BigInt(PHYSICAL_BITS)) - 1n;
/** PDPTE bits 2–1, 8–5 and those beyond the physical address. SDM vol 3A table 4-8. */
const PDPTE_RESERVED = 0x1e6n | ~PHYSICAL_MASK;
const PCID_KEEP = 1n << 63n;
const PCID_MASK = 0xfffn;

/** PAE paging reads its four top entries now: #GP(0) for one that is present with reserved bits set. */
const loadPdptes: FunctionRef = fn('loadPdptes', {
  params: { cr3: 'i64' },
  faults: true,
  build(l, { cr3 }) {
    const table = l.let(cr3.and(0xffff_ffe0n));
    const entries = [0, 1, 2, 3].map((n) => l.call(physicalLoad64, table.add(8 * n)));
    for (const entry of entries) {
      l.raiseIf(entry.and(1n).nez().and(entry.and(PDPTE_RESERVED).nez()), VECTOR.gp, 0);
    }
    for (const [n, entry] of entries.entries()) l.set(S.pdpte, entry, n);
  },
});

/** Loads the PDPTEs when these values of CR0, CR4 and EFER mean PAE paging. */
function loadPdptesIfPae(l: Lift, m: { cr0: Value; cr4: Value; efer: Value; cr3: Value }): void {
  const isPae = m.cr0.and(CR0.pg).nez().and(m.cr4.and(CR4.pae).nez());
  l.if(isPae.and(m.efer.and(EFER.lme).eqz()), () => l.run(loadPdptes, m.cr3));
}

export const writeCr0: FunctionRef = fn('writeCr0', {
  params: { value: 'i64' },
  faults: true,
  build(l, { value }) {
    const old = l.let(l.get(S.cr0).i32());
    const cr0 = l.let(value.i32().and(CR0_BITS).or(CR0.et));
    const cr4 = l.let(l.get(S.cr4).i32());
    const efer = l.let(l.get(S.efer).i32());
    const isPaging = l.let(cr0.and(CR0.pg).nez());
    const isInvalid = isPaging
      .and(cr0.and(CR0.pe).eqz())
      .or(cr0.and(CR0.nw).nez().and(cr0.and(CR0.cd).eqz()))
      .or(value.shru(32).nez());
    l.raiseIf(isInvalid, VECTOR.gp, 0);
    const isTurnedOn = l.let(isPaging.and(old.and(CR0.pg).eqz()));
    const isTurnedOff = l.let(isPaging.eqz().and(old.and(CR0.pg).nez()));
    const isLong = l.let(efer.and(EFER.lme).nez());
    l.if(isTurnedOn.and(isLong), () => {
      const cs = l.get(S.segAttributes, SEGMENT.cs).and(ATTRIBUTES.long).nez();
      const isTss16 = systemTypeOf(l.get(S.segAttributes, SEGMENT.tr)).and(0xd).eq(1);
      l.raiseIf(cr4.and(CR4.pae).eqz().or(cs).or(isTss16), VECTOR.gp, 0);
    });
    const isIn64 = l.get(S.codeBits).eq(64);
    const keepsPcid = cr4.and(CR4.pcide).nez();
    l.raiseIf(isTurnedOff.and(isIn64.or(keepsPcid)), VECTOR.gp, 0);
    const reloads = old.xor(cr0).and(CR0.pg | CR0.cd | CR0.nw);
    l.if(reloads, () => loadPdptesIfPae(l, { cr0, cr4, efer, cr3: l.get(S.cr3) }));
    l.if(isTurnedOn.and(isLong), () => l.set(S.efer, l.get(S.efer).or(BigInt(EFER.lma))));
    l.if(isTurnedOff, () => l.set(S.efer, l.get(S.efer).and(~BigInt(EFER.lma))));
    l.set(S.cr0, cr0.u64());
    l.if(old.xor(cr0).and(CR0_PAGING), () => l.run(flushTlb));
    l.run(updateMode);
  },
});

export const writeCr3: FunctionRef = fn('writeCr3', {
  params: { value: 'i64' },
  faults: true,
  build(l, { value }) {
    const cr4 = l.let(l.get(S.cr4).i32());
    const efer = l.let(l.get(S.efer).i32());
    const hasPcid = l.let(cr4.and(CR4.pcide).nez());
    // With PCIDs bit 63 asks to keep translations: allowed, not needed. Deviation: only global ones are kept.
    const address = l.let(l.select(hasPcid, value.and(PCID_KEEP - 1n), value));
    l.raiseIf(address.and(~PHYSICAL_MASK).nez(), VECTOR.gp, 0);
    loadPdptesIfPae(l, { cr0: l.get(S.cr0).i32(), cr4, efer, cr3: address });
    l.set(S.cr3, address);
    l.run(flushNotGlobal);
  },
});

export const writeCr4: FunctionRef = fn('writeCr4', {
  params: { value: 'i64' },
  faults: true,
  build(l, { value }) {
    const old = l.let(l.get(S.cr4).i32());
    const cr4 = l.let(value.i32());
    const cr0 = l.let(l.get(S.cr0).i32());
    const efer = l.let(l.get(S.efer).i32());
    const isLong = l.let(efer.and(EFER.lma).nez());
    l.raiseIf(value.and(~BigInt(CR4_BITS)).nez(), VECTOR.gp, 0);
    l.raiseIf(isLong.and(cr4.and(CR4.pae).eqz()), VECTOR.gp, 0);
    const setsPcid = cr4.and(CR4.pcide).nez().and(old.and(CR4.pcide).eqz());
    const hasPcid = l.get(S.cr3).and(PCID_MASK).nez();
    l.raiseIf(setsPcid.and(isLong.eqz().or(hasPcid)), VECTOR.gp, 0);
    const changed = l.let(old.xor(cr4));
    l.if(changed.and(CR4.pse | CR4.pae | CR4.pge | CR4.smep), () =>
      loadPdptesIfPae(l, { cr0, cr4, efer, cr3: l.get(S.cr3) }),
    );
    l.set(S.cr4, cr4.u64());
    l.if(changed.and(CR4_PAGING), () => l.run(flushTlb));
    l.run(updateMode);
  },
});

/** MOV from a control register. Raises #UD for those that do not exist. */
export const readControlRegister: FunctionRef = fn('readControlRegister', {
  params: { number: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { number }) {
    checkControlRegister(l, number);
    l.switch(number, [
      () => l.return(l.get(S.cr0)),
      () => {},
      () => l.return(l.get(S.cr2)),
      () => l.return(l.get(S.cr3)),
      () => l.return(l.get(S.cr4)),
    ]);
    seesTime(l);
    l.return(l.call(apicReadTpr).u64());
  },
});

/** MOV to a control register. */
export const writeControlRegister: FunctionRef = fn('writeControlRegister', {
  params: { number: 'i32', value: 'i64' },
  faults: true,
  build(l, { number, value }) {
    checkControlRegister(l, number);
    l.switch(
      number,
      [
        () => l.run(writeCr0, value),
        () => {},
        () => l.set(S.cr2, value),
        () => l.run(writeCr3, value),
        () => l.run(writeCr4, value),
      ],
      () => {
        l.raiseIf(value.gtu(15n), VECTOR.gp, 0);
        seesTime(l);
        l.run(apicWriteTpr, value.i32());
      },
    );
  },
});

/** CR0, CR2, CR3, CR4 and CR8, at level 0. CR8 can only be encoded in 64-bit mode. */
function checkControlRegister(l: Lift, number: Value): void {
  const exists = l.i32(0b1_0001_1101).shru(number).and(1).and(number.leu(8));
  l.raiseIf(exists.eqz(), VECTOR.ud);
  l.raiseIf(l.get(S.cpl).nez(), VECTOR.gp, 0);
}
