// Linear addresses to memory: the TLB, the page walk (SDM vol 3A ch. 4) and the slow paths of loads and stores.
// A TLB entry exists only where an access needs no further thought: plain RAM, permitted at the TLB's privilege and,
// for writes, already dirty and without cached code. Everything else comes through here each time.

import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, fn, imported } from '../lift/function.ts';
import { FAULT_HAS_CODE, FAULT_NON_CANONICAL, FAULT_PENDING, type Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import {
  S,
  TLB_BYTES,
  TLB_ENTRIES,
  TLB_ENTRY,
  TLB_MODE,
  TLB_MODES,
  TLB_OFFSET,
} from '../state/layout.ts';
import { PAGE, PAGE_FLAGS_BASE, RAM_BASE } from '../state/memory-map.ts';
import { checkDataBreakpoint } from './debug-register.ts';

/** MMIO: the access leaves the processor. Address, size in bytes 1–8; values zero-extended. */
export const busRead: FunctionRef = imported('busRead', { gpa: 'i64', bytes: 'i32' }, 'i64');
export const busWrite: FunctionRef = imported('busWrite', {
  gpa: 'i64',
  bytes: 'i32',
  value: 'i64',
});
/** Drops decoded code that overlaps a write to RAM. */
export const invalidateCode: FunctionRef = imported('invalidateCode', { gpa: 'i32', bytes: 'i32' });

/** Bits of a page-fault error code, SDM vol 3A figure 4-12; also how an access is described to the walk. */
export const PF = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 } as const;
/** Physical address width that CPUID leaf 0x80000008 tells. */
export const PHYSICAL_BITS = 40;

const CR0_AM = 1 << 18;
const CR0_WP = 1 << 16;
const CR0_PG = 1 << 31;
const CR4 = { pse: 1 << 4, pae: 1 << 5, smep: 1 << 20, smap: 1 << 21 } as const;
const EFER = { lma: 1 << 10, nxe: 1 << 11 } as const;
const PTE = { present: 1, write: 2, user: 4, accessed: 0x20, dirty: 0x40, large: 0x80 } as const;
const ADDRESS_MASK = ((1n << BigInt(PHYSICAL_BITS)) - 1n) & ~0xfffn;
/** Bits 51..PHYSICAL_BITS must be zero. */
const RESERVED_HIGH = ((1n << 52n) - 1n) & ~((1n << BigInt(PHYSICAL_BITS)) - 1n);
/** Bits 62–52, which 4-level paging ignores, must be zero in PAE's entries. SDM vol 3A table 4-11. */
const RESERVED_PAE = ((1n << 63n) - 1n) & ~((1n << 52n) - 1n);
const NX = 1n << 63n;

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
const physicalLoad32: FunctionRef = fn('physicalLoad32', {
  params: { gpa: 'i64' },
  result: 'i64',
  build(l, { gpa }) {
    const host = l.call(ramAddress, gpa);
    l.if(host.eqz(), () => l.return(l.call(busRead, gpa, 4)));
    l.return(l.loadRaw('i64.load32_u', host));
  },
});
/** Sets bits in the low half of a page-table entry. */
const setEntryBits: FunctionRef = fn('setEntryBits', {
  params: { gpa: 'i64', bits: 'i32' },
  build(l, { gpa, bits }) {
    l.if(l.get(S.walkSilently), () => l.return());
    const host = l.call(ramAddress, gpa);
    l.if(host.eqz(), () => l.return());
    l.atomic('i32.atomic.rmw.or', host, 0, bits);
    l.run(noteWrite, host, 4);
  },
});

/** After a write to RAM behind the TLB's back: marks the page dirty, drops code made from it. */
export const noteWrite: FunctionRef = fn('noteWrite', {
  params: { host: 'i32', bytes: 'i32' },
  build(l, { host, bytes }) {
    const gpa = l.let(host.sub(RAM_BASE));
    const page = l.let(gpa.shru(12));
    const flags = l.loadRaw('i32.load8_u', page, PAGE_FLAGS_BASE);
    l.storeRaw('i32.store8', page, PAGE_FLAGS_BASE, flags.or(PAGE.dirty));
    l.unlikely(flags.and(PAGE.hasCode), () => l.run(invalidateCode, gpa, bytes));
  },
});

/** Records #PF for the address with the error code; the caller leaves. */
function raisePageFault(l: Lift, linear: Value, code: Value): void {
  l.set(S.faultAddress, linear);
  l.raise(14, code);
}

/** The parts of an entry check that all levels share; leaves with #PF when the entry does not allow going on. */
function checkEntry(l: Lift, w: Walk, entry: Value, reserved: Value): void {
  l.unlikely(entry.and(PTE.present).eqz().i32(), () =>
    raisePageFault(l, w.linear, w.code.and(~PF.present)),
  );
  l.unlikely(entry.and(reserved).nez(), () =>
    raisePageFault(l, w.linear, w.code.or(PF.present | PF.reserved)),
  );
}

