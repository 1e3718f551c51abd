// The FXSAVE area and XSAVE's legacy region, header and rules. SDM vol 1 §10.5, ch. 13; vol 2A
// tables 3-43 to 3-48. Linear addresses; the caller has checked alignment and made sure that all
// bytes are accessible.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { type Field, S, X87_SIGN_EXPONENT, YMM_HIGH } from '../../state/layout.ts';
import { initialize, statusWord } from './move.ts';
import { CW, physical, readRegister, SW, setStatus } from './state.ts';

/** Offsets in the area. SDM vol 2A table 3-43. */
const AREA = {
  control: 0, status: 2, tags: 4, opcode: 6, ip: 8, codeSelector: 12, dp: 16, dataSelector: 20,
  mxcsr: 24, mxcsrMask: 28, st: 32, xmm: 160,
} as const; // biome-ignore format: two lines
export const FXSAVE_BYTES = 512;
/** The XSAVE header follows the legacy region: XSTATE_BV, XCOMP_BV, reserved. SDM vol 1 §13.4.2. */
const HEADER = { stateBv: 512, compactBv: 520, reserved: 528 } as const;
export const XSAVE_BYTES = 576;
/** Upper halves of the YMM registers: first of the extended region in both formats. SDM vol 1 §13.5.3. */
export const YMM_AREA = { offset: XSAVE_BYTES, bytes: 256 } as const;
export const XSAVE_AVX_BYTES: number = YMM_AREA.offset + YMM_AREA.bytes;
/** State components, and bits of XCR0. SDM vol 1 §13.1. */
export const XSTATE = { x87: 1, sse: 2, avx: 4 } as const;
/** XCOMP_BV: the area is compacted. SDM vol 1 §13.4.3. */
const COMPACTED = 1n << 63n;
const MXCSR_INITIAL = 0x1f80;
/** MXCSR bits that exist: DAZ is among them. */
const MXCSR_MASK = 0xffff;
const GP = 13;

const offset = (linear: Value, bytes: number) => linear.add(BigInt(bytes));

/** x87 part of the area. `wide` is 1 for the format with 64-bit pointers (REX.W). */
const saveX87: FunctionRef = fn('saveX87Area', {
  params: { linear: 'i64', wide: 'i32' },
  faults: true,
  build(l, { linear, wide }) {
    l.store(2, offset(linear, AREA.control), l.get(S.x87Control));
    l.store(2, offset(linear, AREA.status), statusWord(l));
    l.store(2, offset(linear, AREA.tags), l.get(S.x87Tags));
    l.store(2, offset(linear, AREA.opcode), l.get(S.x87Opcode).and(0x7ff));
    const pointer = (at: number, address: Value, selector: Value) => {
      const narrow = address.and(0xffff_ffffn).or(selector.and(0xffff).u64().shl(32));
      l.store(8, offset(linear, at), l.select(wide, address, narrow));
    };
    pointer(AREA.ip, l.get(S.x87InstructionPointer), l.get(S.x87InstructionSelector));
    pointer(AREA.dp, l.get(S.x87DataPointer), l.get(S.x87DataSelector));
    for (let n = 0; n < 8; n++) {
      const x = readRegister(l, physical(l, n));
      l.store(8, offset(linear, AREA.st + 16 * n), x.significand);
      l.store(8, offset(linear, AREA.st + 16 * n + 8), x.signExponent.u64());
    }
  },
});

const restoreX87: FunctionRef = fn('restoreX87Area', {
  params: { linear: 'i64', wide: 'i32' },
  faults: true,
  build(l, { linear, wide }) {
    const status = l.load(2, offset(linear, AREA.status));
    l.set(S.x87Control, l.load(2, offset(linear, AREA.control)).and(CW.writable).or(CW.fixed1));
    l.set(S.x87Top, status.shru(11).and(7));
    l.set(S.x87Tags, l.load(1, offset(linear, AREA.tags)));
    l.set(S.x87Opcode, l.load(2, offset(linear, AREA.opcode)).and(0x7ff));
    const ip = l.load(8, offset(linear, AREA.ip));
    const dp = l.load(8, offset(linear, AREA.dp));
    const address = (x: Value) => l.select(wide, x, x.and(0xffff_ffffn));
    // The wide format has no selectors: they become zero.
    const selector = (x: Value) => l.select(wide, l.i32(0), x.shru(32).i32().and(0xffff));
    l.set(S.x87InstructionPointer, address(ip));
    l.set(S.x87InstructionSelector, selector(ip));
    l.set(S.x87DataPointer, address(dp));
    l.set(S.x87DataSelector, selector(dp));
    for (let n = 0; n < 8; n++) {
      const register = physical(l, n).shl(4);
      l.setAt(S.x87Significand, register, l.load(8, offset(linear, AREA.st + 16 * n)));
      l.setAt(X87_SIGN_EXPONENT, register, l.load(2, offset(linear, AREA.st + 16 * n + 8)));
    }
    l.run(setStatus, status.and(SW.exceptions | SW.sf | SW.conditions));
  },
});

