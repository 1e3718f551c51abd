// RDMSR and WRMSR. SDM vol 4 ch. 2; vol 3A §12.11 (MTRRs), §12.12 (PAT), §16.3 (machine checks), §18.17 (TSC).
// What is not here raises #GP(0), which operating systems probe for.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { CR0, EFER } from '../state/control-bits.ts';
import { type Field, S, SEGMENT } from '../state/layout.ts';
import { seesTime } from './exact.ts';
import { VECTOR } from './fault.ts';
import { apicReadMsr, apicWriteMsr, readTsc, tscChanged } from './host.ts';
import { updateMode } from './mode.ts';
import { PHYSICAL_BITS } from './physical-memory.ts';
import { isNonCanonical } from './stack.ts';
import { flushTlb } from './tlb.ts';

/** IA32_PAT after reset: WB, WT, UC-, UC, twice. */
export const PAT_RESET = 0x0007_0406_0007_0406n;
/** IA32_MISC_ENABLE after reset: fast strings on, no BTS, no PEBS. */
export const MISC_ENABLE_RESET = 0x1801n;
/** IA32_MTRRCAP: eight variable ranges, fixed ranges, write-combining. */
const MTRR_CAP = 0x508n;
const MC_BANKS = 4;
/** IA32_BIOS_SIGN_ID: the update revision is in the upper half. */
const BIOS_SIGN = 1n << 32n;
/**
 * IA32_ARCH_CAPABILITIES: nothing here runs speculatively. RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO,
 * IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO.
 */
const ARCH_CAPABILITIES = [0, 1, 3, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27, 62].reduce(
  (set, bit) => set | (1n << BigInt(bit)),
  0n,
);
/** IA32_SPEC_CTRL: IBRS, STIBP, SSBD and BHI_DIS_S; there is nothing that they would have to stop. */
const SPEC_CTRL = 0x407n;
const PHYSICAL_MASK = (1n << BigInt(PHYSICAL_BITS)) - 1n;
/** Bits of EFER that WRMSR changes; LMA is ignored, others raise #GP(0). */
const EFER_WRITABLE = EFER.sce | EFER.lme | EFER.nxe;
/** Memory types: UC, WC, WT, WP, WB; in IA32_PAT also UC-. SDM vol 3A table 12-10. */
const MTRR_TYPES = 0b0111_0011;
const PAT_TYPES = 0b1111_0011;

/** What may be written: anything, a canonical address, or only these bits. */
type Rule = 'any' | 'canonical' | bigint;

interface StateRegister {
  readonly msr: number;
  readonly field: Field;
  readonly index?: number;
  readonly writable: Rule;
}

/** Registers that are a field of the state and nothing more, the frequent ones first. */
const STATE_REGISTERS: readonly StateRegister[] = [
  { msr: 0xc000_0100, field: S.segBase, index: SEGMENT.fs, writable: 'canonical' },
  { msr: 0xc000_0101, field: S.segBase, index: SEGMENT.gs, writable: 'canonical' },
  { msr: 0xc000_0102, field: S.msrKernelGsBase, writable: 'canonical' },
  { msr: 0x174, field: S.msrSysenterCs, writable: 'any' },
  { msr: 0x175, field: S.msrSysenterEsp, writable: 'canonical' },
  { msr: 0x176, field: S.msrSysenterEip, writable: 'canonical' },
  { msr: 0xc000_0081, field: S.msrStar, writable: 'any' },
  { msr: 0xc000_0082, field: S.msrLstar, writable: 'canonical' },
  { msr: 0xc000_0083, field: S.msrCstar, writable: 'canonical' },
  { msr: 0xc000_0084, field: S.msrSfmask, writable: 0xffff_ffffn },
  { msr: 0xc000_0103, field: S.msrTscAux, writable: 0xffff_ffffn },
  { msr: 0x048, field: S.msrSpecCtrl, writable: SPEC_CTRL },
  { msr: 0x17a, field: S.msrMcgStatus, writable: 7n },
  { msr: 0x1a0, field: S.msrMiscEnable, writable: 'any' },
  { msr: 0x1d9, field: S.msrDebugctl, writable: 3n },
  ...Array.from({ length: MC_BANKS }, (_, index): StateRegister => ({
    msr: 0x400 + 4 * index, field: S.msrMcCtl, index, writable: 'any',
  })),
  ...[0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f].map(
    (msr, index): StateRegister => ({ msr, field: S.msrMtrrFixed, index, writable: 'any' }),
  ),
  ...Array.from({ length: 16 }, (_, index): StateRegister => ({
    msr: 0x200 + index, field: S.msrMtrrVariable, index,
    writable: PHYSICAL_MASK & (index % 2 === 0 ? ~0xf00n : ~0x7ffn),
  })),
]; // biome-ignore format: a table

