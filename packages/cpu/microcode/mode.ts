// Everything that follows from the mode, computed in one place: decoding mode, stack width, TLBs, checks in force.
// SDM vol 3A §2.2 (modes), §4.6 (whose rights an access has), §18.2 (breakpoints).

import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { CR0, CR4, EFER } from '../state/control-bits.ts';
import { DECODING_MODE, MODE_SINGLE_STEP } from '../state/decoding-mode.ts';
import { S, SEGMENT, TLB_BYTES, TLB_MODE, TLB_OFFSET } from '../state/layout.ts';
import { VECTOR_TRAP } from './avx/check.ts';
import { updateContext } from './jump-cache.ts';
import { ATTRIBUTES, isFlatData } from './segment-access.ts';

/** Values of `S.legacyMode`. */
export const LEGACY_MODE = { protected: 0, real: 1, virtual8086: 2 } as const;
/** Bits of `S.breakpoints`. */
export const BREAKPOINTS = { instruction: 1, data: 2, io: 4 } as const;

/** Stack-pointer mask from SS and the code size. */
const updateStackMask: FunctionRef = fn('updateStackMask', {
  params: {},
  build(l) {
    const isBig = l.get(S.segAttributes, SEGMENT.ss).and(ATTRIBUTES.big);
    const legacy = l.select(isBig, l.i64(0xffff_ffffn), l.i64(0xffffn));
    l.set(S.stackMask, l.select(l.get(S.codeBits).eq(64), l.i64(-1n), legacy));
  },
});

/** Whether segments are as `DECODING_MODE.flat32` says. */
function areSegmentsFlat(l: Lift): Value {
  const begins = (segment: number) => l.get(S.segBase, segment).eqz();
  const data = [SEGMENT.es, SEGMENT.ss, SEGMENT.ds].map((n) =>
    begins(n).and(isFlatData(l.get(S.segAttributes, n), l.get(S.segLimit, n))),
  );
  const code = begins(SEGMENT.cs).and(l.get(S.segLimit, SEGMENT.cs).eq(-1));
  const hasBigStack = l.get(S.segAttributes, SEGMENT.ss).and(ATTRIBUTES.big).nez();
  return data.reduce((all, one) => all.and(one), code.and(hasBigStack));
}

/** What S.mode should be. */
const decodingMode: FunctionRef = fn('decodingMode', {
  params: {},
  result: 'i32',
  build(l) {
    const codeBits = l.get(S.codeBits);
    // Data and I/O breakpoints trap right behind their instruction, so they need short blocks, too.
    const isStepped = l.get(S.rflags).and(RFLAGS.tf).or(l.get(S.breakpoints));
    const single = l.let(l.select(isStepped, l.i32(MODE_SINGLE_STEP), 0));
    l.if(codeBits.ne(32), () => l.return(codeBits.shru(5).or(single)));
    const { flat32, code32 } = DECODING_MODE;
    l.return(l.select(areSegmentsFlat(l), l.i32(flat32), code32).or(single));
  },
});

/** To be run after a change of SS, DS or ES and of nothing else. */
export const updateSegments: FunctionRef = fn('updateSegments', {
  params: {},
  build(l) {
    l.if(l.get(S.codeBits).eq(64), () => l.return());
    l.run(updateStackMask);
    const mode = l.let(l.call(decodingMode));
    l.if(mode.ne(l.get(S.mode)), () => {
      l.set(S.mode, mode);
      l.run(updateContext);
    });
  },
});

/** To be run after any change of CR0, CR4, XCR0, EFER, a segment, CPL, DR7 or RFLAGS.TF, VM or AC. */
export const updateMode: FunctionRef = fn('updateMode', {
  params: {},
  build(l) {
    const cr0 = l.let(l.get(S.cr0).i32());
    const rflags = l.get(S.rflags);
    const efer = l.get(S.efer).i32();
    const virtual = l.select(rflags.and(RFLAGS.vm), l.i32(LEGACY_MODE.virtual8086), 0);
    const legacy = l.let(l.select(cr0.and(CR0.pe), virtual, l.i32(LEGACY_MODE.real)));
    l.set(S.legacyMode, legacy);
    l.if(legacy, () => l.set(S.cpl, l.select(legacy.eq(LEGACY_MODE.real), l.i32(0), 3)));
    const cs = l.get(S.segAttributes, SEGMENT.cs);
    const isLong = efer.and(EFER.lma).nez().and(cs.and(ATTRIBUTES.long).nez());
    const legacyBits = l.select(cs.and(ATTRIBUTES.big), l.i32(32), 16);
    const codeBits = l.let(l.select(isLong, l.i32(64), legacyBits));
    l.set(S.codeBits, codeBits);
    l.run(updateStackMask);
    updateBreakpoints(l);
    l.set(S.mode, l.call(decodingMode));
    updateTlbs(l);
    updateFpuTrap(l, cr0);
    updateVectorTrap(l, cr0, legacy);
    l.run(updateContext);
  },
});

/**
 * As updateMode, after a change of segments, CPL or RFLAGS and of nothing else: system calls, interrupts and returns. Between 64-bit
 * code it is only the privilege that makes a difference.
 */