interface Walk {
  readonly linear: Value;
  /** Error code without P and RSVD: W/R, U/S and I/D of the access (I/D only when NX or SMEP is on). */
  readonly code: Value;
}

/**
 * Walks the page tables for one access (a set of PF bits) and gives the guest-physical address. Raises #PF.
 * Leaves in S.result[0] what the leaf allows: the PTE bits write, user, dirty and NX, merged over all levels.
 */
export const walk: FunctionRef = fn('walk', {
  params: { linear: 'i64', access: 'i32', smapEnforced: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { linear, access, smapEnforced }) {
    l.if(l.get(S.cr0).i32().and(CR0_PG).eqz(), () => {
      l.set(S.result, BigInt(PTE.write | PTE.user | PTE.dirty));
      l.return(linear.and(0xffff_ffffn));
    });
    const cr4 = l.let(l.get(S.cr4).i32());
    const efer = l.let(l.get(S.efer).i32());
    const nxe = l.let(efer.and(EFER.nxe));
    // I/D is reported only when instruction fetches can be told apart (SDM vol 3A §4.7).
    const tellsNx = nxe.nez().and(cr4.and(CR4.pae).nez());
    const tellsFetch = tellsNx.or(cr4.and(CR4.smep).nez());
    const code = l.let(l.select(tellsFetch, access, access.and(~PF.fetch)));
    const w = { linear, code };
    const entryAddress = l.var('i64', 0n);
    const leaf = l.var('i64', 0n);
    const pageMask = l.var('i64', 0xfffn);
    const rights = l.var('i64', BigInt(PTE.write | PTE.user));
    const noExecute = l.var('i64', 0n);
    const nxReserved = l.let(l.select(nxe, l.i64(0), l.i64(NX)));
    l.if(
      cr4.and(CR4.pae).eqz(),
      () => walk32(l, w, { entryAddress, leaf, pageMask, rights }, cr4),
      () => walkLong(l, w, { entryAddress, leaf, pageMask, rights, noExecute }, efer, nxReserved),
    );
    const allowed = l.let(rights.get());
    checkRights(l, w, {
      access,
      smapEnforced,
      cr0: l.get(S.cr0).i32(),
      cr4,
      allowed,
      noExecute: noExecute.get(),
    });
    const want = l.let(
      l.select(access.and(PF.write), l.i32(PTE.accessed | PTE.dirty), l.i32(PTE.accessed)),
    );
    const entry = leaf.get();
    l.if(entry.i32().and(want).ne(want), () => l.run(setEntryBits, entryAddress.get(), want));
    l.set(S.result, allowed.or(entry.or(want.u64()).and(PTE.dirty)).or(noExecute.get()));
    const mask = pageMask.get();
    l.return(entry.and(mask.not()).and(ADDRESS_MASK).or(linear.and(mask)));
  },
});

interface Variables {
  readonly [name: string]: ReturnType<Lift['var']>;
}

/** Two-level paging, 4 KiB and 4 MiB pages (PSE-36). SDM vol 3A §4.3. */
function walk32(l: Lift, w: Walk, v: Variables, cr4: Value): void {
  const directory = l.let(l.get(S.cr3).and(0xffff_f000n).or(w.linear.shru(20).and(0xffcn)));
  const pde = l.call(physicalLoad32, directory);
  const large = l.let(pde.i32().and(PTE.large).nez().and(cr4.and(CR4.pse).nez()));
  // Bit 21 of a 4 MiB page's entry is reserved; bits 20–13 are address bits 39–32.
  checkEntry(l, w, pde, l.select(large, l.i64(1n << 21n), l.i64(0)));
  v.rights!.set(pde);
  l.if(
    large,
    () => {
      v.entryAddress!.set(directory);
      v.leaf!.set(pde.and(0xffc0_0fffn).or(pde.and(0x1f_e000n).shl(19)));
      v.pageMask!.set(0x3f_ffffn);
    },
    () => {
      setAccessed(l, directory, pde);
      const table = l.let(pde.and(0xffff_f000n).or(w.linear.shru(10).and(0xffcn)));
      const pte = l.call(physicalLoad32, table);
      checkEntry(l, w, pte, l.i64(0));
      v.rights!.set(pde.and(pte));
      v.entryAddress!.set(table);
      v.leaf!.set(pte);
    },
  );
}