/** Registers that read the same always; writing 0 or the same is allowed, anything else raises #GP(0). */
const CONSTANTS: readonly (readonly [msr: number, value: bigint])[] = [
  [0x017, 0n], // IA32_PLATFORM_ID
  [0x02a, 0n], // MSR_EBL_CR_POWERON
  [0x03a, 1n], // IA32_FEATURE_CONTROL: locked with VMX off
  [0x049, 0n], // IA32_PRED_CMD: IBPB has nothing to do
  [0x079, 0n], // IA32_BIOS_UPDT_TRIG
  [0x08b, BIOS_SIGN],
  [0x0ce, 0n], // MSR_PLATFORM_INFO
  [0x0fe, MTRR_CAP],
  [0x10a, ARCH_CAPABILITIES],
  [0x179, BigInt(MC_BANKS)], // IA32_MCG_CAP
  [0x198, 0n], // IA32_PERF_STATUS
  [0x199, 0n], // IA32_PERF_CTL
  [0x19a, 0n], // IA32_CLOCK_MODULATION
  [0x19b, 0n], // IA32_THERM_INTERRUPT
  [0x19c, 0n], // IA32_THERM_STATUS
  [0x1c9, 0n], // MSR_LASTBRANCH_TOS
  [0x1db, 0n], // MSR_LASTBRANCHFROMIP
  [0x1dc, 0n], // MSR_LASTBRANCHTOIP
  [0x1dd, 0n], // MSR_LASTINTFROMIP
  [0x1de, 0n], // MSR_LASTINTTOIP
  // IA32_MCi_STATUS, ADDR, MISC
  ...Array.from(
    { length: MC_BANKS * 3 },
    (_, n) => [0x401 + 4 * Math.floor(n / 3) + (n % 3), 0n] as const,
  ),
];
/** Registers whose writes are commands. */
const WRITES_IGNORED = new Set([0x049, 0x079]);

const isMsr = (msr: Value, number: number) => msr.eq(number | 0);

/** IA32_APIC_BASE, IA32_TSC_DEADLINE and x2APIC registers. */
function isApic(msr: Value): Value {
  return isMsr(msr, 0x1b).or(isMsr(msr, 0x6e0)).or(msr.and(~0xff).eq(0x800));
}

/** The time-stamp counter as the guest sees it. */
export const timeStamp: FunctionRef = fn('timeStamp', {
  params: {},
  result: 'i64',
  faults: true,
  build(l) {
    seesTime(l);
    l.return(l.op('i64.trunc_sat_f64_u', l.call(readTsc)).add(l.get(S.tscOffset)));
  },
});

export const readMsr: FunctionRef = fn('readMsr', {
  params: { msr: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { msr }) {
    const on = (number: number, value: () => Value) =>
      l.if(isMsr(msr, number), () => l.return(value()));
    for (const r of STATE_REGISTERS) on(r.msr, () => l.get(r.field, r.index));
    on(0xc000_0080, () => l.get(S.efer));
    on(0x10, () => l.call(timeStamp));
    on(0x3b, () => l.get(S.msrTscAdjust));
    on(0x277, () => l.get(S.msrPat));
    on(0x2ff, () => l.get(S.msrMtrrDefType));
    l.if(isApic(msr), () => {
      seesTime(l);
      l.return(l.call(apicReadMsr, msr));
    });
    for (const [number, value] of CONSTANTS) on(number, () => l.i64(value));
    l.raise(VECTOR.gp, 0);
  },
});

