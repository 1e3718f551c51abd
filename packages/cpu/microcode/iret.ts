// IRET in every mode. SDM vol 2A, IRET/IRETD/IRETQ.

import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { GPR, S, SEGMENT } from '../state/layout.ts';
import { installLegacy, installLegacyCode, isLongMode } from './descriptor.ts';
import { VECTOR } from './fault.ts';
import { LEGACY_MODE, updateMode } from './mode.ts';
import { behind, checkTarget, finishReturn, loadFlags, loadReturnSegment, peek } from './return.ts';
import { setStackPointer } from './stack.ts';
import { returnFromTask } from './task-switch.ts';

type Bits = 16 | 32 | 64;

/** Flags that every IRET takes besides the arithmetic ones; the wide ones add RF, AC and ID. */
const LOW_FLAGS = RFLAGS.tf | RFLAGS.df | RFLAGS.nt;
const WIDE_FLAGS = RFLAGS.rf | RFLAGS.ac | RFLAGS.id;
/** What only level 0 sets. VIF and VIP do nothing, as CR4.VME is not offered. */
const LEVEL_0_FLAGS = RFLAGS.iopl | RFLAGS.vif | RFLAGS.vip;

function iret(bits: Bits): FunctionRef {
  return fn(`iret${bits}`, {
    params: { nextRip: 'i64' },
    faults: true,
    build(l, { nextRip }) {
      // NMIs are let in even if the IRET faults (SDM vol 3A §6.7.1).
      l.set(S.nmiBlocked, 0);
      const legacy = l.get(S.legacyMode);
      if (bits !== 64) {
        l.if(legacy, () => {
          l.run(legacyReturns[bits]);
          l.return();
        });
      }
      l.unlikely(l.get(S.rflags).and(RFLAGS.nt), () => {
        l.raiseIf(isLongMode(l), VECTOR.gp, 0);
        l.run(returnFromTask, nextRip);
        l.return();
      });
      const rip = peek(l, bits, 0);
      const cs = l.let(peek(l, bits, 1).i32().and(0xffff));
      const image = l.let(peek(l, bits, 2).i32());
      if (bits === 32) {
        const isVirtual = image.and(RFLAGS.vm).nez().and(l.get(S.cpl).eqz());
        l.unlikely(isVirtual.and(isLongMode(l).eqz()), () => {
          returnToVirtual8086(l, rip, cs, image);
          l.return();
        });
      }
      protectedReturn(l, bits, rip, cs, image);
    },
  });
}

function protectedReturn(l: Lift, bits: Bits, rip: Value, cs: Value, image: Value): void {
  const descriptor = l.call(loadReturnSegment, cs);
  const cpl = l.get(S.cpl);
  const popsStack = l.get(S.codeBits).eq(64).or(cs.and(3).ne(cpl));
  const ss = l.var('i32', -1);
  const rsp = l.var('i64', behind(l, bits, 3));
  l.if(popsStack, () => {
    rsp.set(peek(l, bits, 3));
    ss.set(peek(l, bits, 4).i32().and(0xffff));
  });
  l.run(checkTarget, descriptor, rip);
  const iopl = l.get(S.rflags).and(RFLAGS.iopl).shru(12);
  const mask = l
    .i32(bits === 16 ? LOW_FLAGS : LOW_FLAGS | WIDE_FLAGS)
    .or(l.select(cpl.leu(iopl), l.i32(RFLAGS.if), 0))
    .or(l.select(cpl, l.i32(0), bits === 16 ? RFLAGS.iopl : LEVEL_0_FLAGS));
  l.run(finishReturn, cs, descriptor, rip, ss.get(), rsp.get(), image, mask);
}

/** Real mode, and virtual-8086 mode with IOPL 3. */
function legacyReturn(bits: 16 | 32): FunctionRef {
  return fn(`iretLegacy${bits}`, {
    params: {},
    faults: true,
    build(l) {
      const rflags = l.get(S.rflags);
      const isVirtual = l.let(l.get(S.legacyMode).eq(LEGACY_MODE.virtual8086));
      const isTrapped = isVirtual.and(rflags.and(RFLAGS.iopl).ne(RFLAGS.iopl));
      l.raiseIf(isTrapped, VECTOR.gp, 0);
      const rip = peek(l, bits, 0);
      const cs = peek(l, bits, 1);
      const image = peek(l, bits, 2);
      l.raiseIf(rip.gtu(l.get(S.segLimit, SEGMENT.cs).u64()), VECTOR.gp, 0);
      const flags = LOW_FLAGS | RFLAGS.if | (bits === 16 ? 0 : WIDE_FLAGS);
      l.run(loadFlags, image.i32(), l.select(isVirtual, l.i32(flags), flags | RFLAGS.iopl));
      l.run(installLegacyCode, cs.i32());
      setStackPointer(l, undefined, behind(l, bits, 3));
      l.set(S.rip, rip);
      l.run(updateMode);
    },
  });
}

const legacyReturns = { 16: legacyReturn(16), 32: legacyReturn(32) } as const;

/** From level 0 to virtual-8086 mode: nine slots, down to GS. */
function returnToVirtual8086(l: Lift, rip: Value, cs: Value, image: Value): void {
  const esp = peek(l, 32, 3);
  const order = [SEGMENT.ss, SEGMENT.es, SEGMENT.ds, SEGMENT.fs, SEGMENT.gs];
  const selectors = order.map((_, n) => peek(l, 32, 4 + n).i32());
  l.raiseIf(rip.gtu(0xffffn), VECTOR.gp, 0);
  const flags = LOW_FLAGS | WIDE_FLAGS | LEVEL_0_FLAGS | RFLAGS.if | RFLAGS.vm;
  l.run(loadFlags, image, flags);
  l.run(updateMode);
  l.run(installLegacyCode, cs);
  for (const [n, segment] of order.entries()) l.run(installLegacy, segment, selectors[n]!);
  l.set(S.gpr, esp, GPR.rsp);
  l.set(S.rip, rip);
  l.run(updateMode);
}

/** By operand size. Leaves the new `S.rip`. */
export const IRET = { 16: iret(16), 32: iret(32), 64: iret(64) } as const;
