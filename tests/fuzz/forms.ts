// Which forms of the instruction table a random program takes, and how often. A form added to the table is taken
// without a change here.

import { FORMS, type TableForm } from '../../packages/cpu/interpreter/handlers.ts';
import { whyNotCompared } from '../silicon/forms.ts';
import type { Random } from '../silicon/random.ts';
import { isForSingleCases, leavesUndefinedState } from '../silicon/undefined.ts';
import type { World } from '../silicon/worlds.ts';
import { flagEffects } from './undefined-flags.ts';

/** Programs branch by templates of their own, which know where to. */
const TRANSFER = /^(JMP|J[A-Z]+|CALL|RETF?|IRET|LOOP[A-Z]*|INT[0-9O]?|SYS[A-Z]+|UD[0-9]?|BOUND)$/;
/** What mostly ends a program in user mode: privileged, segment loads, divisions of random numbers. */
const PRIVILEGED =
  /^(HLT|CLI|STI|IN|OUT|INSB?|OUTSB?|L[GIL]DT|LTR|LMSW|CLTS|CLAC|STAC|W?B?INVD|INVLPG|INVPCID|RDMSR|WRMSR|RDPMC|SWAPGS|XSETBV|POPF|ENTER|LEAVE|I?DIV|L[DEFGS]S|AAM|MASKMOV.*|(FX|X)RSTOR.*|LDMXCSR|FLDENV|FRSTOR)$/;
/** What stores or reports something that is the model's: tests/silicon/undefined.ts. */
const NOT_FOR_HOST = /^(FNSTENV|FNSAVE|FXSAVE|ARPL|MASKMOV.*|POPA)$/;
const SHIFT_DOUBLE = /^SH[LR]D$/;
const RARE_PER_1000 = 5;

/** Kinds of code: how much of each unit a program has, in percent; the rest is integer code. */
const FLAVOURS = [
  { sse: 0, avx: 0, x87: 0, mmx: 0 },
  { sse: 0, avx: 0, x87: 0, mmx: 0 },
  { sse: 15, avx: 10, x87: 10, mmx: 8 },
  { sse: 60, avx: 0, x87: 0, mmx: 5 },
  { sse: 10, avx: 50, x87: 0, mmx: 0 },
  { sse: 5, avx: 0, x87: 55, mmx: 5 },
] as const;

interface Pools {
  readonly hot: readonly TableForm[];
  readonly integer: readonly TableForm[];
  readonly sse: readonly TableForm[];
  readonly avx: readonly TableForm[];
  readonly x87: readonly TableForm[];
  readonly mmx: readonly TableForm[];
  readonly readers: readonly TableForm[];
  readonly strings: readonly TableForm[];
  readonly rare: readonly TableForm[];
}

const loadsSegment = (t: TableForm) =>
  t.form.operands.some((o, n) => {
    const isWritten = (t.instruction.access?.[n] ?? (n === 0 ? 'rw' : 'r')).includes('w');
    return isWritten && (o.source === 'segment' || (o.register ?? 0) >= 16);
  });
/** Control registers; gathers, whose vectors of indices would have to be set. */
const needsMore = (t: TableForm) =>
  t.form.operands.some((o) => /^(control|debug|vsib)$/.test(o.source));

function isTaken(t: TableForm, world: World, forHost: boolean): boolean {
  const { name } = t.instruction;
  if (!t.instruction.supported || whyNotCompared(t) || TRANSFER.test(name)) return false;
  if (t.form.mode && (t.form.mode === '64') !== (world.bits === 64)) return false;
  if (!forHost) return true;
  if (isForSingleCases(t) && !SHIFT_DOUBLE.test(name)) return false;
  return !leavesUndefinedState(t) && !NOT_FOR_HOST.test(name);
}

const made = new Map<string, Pools>();
function pools(world: World, forHost: boolean): Pools {
  const key = `${world.name} ${forHost}`;
  const known = made.get(key);
  if (known) return known;
  const all = FORMS.filter((t) => isTaken(t, world, forHost));
  const isRare = (t: TableForm) =>
    PRIVILEGED.test(t.instruction.name) || loadsSegment(t) || needsMore(t);
  const usual = all.filter((t) => !isRare(t));
  const ofUnits = (...units: readonly (string | undefined)[]) =>
    usual.filter((t) => units.includes(t.form.unit));
  const integer = ofUnits(undefined, 'vex');
  const result: Pools = {
    integer,
    hot: integer.filter((t) => t.form.hot),
    sse: ofUnits('sse'),
    avx: ofUnits('avx'),
    x87: ofUnits('x87'),
    mmx: ofUnits('mmx'),
    readers: integer.filter((t) => flagEffects(t).reads !== 0),
    strings: integer.filter((t) => /^(MOVS|CMPS|SCAS|LODS|STOS)[BW]?$/.test(t.instruction.name)),
    rare: all.filter(isRare),
  };
  made.set(key, result);
  return result;
}

/** Draws forms for one program. */
export class FormPicker {
  readonly #random: Random;
  readonly #pools: Pools;
  readonly #flavour: (typeof FLAVOURS)[number];

  constructor(random: Random, world: World, forHost: boolean) {
    this.#random = random;
    this.#pools = pools(world, forHost);
    this.#flavour = random.pick(FLAVOURS);
  }
  pick(): TableForm {
    const r = this.#random;
    const p = this.#pools;
    const { sse, avx, x87, mmx } = this.#flavour;
    if (r.below(1000) < RARE_PER_1000) return r.pick(p.rare);
    let roll = r.below(100);
    if (roll < sse) return r.pick(p.sse);
    roll -= sse;
    if (roll < avx) return r.pick(p.avx);
    roll -= avx;
    if (roll < x87) return r.pick(p.x87);
    roll -= x87;
    if (roll < mmx) return r.pick(p.mmx);
    if (r.chance(25)) return r.pick(p.readers);
    if (r.chance(4)) return r.pick(p.strings);
    return r.pick(r.chance(60) ? p.hot : p.integer);
  }
}
