// Linear addresses to memory: the TLB and the slow paths of loads and stores; page-walk.ts finds what the TLB lacks.
// A TLB entry exists only where an access needs no further thought: plain RAM, permitted at the TLB's privilege and,
// for writes, already dirty and without cached code. Everything else comes through here each time.

import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import { FAULT_HAS_CODE, FAULT_NON_CANONICAL, FAULT_PENDING, type Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { CR0, CR4, EFER } from '../state/control-bits.ts';
import { S, TLB_BYTES, TLB_ENTRY, TLB_MODE, TLB_OFFSET, TLB_PAGE } from '../state/layout.ts';
import { PAGE, PAGE_FLAGS_BASE, RAM_BASE } from '../state/memory-map.ts';
import { checkDataBreakpoint } from './debug-register.ts';
import { seesTime } from './exact.ts';
import { PF, PTE, walk } from './page-walk.ts';
import { busRead, busWrite, markDirty, ramAddress, writeRam } from './physical-memory.ts';
import { emptyTag, noteEntry, tlbEntry } from './tlb.ts';

/** #GP(0), or #SS(0) when the access went through SS: the engine knows which when it delivers the fault. */
function checkCanonical(l: Lift, linear: Value): void {
  l.unlikely(linear.shl(16).shrs(16).ne(linear), () => {
    l.unlikely(l.get(S.efer).i32().and(EFER.lma), () => {
      l.set(S.fault, FAULT_PENDING | FAULT_HAS_CODE | FAULT_NON_CANONICAL | 13);
      l.set(S.faultCode, 0);
      l.exit('fault');
    });
  });
}

/**
 * Translates for one access through the given TLB, fills its entry where that is allowed, and gives the host address
 * of the byte, or 0 when the access must go to the bus. S.result[1] is the guest-physical address.
 */
export const translate: FunctionRef = fn('translate', {
  params: { linear: 'i64', access: 'i32', tlb: 'i32' },
  result: 'i32',
  faults: true,
  build(l, { linear, access, tlb }) {
    checkCanonical(l, linear);
    const mode = l.let(tlb.sub(l.cpu).sub(TLB_OFFSET).divu(TLB_BYTES));
    const smap = l.get(S.cr4).i32().and(CR4.smap).nez().and(l.get(S.rflags).and(RFLAGS.ac).eqz());
    const smapEnforced = mode.eq(TLB_MODE.supervisorSmap).or(mode.eq(TLB_MODE.checked).and(smap));
    const gpa = l.call(walk, linear, access, smapEnforced);
    l.set(S.result, gpa, 1);
    const rights = l.get(S.result);
    const host = l.call(ramAddress, gpa);
    l.if(host.eqz().or(mode.eq(TLB_MODE.checked)), () => l.return(host));
    const isGlobal = l.let(rights.i32().and(PTE.global));
    const isLarge = l.let(rights.i32().and(PTE.large));
    noteEntry(l, { mode, linear, isGlobal, isLarge });
    const entry = l.let(tlbEntry(l, tlb, linear));
    const page = l.let(gpa.i32().shru(12));
    const flags = l.loadRaw('i32.load8_u', page, PAGE_FLAGS_BASE);
    const tag = l.let(linear.and(~0xfffn));
    const none = emptyTag(l, linear);
    // The same page may sit in the entry already with other rights: what was proven for it stays.
    const kind = isGlobal.shl(TLB_PAGE.globalShift).or(isLarge.shl(TLB_PAGE.largeShift));
    const pageWord = l.let(page.or(kind));
    const samePage = l.let(l.loadRaw('i32.load', entry, TLB_ENTRY.page).eq(pageWord));
    const keep = (field: number, now: Value) => {
      const old = l.loadRaw('i64.load', entry, field);
      l.storeRaw('i64.store', entry, field, l.select(now.or(samePage.and(old.eq(tag))), tag, none));
    };
    const isFetch = l.let(access.and(PF.fetch).nez());
    const writes = l.let(access.and(PF.write).nez());
    keep(TLB_ENTRY.readTag, isFetch.eqz());
    keep(TLB_ENTRY.executeTag, isFetch);
    // A page with cached code never gets a write tag: writeRam must see each write.
    const plain = flags.and(PAGE.hasCode).eqz();
    l.if(writes, () => markDirty(l, page, flags));
    keep(TLB_ENTRY.writeTag, writes.and(plain).and(rights.i32().and(PTE.dirty).nez()));
    l.storeRaw('i32.store', entry, TLB_ENTRY.page, pageWord);
    l.storeRaw('i32.store', entry, TLB_ENTRY.addend, host.sub(linear.i32()));
    l.return(host);
  },
});

/** The first byte of the page behind an access that crosses into it; wraps at 4 GiB outside long mode. */
function nextPage(l: Lift, linear: Value): Value {
  const next = l.let(linear.add(0xfffn).and(~0xfffn));
  const legacy = l.get(S.efer).i32().and(EFER.lma).eqz();
  return l.let(l.select(legacy, next.and(0xffff_ffffn), next));
}

/** Access bits of a data access at the current privilege; implicit supervisor accesses use the system TLB. */
export function dataAccess(l: Lift, tlb: Value, write: boolean): Value {
  const user = l
    .get(S.cpl)
    .eq(3)
    .and(tlb.ne(l.get(S.tlbSystem)));
  return l.let(
    l.select(user, l.i32(PF.user | (write ? PF.write : 0)), l.i32(write ? PF.write : 0)),
  );
}

/** In a checked mode: alignment check (SDM vol 3A §6.15, #AC) and data breakpoints. */
function checkedAccess(l: Lift, linear: Value, bytes: Value, tlb: Value, write: boolean): void {
  l.unlikely(tlb.eq(l.cpu.add(TLB_OFFSET + TLB_MODE.checked * TLB_BYTES)), () => {
    checkCanonical(l, linear);
    const checksAlignment = l
      .get(S.cpl)
      .eq(3)
      .and(l.get(S.rflags).and(RFLAGS.ac).nez())
      .and(l.get(S.cr0).i32().and(CR0.am).nez());
    l.raiseIf(checksAlignment.and(linear.i32().and(bytes.sub(1)).nez()), 17, 0);
    l.run(checkDataBreakpoint, linear, bytes, write ? 1 : 0);
  });
}

export const loadSlow: FunctionRef = fn('loadSlow', {
  params: { linear: 'i64', bytes: 'i32', tlb: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { linear, bytes, tlb }) {
    checkedAccess(l, linear, bytes, tlb, false);
    const access = dataAccess(l, tlb, false);
    const host = l.call(translate, linear, access, tlb);
    const gpa = l.get(S.result, 1);
    const inPage = l.let(l.i32(4096).sub(linear.i32().and(0xfff)));
    l.unlikely(bytes.gtu(inPage), () => {
      const next = nextPage(l, linear);
      const nextHost = l.call(translate, next, access, tlb);
      const nextGpa = l.get(S.result, 1);
      l.if(host.eqz().or(nextHost.eqz()), () => seesTime(l));
      const value = l.var('i64', 0n);
      const index = l.var('i32', 0);
      l.while(
        () => index.get().ltu(bytes),
        () => {
          const n = index.get();
          const first = l.let(n.ltu(inPage));
          const at = l.let(l.select(first, host, nextHost));
          const delta = l.let(l.select(first, n, n.sub(inPage)));
          const byte = l.choose(
            at.nez(),
            'i64',
            () => l.loadRaw('i64.load8_u', at.add(delta)),
            () => l.call(busRead, l.select(first, gpa, nextGpa).add(delta.u64()), 1),
          );
          value.set(value.get().or(byte.shl(n.shl(3))));
          index.set(n.add(1));
        },
      );
      l.return(value.get());
    });
    l.if(host.eqz(), () => {
      seesTime(l);
      l.return(l.call(busRead, gpa, bytes));
    });
    l.switch(bytes.ctz(), [
      () => l.return(l.loadRaw('i64.load8_u', host)),
      () => l.return(l.loadRaw('i64.load16_u', host)),
      () => l.return(l.loadRaw('i64.load32_u', host)),
    ]);
    l.return(l.loadRaw('i64.load', host));
  },
});

export const storeSlow: FunctionRef = fn('storeSlow', {
  params: { linear: 'i64', value: 'i64', bytes: 'i32', tlb: 'i32' },
  faults: true,
  build(l, { linear, value, bytes, tlb }) {
    checkedAccess(l, linear, bytes, tlb, true);
    const access = dataAccess(l, tlb, true);
    const host = l.call(translate, linear, access, tlb);
    const gpa = l.get(S.result, 1);
    const inPage = l.let(l.i32(4096).sub(linear.i32().and(0xfff)));
    l.unlikely(bytes.gtu(inPage), () => {
      const next = nextPage(l, linear);
      const nextHost = l.call(translate, next, access, tlb);
      const nextGpa = l.get(S.result, 1);
      l.if(host.eqz().or(nextHost.eqz()), () => seesTime(l));
      const index = l.var('i32', 0);
      l.while(
        () => index.get().ltu(bytes),
        () => {
          const n = index.get();
          const first = l.let(n.ltu(inPage));
          const at = l.let(l.select(first, host, nextHost));
          const delta = l.let(l.select(first, n, n.sub(inPage)));
          const byte = l.let(value.shru(n.shl(3)));
          l.if(
            at.nez(),
            () => {
              const to = l.let(at.add(delta));
              writeRam(l, to, 1, () => l.storeRaw('i64.store8', to, 0, byte));
            },
            () =>
              l.run(busWrite, l.select(first, gpa, nextGpa).add(delta.u64()), 1, byte.and(0xffn)),
          );
          index.set(n.add(1));
        },
      );
      l.return();
    });
    l.if(host.eqz(), () => {
      seesTime(l);
      l.run(busWrite, gpa, bytes, value);
      l.return();
    });
    writeRam(l, host, bytes, () =>
      l.switch(
        bytes.ctz(),
        [
          () => l.storeRaw('i64.store8', host, 0, value),
          () => l.storeRaw('i64.store16', host, 0, value),
          () => l.storeRaw('i64.store32', host, 0, value),
        ],
        () => l.storeRaw('i64.store', host, 0, value),
      ),
    );
  },
});

/** Proves that a write of `bytes` bytes cannot fault. Gives the host address when it is plain RAM in one page, else 0. */
export const probeWrite: FunctionRef = fn('probeWrite', {
  params: { linear: 'i64', bytes: 'i32', tlb: 'i32' },
  result: 'i32',
  faults: true,
  build(l, { linear, bytes, tlb }) {
    const access = dataAccess(l, tlb, true);
    const host = l.call(translate, linear, access, tlb);
    l.if(host.eqz(), () => seesTime(l));
    l.unlikely(bytes.gtu(l.i32(4096).sub(linear.i32().and(0xfff))), () => {
      const next = l.call(translate, nextPage(l, linear), access, tlb);
      l.if(next.eqz(), () => seesTime(l));
      l.return(0);
    });
    l.if(tlb.eq(l.cpu.add(TLB_OFFSET + TLB_MODE.checked * TLB_BYTES)), () => l.return(0));
    const page = l.let(host.sub(RAM_BASE).shru(12));
    l.if(host.eqz().eqz(), () => {
      l.if(l.loadRaw('i32.load8_u', page, PAGE_FLAGS_BASE).and(PAGE.hasCode), () => l.return(0));
    });
    l.return(host);
  },
});

/** Host address for reading `bytes` bytes if they are plain RAM in one page that the TLB knows, else 0. Never faults. */
export const hostAddressForRead: FunctionRef = hostAddress('hostAddressForRead', TLB_ENTRY.readTag);
/** The same for writing: the page is dirty already and holds no decoded code. */
export const hostAddressForWrite: FunctionRef = hostAddress(
  'hostAddressForWrite',
  TLB_ENTRY.writeTag,
);

function hostAddress(name: string, tag: number): FunctionRef {
  return fn(name, {
    params: { linear: 'i64', bytes: 'i32' },
    result: 'i32',
    build(l, { linear, bytes }) {
      const entry = l.let(tlbEntry(l, l.get(S.tlb), linear));
      const offset = l.let(linear.sub(l.loadRaw('i64.load', entry, tag)));
      l.if(offset.gtu(l.i32(4096).sub(bytes).u64()), () => l.return(0));
      l.return(linear.i32().add(l.loadRaw('i32.load', entry, TLB_ENTRY.addend)));
    },
  });
}

/**
 * Guest-physical address of an instruction byte; raises #PF or #GP. Only RAM can hold code that runs:
 * elsewhere the address is given all the same and the decoder finds nothing there.
 */
export const translateFetch: FunctionRef = fn('translateFetch', {
  params: { linear: 'i64' },
  result: 'i64',
  faults: true,
  build(l, { linear }) {
    const tlb = l.get(S.tlbFetch);
    const entry = l.let(tlbEntry(l, tlb, linear));
    l.if(linear.and(~0xfffn).eq(l.loadRaw('i64.load', entry, TLB_ENTRY.executeTag)), () => {
      const page = l.let(l.loadRaw('i32.load', entry, TLB_ENTRY.page));
      l.set(S.fetchGlobal, page.and(TLB_PAGE.global));
      l.return(page.and(TLB_PAGE.number).u64().shl(12).or(linear.and(0xfffn)));
    });
    const access = l.let(l.select(l.get(S.cpl).eq(3), l.i32(PF.fetch | PF.user), l.i32(PF.fetch)));
    l.call(translate, linear, access, tlb);
    l.set(S.fetchGlobal, l.get(S.result).i32().and(PTE.global));
    l.return(l.get(S.result, 1));
  },
});
