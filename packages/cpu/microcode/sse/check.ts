// Whether MMX and SSE instructions may run now, and the delivery of unmasked SIMD floating-point
// exceptions. SDM vol 3A §2.5 (CR0.EM, CR0.TS, CR4.OSFXSR, CR4.OSXMMEXCPT), §12.5; vol 1 §11.5.

import { type FunctionRef, fn } from '../../lift/function.ts';
import { S } from '../../state/layout.ts';
import { checkPending } from '../x87/state.ts';

const UD = 6;
const NM = 7;
const XM = 19;
const CR0 = { em: 1n << 2n, ts: 1n << 3n };
const CR4 = { osfxsr: 1n << 9n, osxmmexcpt: 1n << 10n };

/** MXCSR. SDM vol 1 §10.2.3. Flags in bits 0–5, DAZ 6, masks 7–12, RC 13–14, FZ 15. */
export const MXCSR = {
  ie: 1, de: 2, ze: 4, oe: 8, ue: 0x10, pe: 0x20,
  daz: 0x40, masks: 0x1f80, maskShift: 7, um: 0x800, om: 0x400, pm: 0x1000, rc: 0x6000, rcShift: 13, fz: 0x8000,
  /** Bits that exist; setting others raises #GP. */
  valid: 0xffff,
} as const; // biome-ignore format: fields in order
/**
 * Flags of conditions that are found before computing: they keep the others from being looked for.
 */
const BEFORE_COMPUTING = MXCSR.ie | MXCSR.de | MXCSR.ze;

/** Raises #UD or #NM when SSE is off or the task switched. */
export const checkSse: FunctionRef = fn('checkSse', {
  params: {},
  faults: true,
  build(l) {
    const cr0 = l.get(S.cr0);
    l.raiseIf(cr0.and(CR0.em).nez().or(l.get(S.cr4).and(CR4.osfxsr).eqz()), UD);
    l.raiseIf(cr0.and(CR0.ts).nez(), NM);
  },
});

/** Raises #UD, #NM, or #MF for an x87 exception that waits. */
export const checkMmx: FunctionRef = fn('checkMmx', {
  params: {},
  faults: true,
  build(l) {
    const cr0 = l.get(S.cr0);
    l.raiseIf(cr0.and(CR0.em).nez(), UD);
    l.raiseIf(cr0.and(CR0.ts).nez(), NM);
    l.run(checkPending);
  },
});

/**
 * Makes the flags gathered in `S.sseFlags` sticky in MXCSR. Unmasked ones raise #XM, or #UD when
 * the system does not expect it; the instruction must not have changed anything yet.
 */
export const reportSse: FunctionRef = fn('reportSse', {
  params: {},
  faults: true,
  build(l) {
    const flags = l.get(S.sseFlags);
    const mxcsr = l.get(S.mxcsr);
    const enabled = l.let(mxcsr.and(MXCSR.masks).shru(MXCSR.maskShift).xor(0x3f));
    const early = l.let(flags.and(BEFORE_COMPUTING));
    const stopped = early.and(enabled).nez();
    const reported = l.let(l.select(stopped, early, flags));
    l.set(S.mxcsr, mxcsr.or(reported));
    l.unlikely(reported.and(enabled), () => {
      l.raiseIf(l.get(S.cr4).and(CR4.osxmmexcpt).eqz(), UD);
      l.raise(XM);
    });
  },
});