/** Runs `each` for XMM 0–7, and for 8–15 in 64-bit mode. */
function eachXmm(l: Lift, each: (n: number) => void): void {
  for (let n = 0; n < 8; n++) each(n);
  l.if(l.get(S.codeBits).eq(64), () => {
    for (let n = 8; n < 16; n++) each(n);
  });
}

const saveXmm: FunctionRef = fn('saveXmmArea', {
  params: { linear: 'i64' },
  faults: true,
  build(l, { linear }) {
    eachXmm(l, (n) => l.store(16, offset(linear, AREA.xmm + 16 * n), l.get(S.xmm, n)));
  },
});

const restoreXmm: FunctionRef = fn('restoreXmmArea', {
  params: { linear: 'i64' },
  faults: true,
  build(l, { linear }) {
    eachXmm(l, (n) => l.set(S.xmm, l.load(16, offset(linear, AREA.xmm + 16 * n)), n));
  },
});

const saveYmmHigh: FunctionRef = fn('saveYmmHighArea', {
  params: { linear: 'i64' },
  faults: true,
  build(l, { linear }) {
    eachXmm(l, (n) => l.store(16, offset(linear, YMM_AREA.offset + 16 * n), l.get(YMM_HIGH, n)));
  },
});

const restoreYmmHigh: FunctionRef = fn('restoreYmmHighArea', {
  params: { linear: 'i64' },
  faults: true,
  build(l, { linear }) {
    eachXmm(l, (n) => l.set(YMM_HIGH, l.load(16, offset(linear, YMM_AREA.offset + 16 * n)), n));
  },
});

function saveMxcsr(l: Lift, linear: Value): void {
  l.store(4, offset(linear, AREA.mxcsr), l.get(S.mxcsr));
  l.store(4, offset(linear, AREA.mxcsrMask), l.i32(MXCSR_MASK));
}

/** MXCSR from the area; reserved bits that are set raise #GP(0). */
function readMxcsr(l: Lift, linear: Value): Value {
  const mxcsr = l.load(4, offset(linear, AREA.mxcsr));
  l.raiseIf(mxcsr.and(~MXCSR_MASK), GP, 0);
  return mxcsr;
}

export const fxsave: FunctionRef = fn('fxsave', {
  params: { linear: 'i64', wide: 'i32' },
  faults: true,
  build(l, { linear, wide }) {
    l.run(saveX87, linear, wide);
    saveMxcsr(l, linear);
    l.run(saveXmm, linear);
  },
});

export const fxrstor: FunctionRef = fn('fxrstor', {
  params: { linear: 'i64', wide: 'i32' },
  faults: true,
  build(l, { linear, wide }) {
    const mxcsr = readMxcsr(l, linear);
    l.run(restoreX87, linear, wide);
    l.set(S.mxcsr, mxcsr);
    l.run(restoreXmm, linear);
  },
});

/** EDX:EAX cut to what XCR0 enables: the manual's RFBM. */
export function requested(l: Lift): Value {
  return l.let(l.get(S.gpr, 0).i32().and(l.get(S.xcr0).i32()));
}

/** Whether the x87 is not in its initial configuration. SDM vol 1 §13.6. */
function isX87InUse(l: Lift): Value {
  const zeros = [
    S.x87Status, S.x87Top, S.x87Tags, S.x87Opcode, S.x87InstructionSelector, S.x87DataSelector,
  ].map((field) => l.get(field)); // biome-ignore format: a list
  const control = l.get(S.x87Control).xor(CW.initial);
  const small = zeros.reduce((sum, value) => sum.or(value), control);
  const wide = [S.x87InstructionPointer, S.x87DataPointer].map((field) => l.get(field));
  for (let n = 0; n < 8; n++) {
    wide.push(l.get(S.x87Significand, n), l.get(X87_SIGN_EXPONENT, n).u64());
  }
  return wide.reduce((sum, value) => sum.or(value), small.u64()).nez();
}

/** The manual's XINUSE: SSE is always taken to be in use. */
const inUse: FunctionRef = fn('xstateInUse', {
  params: {},
  result: 'i32',
  build(l) {
    let high = l.get(YMM_HIGH, 0);
    for (let n = 1; n < 16; n++) high = l.op('v128.or', high, l.get(YMM_HIGH, n));
    const isAvx = l.op('v128.any_true', high);
    l.return(isX87InUse(l).or(XSTATE.sse).or(isAvx.shl(2)));
  },
});

/** Writes components of a set of XSTATE bits. */
function saveComponents(l: Lift, area: { linear: Value; wide: Value; components: Value }): void {
  const { linear, wide, components } = area;
  l.if(components.and(XSTATE.x87), () => l.run(saveX87, linear, wide));
  l.if(components.and(XSTATE.sse), () => l.run(saveXmm, linear));
  l.if(components.and(XSTATE.avx), () => l.run(saveYmmHigh, linear));
}

