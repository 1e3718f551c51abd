// Saving and restoring the floating-point state: FSTENV, FSAVE, FXSAVE and XSAVE with their
// opposites, XGETBV and XSETBV. SDM vol 1 §8.1.10, §10.5, ch. 13. XSAVES and XRSTORS are not there.

import type { FunctionRef } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { updateMode } from '../microcode/mode.ts';
import {
  ENVIRONMENT,
  ENVIRONMENT_BYTES,
  loadRegisters,
  maskExceptions,
  STATE_BYTES,
  storeRegisters,
} from '../microcode/x87/environment.ts';
import {
  FXSAVE_BYTES,
  fxrstor,
  fxsave,
  requested,
  XSAVE_AVX_BYTES,
  XSAVE_BYTES,
  XSTATE,
  xrstor,
  xsave,
  xsavec,
  xsaveopt,
} from '../microcode/x87/save.ts';
import { GPR, S } from '../state/layout.ts';
import {
  ENDS,
  form,
  type Instruction,
  type InstructionContext,
  instruction,
  type LiftOperand,
  M,
  SIZED,
  unsupported,
  X87,
} from './instruction.ts';
import { requireX87 } from './x87-move.ts';

const UD = 6;
const NM = 7;
const GP = 13;
const CR0_TS = 1n << 3n;
const CR4_OSXSAVE = 1n << 18n;

/**
 * Raises what an access to the operand's first or last byte raises; they are on two pages at most.
 */
function probe(l: Lift, operand: LiftOperand, bytes: number, access: 'read' | 'write'): Value {
  const linear = l.let(operand.linear(bytes, access));
  const last = l.let(linear.add(BigInt(bytes - 1)));
  if (access === 'read') {
    l.load(1, linear);
    l.load(1, last);
  } else {
    l.update(1, linear);
    l.update(1, last);
  }
  return linear;
}

/** Environments are 16-bit with that operand size, else 32-bit, in 64-bit mode too. */
const formatOf = (i: InstructionContext): 16 | 32 => (i.bits === 16 ? 16 : 32);
const isReal = (l: Lift): Value => l.get(S.legacyMode).nez();

const LEGACY: readonly Instruction[] = [
  instruction({
    name: 'FNSTENV',
    manual: 'SDM vol 2A, FSTENV',
    forms: [form('D9 /6', M, SIZED)],
    access: ['w'],
    lift(l, i, dst) {
      requireX87(l);
      const linear = probe(l, dst!, ENVIRONMENT_BYTES[formatOf(i)], 'write');
      l.run(ENVIRONMENT[formatOf(i)].store, linear, isReal(l));
      maskExceptions(l);
    },
  }),
  instruction({
    name: 'FLDENV',
    manual: 'SDM vol 2A, FLDENV',
    forms: [form('D9 /4', M, SIZED, X87)],
    access: ['r'],
    lift(l, i, src) {
      const linear = probe(l, src!, ENVIRONMENT_BYTES[formatOf(i)], 'read');
      l.run(ENVIRONMENT[formatOf(i)].load, linear, isReal(l));
    },
  }),
  instruction({
    name: 'FNSAVE',
    manual: 'SDM vol 2A, FSAVE',
    forms: [form('DD /6', M, SIZED)],
    access: ['w'],
    lift(l, i, dst) {
      requireX87(l);
      const format = formatOf(i);
      const linear = probe(l, dst!, STATE_BYTES[format], 'write');
      l.run(ENVIRONMENT[format].store, linear, isReal(l));
      l.run(storeRegisters, linear.add(BigInt(ENVIRONMENT_BYTES[format])));
    },
  }),
  instruction({
    name: 'FRSTOR',
    manual: 'SDM vol 2A, FRSTOR',
    forms: [form('DD /4', M, SIZED, X87)],
    access: ['r'],
    lift(l, i, src) {
      const format = formatOf(i);
      const linear = probe(l, src!, STATE_BYTES[format], 'read');
      l.run(ENVIRONMENT[format].load, linear, isReal(l));
      l.run(loadRegisters, linear.add(BigInt(ENVIRONMENT_BYTES[format])));
    },
  }),
];

interface AreaRow {
  readonly name: string;
  readonly encoding: string;
  readonly function: FunctionRef;
  readonly access: 'read' | 'write';
}

