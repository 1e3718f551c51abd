// Fast system calls: SYSCALL, SYSRET, SYSENTER, SYSEXIT. SDM vol 2B; vol 3A §5.8.7, §5.8.8.

import { RFLAGS, readFlags } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { EFER } from '../state/control-bits.ts';
import { GPR, S, SEGMENT } from '../state/layout.ts';
import { isLongMode } from './descriptor.ts';
import { VECTOR } from './fault.ts';
import { LEGACY_MODE, updateCode } from './mode.ts';
import { loadFlags } from './return.ts';
import { isNonCanonical } from './stack.ts';

/** Attributes of the flat segments that these instructions load without looking at a descriptor. */
const FLAT = { code64: 0xa0_9b00, code32: 0xc0_9b00, data: 0xc0_9300 } as const;
/** RFLAGS that SYSRET restores: all but RF and VM. */
const SYSRET_FLAGS = 0x3c_7fd5;

/** Loads a flat segment; its DPL is the selector's RPL. */
function loadFlat(l: Lift, segment: number, selector: Value, attributes: Value): void {
  const value = l.let(selector.and(0xffff));
  l.set(S.segSelector, value, segment);
  l.set(S.segAttributes, attributes.or(value.and(3).shl(13)), segment);
  l.set(S.segLimit, 0xffff_ffff, segment);
  l.set(S.segBase, 0n, segment);
}

/** CS and SS for the level in their selectors' RPL. */
function loadFlatPair(l: Lift, cs: Value, ss: Value, isCode64: Value): void {
  loadFlat(l, SEGMENT.cs, cs, l.select(isCode64, l.i32(FLAT.code64), FLAT.code32));
  loadFlat(l, SEGMENT.ss, ss, l.i32(FLAT.data));
  l.set(S.cpl, cs.and(3));
}

/** SYSCALL in 64-bit mode; elsewhere, and with EFER.SCE clear, #UD. */
export const syscall: FunctionRef = fn('syscall', {
  params: { nextRip: 'i64' },
  faults: true,
  build(l, { nextRip }) {
    const isEnabled = l.get(S.efer).i32().and(EFER.sce).nez();
    l.raiseIf(isEnabled.and(l.get(S.codeBits).eq(64)).eqz(), VECTOR.ud);
    l.set(S.gpr, nextRip, GPR.rcx);
    l.set(S.gpr, readFlags(l).and(~RFLAGS.rf).u64(), GPR.r11);
    l.set(S.rip, l.get(S.msrLstar));
    const masked = l.let(readFlags(l).and(l.get(S.msrSfmask).i32().not()).and(~RFLAGS.rf));
    l.run(loadFlags, masked, -1);
    // Whether a trap follows is decided by the flags that are loaded, not by those before.
    l.set(S.stepping, masked.and(RFLAGS.tf));
    const cs = l.let(l.get(S.msrStar).shru(32).i32().and(0xfffc));
    loadFlatPair(l, cs, cs.add(8), l.i32(1));
    l.run(updateCode);
  },
});

/** SYSRET with REX.W (`wide`) returns to 64-bit code, without to compatibility mode. */
export const sysret: FunctionRef = fn('sysret', {
  params: { wide: 'i32' },
  faults: true,
  build(l, { wide }) {
    const isEnabled = l.get(S.efer).i32().and(EFER.sce).nez();
    l.raiseIf(isEnabled.and(l.get(S.codeBits).eq(64)).eqz(), VECTOR.ud);
    const rcx = l.get(S.gpr, GPR.rcx);
    // Intel processors check RCX before they leave level 0.
    const isBad = l
      .get(S.cpl)
      .nez()
      .or(wide.and(isNonCanonical(rcx)));
    l.raiseIf(isBad, VECTOR.gp, 0);
    l.run(loadFlags, l.get(S.gpr, GPR.r11).i32(), SYSRET_FLAGS);
    l.set(S.stepping, l.get(S.rflags).and(RFLAGS.tf));
    l.set(S.rip, l.select(wide, rcx, rcx.and(0xffff_ffffn)));
    const base = l.let(l.get(S.msrStar).shru(48).i32());
    const cs = l.let(base.add(l.select(wide, l.i32(16), 0)).or(3));
    loadFlatPair(l, cs, base.add(8).or(3), wide);
    l.run(updateCode);
  },
});

/** #GP(0) in real mode or when IA32_SYSENTER_CS holds a null selector. */
function requireSysenter(l: Lift): Value {
  const selector = l.let(l.get(S.msrSysenterCs).i32().and(0xffff));
  const isReal = l.get(S.legacyMode).eq(LEGACY_MODE.real);
  l.raiseIf(isReal.or(selector.and(0xfffc).eqz()), VECTOR.gp, 0);
  return l.let(selector.and(0xfffc));
}

export const sysenter: FunctionRef = fn('sysenter', {
  params: {},
  faults: true,
  build(l) {
    const cs = requireSysenter(l);
    const isLong = l.let(isLongMode(l));
    const mask = l.let(l.select(isLong, l.i64(-1n), l.i64(0xffff_ffffn)));
    l.set(S.rflags, l.get(S.rflags).and(~(RFLAGS.vm | RFLAGS.if | RFLAGS.rf)));
    l.set(S.gpr, l.get(S.msrSysenterEsp).and(mask), GPR.rsp);
    l.set(S.rip, l.get(S.msrSysenterEip).and(mask));
    loadFlatPair(l, cs, cs.add(8), isLong);
    l.run(updateCode);
  },
});

export const sysexit: FunctionRef = fn('sysexit', {
  params: { wide: 'i32' },
  faults: true,
  build(l, { wide }) {
    const base = requireSysenter(l);
    l.raiseIf(l.get(S.cpl).nez(), VECTOR.gp, 0);
    const rip = l.get(S.gpr, GPR.rdx);
    const rsp = l.get(S.gpr, GPR.rcx);
    const isBad = isNonCanonical(rip).or(isNonCanonical(rsp));
    l.raiseIf(wide.and(isBad), VECTOR.gp, 0);
    const mask = l.let(l.select(wide, l.i64(-1n), l.i64(0xffff_ffffn)));
    l.set(S.gpr, rsp.and(mask), GPR.rsp);
    l.set(S.rip, rip.and(mask));
    const cs = l.let(base.add(l.select(wide, l.i32(32), 16)).or(3));
    loadFlatPair(l, cs, cs.add(8), wide);
    l.run(updateCode);
  },
});
