// The page walk: linear to guest-physical addresses by the guest's page tables, with rights, accessed and dirty bits.
// SDM vol 3A ch. 4.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { CR0, CR4, EFER } from '../state/control-bits.ts';
import { S } from '../state/layout.ts';
import {
  PHYSICAL_BITS,
  physicalLoad32,
  physicalLoad64,
  ramAddress,
  writeRam,
} from './physical-memory.ts';

/** Bits of a page-fault error code, SDM vol 3A figure 4-12; also how an access is described to the walk. */
export const PF = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 } as const;
export const PTE = {
  present: 1,
  write: 2,
  user: 4,
  accessed: 0x20,
  dirty: 0x40,
  /** Of a leaf above the lowest level: in the lowest the bit belongs to PAT. */
  large: 0x80,
  global: 0x100,
} as const;
const ADDRESS_MASK = ((1n << BigInt(PHYSICAL_BITS)) - 1n) & ~0xfffn;
/** Bits 51..PHYSICAL_BITS must be zero. */
const RESERVED_HIGH = ((1n << 52n) - 1n) & ~((1n << BigInt(PHYSICAL_BITS)) - 1n);
/** Bits 62–52, which 4-level paging ignores, must be zero in PAE's entries. SDM vol 3A table 4-11. */
const RESERVED_PAE = ((1n << 63n) - 1n) & ~((1n << 52n) - 1n);
const NX = 1n << 63n;
/**
 * Sets bits in the low half of a page-table entry, if the entry is still what the walk read: 1, or 0 when another
 * processor has changed it and the walk must begin again. SDM vol 3A §4.8, §8.1.2.1: a locked read-modify-write.
 */
const setEntryBits: FunctionRef = fn('setEntryBits', {
  params: { gpa: 'i64', entry: 'i64', bits: 'i32' },
  result: 'i32',
  build(l, { gpa, entry, bits }) {
    l.if(l.get(S.walkSilently), () => l.return(1));
    const host = l.call(ramAddress, gpa);
    l.if(host.eqz(), () => l.return(1));
    const isWide = l.get(S.cr4).i32().and(CR4.pae);
    const changed = l.let(entry.or(bits.u64()));
    const found = writeRam(l, host, 4, () =>
      l.let(
        l.choose(
          isWide,
          'i64',
          () => l.atomic('i64.atomic.rmw.cmpxchg', host, 0, entry, changed),
          () => l.atomic('i32.atomic.rmw.cmpxchg', host, 0, entry.i32(), changed.i32()).u64(),
        ),
      ),
    );
    l.return(found.eq(entry));
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
  /** Begins again, after an entry changed on the way. */
  restart(): void;
}

/**
 * Walks the page tables for one access (a set of PF bits) and gives the guest-physical address. Raises #PF.
 * Leaves in S.result[0] what the leaf allows: the PTE bits write, user, dirty and NX, merged over all levels; and whether the page
 * is global or a large one.
 */
export const walk: FunctionRef = fn('walk', {
  params: { linear: 'i64', access: 'i32', smapEnforced: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { linear, access, smapEnforced }) {
    l.if(l.get(S.cr0).i32().and(CR0.pg).eqz(), () => {
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
    const restart = () => l.return(l.call(walk, linear, access, smapEnforced));
    const w = { linear, code, restart };
    const entryAddress = l.var('i64', 0n);
    /** The leaf as it lies in memory. */
    const raw = l.var('i64', 0n);
    const leaf = l.var('i64', 0n);
    const pageMask = l.var('i64', 0xfffn);
    const rights = l.var('i64', BigInt(PTE.write | PTE.user));
    const noExecute = l.var('i64', 0n);
    const nxReserved = l.let(l.select(nxe, l.i64(0), l.i64(NX)));
    l.if(
      cr4.and(CR4.pae).eqz(),
      () => walk32(l, w, { entryAddress, raw, leaf, pageMask, rights }, cr4),
      () =>
        walkLong(l, w, { entryAddress, raw, leaf, pageMask, rights, noExecute }, efer, nxReserved),
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
    l.if(entry.i32().and(want).ne(want), () =>
      l.unlikely(l.call(setEntryBits, entryAddress.get(), raw.get(), want).eqz(), restart),
    );
    const mask = pageMask.get();
    const hasGlobal = l.select(cr4.and(CR4.pge), l.i64(PTE.global), 0n);
    const kind = entry.and(hasGlobal).or(l.select(mask.ne(0xfffn), l.i64(PTE.large), 0n));
    const leftover = allowed.and(~BigInt(PTE.global | PTE.large)).or(kind);
    l.set(S.result, leftover.or(entry.or(want.u64()).and(PTE.dirty)).or(noExecute.get()));
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
      v.raw!.set(pde);
      v.leaf!.set(pde.and(0xffc0_0fffn).or(pde.and(0x1f_e000n).shl(19)));
      v.pageMask!.set(0x3f_ffffn);
    },
    () => {
      setAccessed(l, w, directory, pde);
      const table = l.let(pde.and(0xffff_f000n).or(w.linear.shru(10).and(0xffcn)));
      const pte = l.call(physicalLoad32, table);
      checkEntry(l, w, pte, l.i64(0));
      v.rights!.set(pde.and(pte));
      v.entryAddress!.set(table);
      v.raw!.set(pte);
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
    setAccessed(l, w, address, entry);
    v.rights!.set(v.rights!.get().and(entry));
    v.noExecute!.set(v.noExecute!.get().or(entry.and(NX)));
    table.set(entry.and(ADDRESS_MASK));
  };
  const leaf = (address: Value, entry: Value, mask: bigint) => {
    v.rights!.set(v.rights!.get().and(entry));
    v.noExecute!.set(v.noExecute!.get().or(entry.and(NX)));
    v.entryAddress!.set(address);
    v.raw!.set(entry);
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

function setAccessed(l: Lift, w: Walk, address: Value, entry: Value): void {
  l.if(entry.i32().and(PTE.accessed).eqz(), () =>
    l.unlikely(l.call(setEntryBits, address, entry, PTE.accessed).eqz(), w.restart),
  );
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
      l.unlikely(isWrite.nez().and(writable.eqz()).and(c.cr0.and(CR0.wp).nez()), denied);
    },
  );
}