/** PAE and 4-level paging: 4 KiB, 2 MiB and 1 GiB pages. SDM vol 3A §4.4, §4.5. */
function walkLong(l: Lift, w: Walk, v: Variables, efer: Value, nxReserved: Value): void {
  const table = l.var('i64', 0n);
  const isLong = l.let(efer.and(EFER.lma).nez());
  const high = l.select(isLong, l.i64(RESERVED_HIGH), l.i64(RESERVED_HIGH | RESERVED_PAE));
  const reserved = l.let(nxReserved.or(high));
  const index = (shift: number) => w.linear.shru(shift - 3).and(0xff8n);
  const enter = (address: Value, entry: Value) => {
    setAccessed(l, address, entry);
    v.rights!.set(v.rights!.get().and(entry));
    v.noExecute!.set(v.noExecute!.get().or(entry.and(NX)));
    table.set(entry.and(ADDRESS_MASK));
  };
  const leaf = (address: Value, entry: Value, mask: bigint) => {
    v.rights!.set(v.rights!.get().and(entry));
    v.noExecute!.set(v.noExecute!.get().or(entry.and(NX)));
    v.entryAddress!.set(address);
    v.leaf!.set(entry);
    v.pageMask!.set(mask);
  };
  l.block((found) => {
    l.if(
      isLong,
      () => {
        const top = l.let(l.get(S.cr3).and(ADDRESS_MASK).or(index(39)));
        const pml4e = l.call(physicalLoad64, top);
        checkEntry(l, w, pml4e, reserved.or(PTE.large));
        enter(top, pml4e);
        const address = l.let(table.get().or(index(30)));
        const pdpte = l.call(physicalLoad64, address);
        const large = l.let(pdpte.and(PTE.large).nez());
        checkEntry(l, w, pdpte, l.select(large, reserved.or(0x3fff_e000n), reserved));
        l.if(large, () => {
          leaf(address, pdpte, 0x3fff_ffffn);
          found();
        });
        enter(address, pdpte);
      },
      () => {
        // PAE: the four PDPTEs were loaded with CR3; they have no rights and no accessed bit.
        const pdpte = l.getAt(S.pdpte, w.linear.shru(27).and(0x18n).i32());
        l.unlikely(pdpte.and(PTE.present).eqz(), () =>
          raisePageFault(l, w.linear, w.code.and(~PF.present)),
        );
        table.set(pdpte.and(ADDRESS_MASK));
      },
    );
    const address = l.let(table.get().or(index(21)));
    const pde = l.call(physicalLoad64, address);
    const large = l.let(pde.and(PTE.large).nez());
    checkEntry(l, w, pde, l.select(large, reserved.or(0x1f_e000n), reserved));
    l.if(large, () => {
      leaf(address, pde, 0x1f_ffffn);
      found();
    });
    enter(address, pde);
    const last = l.let(table.get().or(index(12)));
    const pte = l.call(physicalLoad64, last);
    checkEntry(l, w, pte, reserved);
    leaf(last, pte, 0xfffn);
  });
}

function setAccessed(l: Lift, address: Value, entry: Value): void {
  l.if(entry.i32().and(PTE.accessed).eqz(), () => l.run(setEntryBits, address, PTE.accessed));
}

/** Access rights by user/supervisor, WP, NX, SMEP and SMAP. SDM vol 3A §4.6.1. */
function checkRights(
  l: Lift,
  w: Walk,
  c: {
    access: Value;
    smapEnforced: Value;
    cr0: Value;
    cr4: Value;
    allowed: Value;
    noExecute: Value;
  },
): void {
  const denied = () => raisePageFault(l, w.linear, w.code.or(PF.present));
  const userPage = l.let(c.allowed.i32().and(PTE.user));
  const writable = l.let(c.allowed.i32().and(PTE.write));
  const isUser = c.access.and(PF.user);
  const isFetch = c.access.and(PF.fetch);
  const isWrite = c.access.and(PF.write);
  l.unlikely(isFetch.nez().and(c.noExecute.nez()), denied);
  l.if(
    isUser,
    () => {
      l.unlikely(userPage.eqz(), denied);
      l.unlikely(isWrite.nez().and(writable.eqz()), denied);
    },
    () => {
      l.unlikely(isFetch.nez().and(userPage.nez()).and(c.cr4.and(CR4.smep).nez()), denied);
      l.unlikely(isFetch.eqz().and(userPage.nez()).and(c.smapEnforced), denied);
      l.unlikely(isWrite.nez().and(writable.eqz()).and(c.cr0.and(CR0_WP).nez()), denied);
    },
  );
}

