// What follows a change of RFLAGS besides the flags themselves: which TLB data accesses go through.

import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import { S, TLB_BYTES, TLB_MODE, TLB_OFFSET } from '../state/layout.ts';

const CR0_AM = 1 << 18;
const CR4_SMAP = 1 << 21;
/** DR7's enable bits. */
const DR7_ENABLES = 0xff;

/** Chooses S.tlb by CPL, SMAP with AC, alignment checks and data breakpoints. SDM vol 3A §4.6.1, §6.15 (#AC). */
export const selectTlb: FunctionRef = fn('selectTlb', {
  params: {},
  build(l) {
    const ac = l.let(l.get(S.rflags).and(RFLAGS.ac).nez());
    const isUser = l.let(l.get(S.cpl).eq(3));
    const smap = l.get(S.cr4).i32().and(CR4_SMAP).nez();
    const supervisor = l.select(
      smap.and(ac.eqz()),
      TLB_MODE.supervisorSmap,
      l.i32(TLB_MODE.supervisor),
    );
    const alignment = isUser.and(ac).and(l.get(S.cr0).i32().and(CR0_AM).nez());
    const breakpoints = l.get(S.dr, 7).i32().and(DR7_ENABLES).nez();
    const mode = l.select(
      alignment.or(breakpoints),
      TLB_MODE.checked,
      l.select(isUser, TLB_MODE.user, supervisor),
    );
    l.set(S.tlb, l.cpu.add(TLB_OFFSET).add(mode.mul(TLB_BYTES)));
  },
});

/** To be run after `S.rflags` was written, with its former value. */
export const flagsChanged: FunctionRef = fn('flagsChanged', {
  params: { old: 'i32' },
  build(l, { old }) {
    l.if(old.xor(l.get(S.rflags)).and(RFLAGS.ac), () => l.run(selectTlb));
  },
});