/** XSAVE writes all that is requested, XSAVEOPT only what is in use. SDM vol 1 §13.7, §13.9. */
function save(name: string, isOptimized: boolean): FunctionRef {
  return fn(name, {
    params: { linear: 'i64', wide: 'i32' },
    faults: true,
    build(l, { linear, wide }) {
      const wanted = requested(l);
      const header = l.load(8, offset(linear, HEADER.stateBv));
      const used = l.let(wanted.and(l.call(inUse)));
      l.if(wanted.and(XSTATE.sse | XSTATE.avx), () => saveMxcsr(l, linear));
      saveComponents(l, { linear, wide, components: isOptimized ? used : wanted });
      const kept = header.and(wanted.u64().not());
      l.store(8, offset(linear, HEADER.stateBv), kept.or(used.u64()));
    },
  });
}
export const xsave: FunctionRef = save('xsave', false);
export const xsaveopt: FunctionRef = save('xsaveopt', true);

/** XSAVEC. As there is one extended component, it lies where it lies in the standard format. SDM vol 1 §13.10. */
export const xsavec: FunctionRef = fn('xsavec', {
  params: { linear: 'i64', wide: 'i32' },
  faults: true,
  build(l, { linear, wide }) {
    const wanted = requested(l);
    const used = l.let(wanted.and(l.call(inUse)));
    l.if(wanted.and(XSTATE.sse), () => saveMxcsr(l, linear));
    saveComponents(l, { linear, wide, components: used });
    l.store(8, offset(linear, HEADER.stateBv), used.u64());
    l.store(8, offset(linear, HEADER.compactBv), wanted.u64().or(COMPACTED));
  },
});

/** XRSTOR's header: #GP(0) for what is not enabled, or reserved. Gives XSTATE_BV. SDM vol 1 §13.8. */
const checkHeader: FunctionRef = fn('checkXsaveHeader', {
  params: { linear: 'i64' },
  result: 'i32',
  faults: true,
  build(l, { linear }) {
    const word = (at: number) => l.load(8, offset(linear, at));
    const present = word(HEADER.stateBv);
    const compact = word(HEADER.compactBv);
    const xcr0 = l.get(S.xcr0);
    l.raiseIf(present.and(xcr0.not()).or(word(HEADER.reserved)).nez(), GP, 0);
    l.if(compact.nez(), () => {
      const allowed = xcr0.or(COMPACTED).and(l.get(S.xstate));
      l.raiseIf(compact.and(allowed.not()).or(present.and(compact.not())).nez(), GP, 0);
      l.raiseIf(compact.ges(0n), GP, 0);
      const rest = [1, 2, 3, 4, 5].map((n) => word(HEADER.reserved + 8 * n));
      l.raiseIf(rest.reduce((sum, value) => sum.or(value)).nez(), GP, 0);
    });
    l.return(present.i32());
  },
});

/** Components that the header does not have get their initial values. SDM vol 1 §13.8. */
export const xrstor: FunctionRef = fn('xrstor', {
  params: { linear: 'i64', wide: 'i32' },
  faults: true,
  build(l, { linear, wide }) {
    const wanted = requested(l);
    const from = l.call(checkHeader, linear);
    const isCompacted = l.let(l.load(8, offset(linear, HEADER.compactBv)).lts(0n));
    // In the standard format MXCSR is in memory, present or not, and goes with AVX too.
    const mxcsrWith = l.select(isCompacted, l.i32(XSTATE.sse), XSTATE.sse | XSTATE.avx);
    const isInitial = isCompacted.and(from.and(XSTATE.sse).eqz());
    const wantsMxcsr = l.let(wanted.and(mxcsrWith));
    const fromMemory = () =>
      l.choose(
        isInitial,
        'i32',
        () => l.i32(MXCSR_INITIAL),
        () => readMxcsr(l, linear),
      );
    const mxcsr = l.choose(wantsMxcsr, 'i32', fromMemory, () => l.get(S.mxcsr));
    const component = (bit: number, restore: () => void, initialise: () => void) =>
      l.if(wanted.and(bit), () => l.if(from.and(bit), restore, initialise));
    const clear = (field: Field) => eachXmm(l, (n) => l.set(field, l.op('i64x2.splat', 0n), n));
    component(
      XSTATE.x87,
      () => l.run(restoreX87, linear, wide),
      () => l.run(resetX87),
    );
    l.set(S.mxcsr, mxcsr);
    component(
      XSTATE.sse,
      () => l.run(restoreXmm, linear),
      () => clear(S.xmm),
    );
    component(
      XSTATE.avx,
      () => l.run(restoreYmmHigh, linear),
      () => clear(YMM_HIGH),
    );
  },
});

/** The initial configuration of the x87: FNINIT's, and registers that hold zero. */
export const resetX87: FunctionRef = fn('resetX87', {
  params: {},
  build(l) {
    l.run(initialize);
    for (let n = 0; n < 8; n++) {
      l.set(S.x87Significand, 0n, n);
      l.set(X87_SIGN_EXPONENT, 0, n);
    }
  },
});