export const updateCode: FunctionRef = fn('updateCode', {
  params: {},
  build(l) {
    const isLong = l.get(S.segAttributes, SEGMENT.cs).and(ATTRIBUTES.long).nez();
    const was64 = l.get(S.codeBits).eq(64);
    const isOdd = l
      .get(S.rflags)
      .and(RFLAGS.tf | RFLAGS.vm)
      .or(l.get(S.breakpoints));
    l.if(
      was64.and(isLong).and(isOdd.eqz()),
      () => {
        l.set(S.mode, DECODING_MODE.code64);
        updateTlbs(l);
        l.run(updateContext);
      },
      () => l.run(updateMode),
    );
  },
});

/** Which kinds of breakpoints DR7 arms; its fields are L/G enables in bits 0–7 and R/W in bits 16 + 4n. */
function updateBreakpoints(l: Lift): void {
  const dr7 = l.let(l.get(S.dr, 7).i32());
  l.set(S.breakpoints, 0);
  l.unlikely(dr7.and(0xff), () => {
    const kinds = l.var('i32', 0);
    for (let n = 0; n < 4; n++) {
      l.if(dr7.and(3 << (2 * n)), () => {
        const access = l.let(dr7.shru(16 + 4 * n).and(3));
        const hasIo = l.get(S.cr4).i32().and(CR4.de).nez();
        const data = l.select(
          access.eq(2),
          l.select(hasIo, l.i32(BREAKPOINTS.io), 0),
          BREAKPOINTS.data,
        );
        kinds.set(kinds.get().or(l.select(access, data, l.i32(BREAKPOINTS.instruction))));
      });
    }
    l.set(S.breakpoints, kinds.get());
  });
}

const tlbAddress = (l: Lift, mode: Value) => l.cpu.add(TLB_OFFSET).add(mode.mul(TLB_BYTES));

/** Which TLB explicit data accesses go through; after a change of RFLAGS.AC this is all there is to do. */
export const updateDataTlb: FunctionRef = fn('updateDataTlb', {
  params: {},
  build(l) {
    const hasAc = l.let(l.get(S.rflags).and(RFLAGS.ac).nez());
    const isUser = l.let(l.get(S.cpl).eq(3));
    const smap = l.get(S.cr4).i32().and(CR4.smap).nez();
    const supervisorSmap = l.i32(TLB_MODE.supervisorSmap);
    const explicit = l.select(smap.and(hasAc.eqz()), supervisorSmap, TLB_MODE.supervisor);
    const checksAlignment = isUser.and(hasAc).and(l.get(S.cr0).i32().and(CR0.am).nez());
    const isChecked = checksAlignment.or(l.get(S.breakpoints).and(BREAKPOINTS.data));
    const plain = l.select(isUser, l.i32(TLB_MODE.user), explicit);
    l.set(S.tlb, tlbAddress(l, l.select(isChecked, l.i32(TLB_MODE.checked), plain)));
  },
});

function updateTlbs(l: Lift): void {
  l.run(updateDataTlb);
  // Implicit supervisor accesses take no notice of AC.
  const smap = l.get(S.cr4).i32().and(CR4.smap).nez();
  const implicit = l.select(smap, l.i32(TLB_MODE.supervisorSmap), TLB_MODE.supervisor);
  l.set(S.tlbSystem, tlbAddress(l, implicit));
  // AC means nothing to fetches: kernel code stays in one TLB.
  const isUser = l.get(S.cpl).eq(3);
  const fetch = l.let(tlbAddress(l, l.select(isUser, l.i32(TLB_MODE.user), TLB_MODE.supervisor)));
  l.if(fetch.ne(l.get(S.tlbFetch)), () => {
    l.set(S.tlbFetch, fetch);
    l.set(S.codePageLinear, -1n);
  });
}

/** Whether x87 and MMX (bit 0) or SSE (bit 1) instructions would fault. */
function updateFpuTrap(l: Lift, cr0: Value): void {
  const all = cr0.and(CR0.em | CR0.ts).nez();
  const osfxsr = l.get(S.cr4).i32().and(CR4.osfxsr).nez();
  const sse = all.or(osfxsr.eqz()).shl(1);
  // With FERR# in use, x87 instructions meet a device.
  const exact = l.get(S.exact).and(cr0.and(CR0.ne).eqz()).shl(3);
  l.set(S.fpuTrap, l.get(S.fpuTrap).and(4).or(all).or(sse).or(exact));
}

/** XCR0 bits that AVX needs: SSE and YMM_Hi128. SDM vol 1 §13.3. */
const XCR0_AVX = 6n;

/** Whether VEX-encoded instructions would fault, and how. */
function updateVectorTrap(l: Lift, cr0: Value, legacy: Value): void {
  const osxsave = l.get(S.cr4).i32().and(CR4.osxsave).nez();
  const isOn = osxsave.and(l.get(S.xcr0).and(XCR0_AVX).eq(XCR0_AVX));
  const bit = (condition: Value, value: number) => l.select(condition, l.i32(value), 0);
  const trap = bit(legacy, VECTOR_TRAP.notProtected)
    .or(bit(isOn.eqz(), VECTOR_TRAP.off))
    .or(bit(cr0.and(CR0.ts), VECTOR_TRAP.taskSwitched));
  l.set(S.vectorTrap, trap);
}
