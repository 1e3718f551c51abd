// Register values after power-on. SDM vol 3A table 9-1. Everything that is not listed is 0.

import { type Field, GPR, S, SEGMENT, TLB_MODES } from './layout.ts';

export type PowerOnState = readonly {
  readonly field: Field;
  readonly index: number;
  readonly value: bigint;
}[];

const CODE_ATTRIBUTES = 0x9b00n;
const DATA_ATTRIBUTES = 0x9300n;
const LDT_ATTRIBUTES = 0x8200n;
const TSS_ATTRIBUTES = 0x8b00n;

/** What differs between models. */
export interface PowerOnModel {
  /** CPUID leaf 1, EAX, which processors also begin with in EDX. */
  readonly signature: number;
  /** S.xstate. */
  readonly xstate: bigint;
}

export function powerOnState({ signature, xstate }: PowerOnModel): PowerOnState {
  const set = (field: Field, value: bigint, index = 0) => ({ field, index, value });
  const segments = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'] as const;
  return [
    set(S.rip, 0xfff0n),
    set(S.rflags, 2n),
    // No flag set: a result that is positive and of odd parity.
    set(S.flagZ, 1n),
    set(S.flagSP, 1n),
    set(S.gpr, BigInt(signature), GPR.rdx),
    set(S.cr0, 0x6000_0010n),
    set(S.xcr0, 1n),
    set(S.xstate, xstate),
    set(S.dr, 0xffff_0ff0n, 6),
    set(S.dr, 0x400n, 7),
    set(S.gdtrLimit, 0xffffn),
    set(S.idtrLimit, 0xffffn),
    set(S.mxcsr, 0x1f80n),
    set(S.x87Control, 0x40n),
    set(S.msrPat, 0x0007_0406_0007_0406n),
    set(S.msrMiscEnable, 0x1801n),
    set(S.monitorAddress, -1n),
    set(S.codePageLinear, -1n),
    set(S.tlbsUsed, (1n << BigInt(TLB_MODES)) - 1n),
    ...segments.flatMap((name) => [
      set(S.segLimit, 0xffffn, SEGMENT[name]),
      set(S.segAttributes, attributesOf(name), SEGMENT[name]),
    ]),
    set(S.segSelector, 0xf000n, SEGMENT.cs),
    set(S.segBase, 0xffff_0000n, SEGMENT.cs),
    // Every physical register is empty only after FNINIT; power-on leaves zeros that are in use.
    set(S.x87Tags, 0xffn),
  ];
}

function attributesOf(name: keyof typeof SEGMENT): bigint {
  if (name === 'cs') return CODE_ATTRIBUTES;
  if (name === 'ldtr') return LDT_ATTRIBUTES;
  return name === 'tr' ? TSS_ATTRIBUTES : DATA_ATTRIBUTES;
}