/** Empties all TLBs of this vCPU that hold anything, and forgets where its code page is. */
export const flushTlb: FunctionRef = fn('flushTlb', {
  params: {},
  build(l) {
    const used = l.get(S.tlbsUsed);
    const base = l.let(l.cpu.add(TLB_OFFSET));
    const tags = [TLB_ENTRY.readTag, TLB_ENTRY.writeTag, TLB_ENTRY.executeTag];
    for (let mode = 0; mode < TLB_MODES; mode++) {
      l.if(used.and(1 << mode), () => {
        // All ones never match a page, except for the tags of the first and the last entry, which get another page's.
        const tlb = mode * TLB_BYTES;
        l.effect('memory.fill', base.add(tlb), l.i32(0xff), l.i32(TLB_BYTES));
        const last = (TLB_ENTRIES - 1) * TLB_ENTRY.size;
        for (const tag of tags) {
          l.storeRaw('i64.store', base, tlb + tag, l.i64(0x1000n));
          l.storeRaw('i64.store', base, tlb + last + tag, l.i64(0n));
        }
      });
    }
    l.set(S.tlbsUsed, 0);
    l.set(S.codePageLinear, -1n);
  },
});

/** A tag that no address of that entry's pages matches. */
function emptyTag(l: Lift, linear: Value): Value {
  return l.let(linear.and(~0xfffn).xor(0x1000n));
}

/** INVLPG: empties the entries that could map the address, in all TLBs. */
export const flushPage: FunctionRef = fn('flushPage', {
  params: { linear: 'i64' },
  build(l, { linear }) {
    const tag = emptyTag(l, linear);
    for (let mode = 0; mode < TLB_MODES; mode++) {
      const entry = l.let(tlbEntry(l, l.cpu.add(TLB_OFFSET + mode * TLB_BYTES), linear));
      for (const field of [TLB_ENTRY.readTag, TLB_ENTRY.writeTag, TLB_ENTRY.executeTag])
        l.storeRaw('i64.store', entry, field, tag);
    }
    l.set(S.codePageLinear, -1n);
  },
});

/** Address of the TLB entry for a linear address. */
function tlbEntry(_l: Lift, tlb: Value, linear: Value): Value {
  const shift = 12 - Math.log2(TLB_ENTRY.size);
  return linear
    .i32()
    .shru(shift)
    .and((TLB_ENTRIES - 1) * TLB_ENTRY.size)
    .add(tlb);
}

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
    l.set(S.tlbsUsed, l.get(S.tlbsUsed).or(l.i32(1).shl(mode)));
    const entry = l.let(tlbEntry(l, tlb, linear));
    const page = l.let(gpa.i32().shru(12));
    const flags = l.loadRaw('i32.load8_u', page, PAGE_FLAGS_BASE);
    const tag = l.let(linear.and(~0xfffn));
    const none = emptyTag(l, linear);
    // The same page may sit in the entry already with other rights: what was proven for it stays.
    const samePage = l.let(l.loadRaw('i32.load', entry, TLB_ENTRY.page).eq(page));
    const keep = (field: number, now: Value) => {
      const old = l.loadRaw('i64.load', entry, field);
      l.storeRaw('i64.store', entry, field, l.select(now.or(samePage.and(old.eq(tag))), tag, none));
    };
    const isFetch = l.let(access.and(PF.fetch).nez());
    const writes = l.let(access.and(PF.write).nez());
    keep(TLB_ENTRY.readTag, isFetch.eqz());
    keep(TLB_ENTRY.executeTag, isFetch);
    // A page with cached code never gets a write tag: noteWrite must see each write.
    const plain = flags.and(PAGE.hasCode).eqz();
    l.if(writes, () => l.storeRaw('i32.store8', page, PAGE_FLAGS_BASE, flags.or(PAGE.dirty)));
    keep(TLB_ENTRY.writeTag, writes.and(plain).and(rights.i32().and(PTE.dirty).nez()));
    l.storeRaw('i32.store', entry, TLB_ENTRY.page, page);
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
function dataAccess(l: Lift, tlb: Value, write: boolean): Value {
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
      .and(l.get(S.cr0).i32().and(CR0_AM).nez());
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
    l.if(host.eqz(), () => l.return(l.call(busRead, gpa, bytes)));
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
              l.storeRaw('i64.store8', at.add(delta), 0, byte);
              l.run(noteWrite, at.add(delta), 1);
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
      l.run(busWrite, gpa, bytes, value);
      l.return();
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
    l.run(noteWrite, host, bytes);
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
    l.unlikely(bytes.gtu(l.i32(4096).sub(linear.i32().and(0xfff))), () => {
      l.call(translate, nextPage(l, linear), access, tlb);
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
      const page = l.loadRaw('i64.load32_u', entry, TLB_ENTRY.page);
      l.return(page.shl(12).or(linear.and(0xfffn)));
    });
    const access = l.let(l.select(l.get(S.cpl).eq(3), l.i32(PF.fetch | PF.user), l.i32(PF.fetch)));
    l.call(translate, linear, access, tlb);
    l.return(l.get(S.result, 1));
  },
});