const FXSAVE: readonly AreaRow[] = [
  { name: 'FXSAVE', encoding: 'NP 0F AE /0', function: fxsave, access: 'write' },
  { name: 'FXRSTOR', encoding: 'NP 0F AE /1', function: fxrstor, access: 'read' },
];
const XSAVE: readonly AreaRow[] = [
  { name: 'XSAVE', encoding: 'NP 0F AE /4', function: xsave, access: 'write' },
  { name: 'XRSTOR', encoding: 'NP 0F AE /5', function: xrstor, access: 'read' },
  { name: 'XSAVEOPT', encoding: 'NP 0F AE /6', function: xsaveopt, access: 'write' },
  { name: 'XSAVEC', encoding: 'NP 0F C7 /4', function: xsavec, access: 'write' },
];

/** Runs an area's function after alignment and access are checked. */
function onArea(
  l: Lift,
  i: InstructionContext,
  operand: LiftOperand,
  options: { row: AreaRow; bytes: number; alignment: number },
): void {
  const { row, bytes, alignment } = options;
  const linear = l.let(operand.linear(bytes, row.access));
  l.raiseIf(linear.i32().and(alignment - 1), GP, 0);
  probe(l, operand, bytes, row.access);
  l.run(row.function, linear, i.bits === 64 ? 1 : 0);
}

function requireXsave(l: Lift): void {
  l.raiseIf(l.get(S.cr4).and(CR4_OSXSAVE).eqz(), UD);
}

const AREAS: readonly Instruction[] = [
  ...FXSAVE.map((row) =>
    instruction({
      name: row.name,
      manual: `SDM vol 2A, ${row.name}`,
      feature: 'FXSR',
      forms: [form(row.encoding, M, SIZED)],
      access: [row.access === 'read' ? 'r' : 'w'],
      exceptions: '#NM, #GP(0)',
      lift(l, i, operand) {
        requireX87(l);
        onArea(l, i, operand!, { row, bytes: FXSAVE_BYTES, alignment: 16 });
      },
    }),
  ),
  ...XSAVE.map((row) =>
    instruction({
      name: row.name,
      manual: `SDM vol 2D, ${row.name}`,
      feature: row.name === 'XRSTOR' ? 'XSAVE' : row.name,
      forms: [form(row.encoding, M, SIZED)],
      access: [row.access === 'read' ? 'r' : 'w'],
      exceptions: '#UD, #NM, #GP(0)',
      lift(l, i, operand) {
        requireXsave(l);
        l.raiseIf(l.get(S.cr0).and(CR0_TS).nez(), NM);
        l.if(requested(l).and(XSTATE.avx), () => probe(l, operand!, XSAVE_AVX_BYTES, row.access));
        onArea(l, i, operand!, { row, bytes: XSAVE_BYTES, alignment: 64 });
      },
    }),
  ),
  instruction({
    name: 'XGETBV',
    manual: 'SDM vol 2D, XGETBV',
    feature: 'XSAVE',
    forms: [form('NP 0F 01 D0')],
    exceptions: '#UD, #GP(0)',
    lift(l) {
      requireXsave(l);
      l.raiseIf(l.get(S.gpr, GPR.rcx).i32(), GP, 0);
      const xcr0 = l.get(S.xcr0);
      l.set(S.gpr, xcr0.and(0xffff_ffffn), GPR.rax);
      l.set(S.gpr, xcr0.shru(32), GPR.rdx);
    },
  }),
  instruction({
    name: 'XSETBV',
    manual: 'SDM vol 2D, XSETBV',
    feature: 'XSAVE',
    forms: [form('NP 0F 01 D1', ENDS)],
    exceptions: '#UD, #GP(0)',
    lift(l) {
      requireXsave(l);
      const low = l.let(l.get(S.gpr, GPR.rax).i32());
      const isReserved = l.get(S.gpr, GPR.rcx).or(l.get(S.gpr, GPR.rdx)).i32().nez();
      // AVX needs SSE, and x87 is always on. SDM vol 1 §13.3.
      const isWrong = low
        .and(l.get(S.xstate).i32().not())
        .nez()
        .or(low.and(XSTATE.x87).eqz())
        .or(low.and(XSTATE.avx | XSTATE.sse).eq(XSTATE.avx));
      l.raiseIf(l.get(S.cpl).nez().or(isReserved).or(isWrong), GP, 0);
      l.set(S.xcr0, low.u64());
      l.run(updateMode);
    },
  }),
  unsupported('XSAVES', 'SDM vol 2D, XSAVES', form('NP 0F C7 /5', M)),
  unsupported('XRSTORS', 'SDM vol 2D, XRSTORS', form('NP 0F C7 /3', M)),
];

export const INSTRUCTIONS_X87_STATE: readonly Instruction[] = [...LEGACY, ...AREAS];