function requireBits(l: Lift, value: Value, valid: bigint): void {
  l.raiseIf(value.and(BigInt.asIntN(64, ~valid)).nez(), VECTOR.gp, 0);
}

/** Whether each of the `count` low bytes is one of the memory types in the set. */
function areTypes(l: Lift, value: Value, count: number, types: number): Value {
  let all = l.i32(1);
  for (let n = 0; n < count; n++) {
    const type = l.let(
      value
        .shru(8 * n)
        .i32()
        .and(0xff),
    );
    all = l.let(all.and(type.ltu(8)).and(l.i32(types).shru(type)));
  }
  return all;
}

export const writeMsr: FunctionRef = fn('writeMsr', {
  params: { msr: 'i32', value: 'i64' },
  faults: true,
  build(l, { msr, value }) {
    const on = (number: number, write: () => void) =>
      l.if(isMsr(msr, number), () => {
        write();
        l.return();
      });
    for (const r of STATE_REGISTERS) {
      on(r.msr, () => {
        if (r.writable === 'canonical') l.raiseIf(isNonCanonical(value), VECTOR.gp, 0);
        else if (r.writable !== 'any') requireBits(l, value, r.writable);
        l.set(r.field, value, r.index);
      });
    }
    on(0xc000_0080, () => writeEfer(l, value));
    on(0x10, () => adjustTsc(l, value.sub(l.call(timeStamp))));
    on(0x3b, () => adjustTsc(l, value.sub(l.get(S.msrTscAdjust))));
    on(0x277, () => {
      l.raiseIf(areTypes(l, value, 8, PAT_TYPES).eqz(), VECTOR.gp, 0);
      l.set(S.msrPat, value);
    });
    on(0x2ff, () => {
      requireBits(l, value, 0xcffn);
      l.raiseIf(areTypes(l, value, 1, MTRR_TYPES).eqz(), VECTOR.gp, 0);
      l.set(S.msrMtrrDefType, value);
    });
    l.if(isApic(msr), () => {
      seesTime(l);
      l.run(apicWriteMsr, msr, value);
      l.return();
    });
    for (const [number, constant] of CONSTANTS) {
      on(number, () => {
        if (WRITES_IGNORED.has(number)) return;
        l.raiseIf(value.nez().and(value.ne(constant)), VECTOR.gp, 0);
      });
    }
    l.raise(VECTOR.gp, 0);
  },
});

/** LME cannot change while paging is on; NXE changes what translations allow. */
function writeEfer(l: Lift, value: Value): void {
  requireBits(l, value, BigInt(EFER_WRITABLE | EFER.lma));
  const old = l.get(S.efer);
  const changed = l.let(old.xor(value).i32());
  const isPaging = l.get(S.cr0).i32().and(CR0.pg).nez();
  l.raiseIf(changed.and(EFER.lme).nez().and(isPaging), VECTOR.gp, 0);
  l.set(S.efer, value.and(BigInt(EFER_WRITABLE)).or(old.and(BigInt(EFER.lma))));
  l.if(changed.and(EFER.nxe), () => l.run(flushTlb));
  l.run(updateMode);
}

/** Writes to the TSC and to IA32_TSC_ADJUST move both. */
function adjustTsc(l: Lift, delta: Value): void {
  seesTime(l);
  const d = l.let(delta);
  l.set(S.tscOffset, l.get(S.tscOffset).add(d));
  l.set(S.msrTscAdjust, l.get(S.msrTscAdjust).add(d));
  l.run(tscChanged);
}
