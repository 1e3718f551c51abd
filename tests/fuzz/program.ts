// Makes a random program: items in loops, behind forward branches and in called routines, with a state around them.
// The same seed gives the same program as long as the instruction table stays the same.

import type { TableForm } from '../../packages/cpu/interpreter/handlers.ts';
import { type Aim, type Built, InstructionBuilder, type Poke } from '../silicon/encode.ts';
import { CODE, PAGE } from '../silicon/layout.ts';
import { Random } from '../silicon/random.ts';
import { isOtherManufacturers } from '../silicon/undefined.ts';
import { WORLDS, type World, type WorldName } from '../silicon/worlds.ts';
import type { Translation } from './engines.ts';
import { FormPicker } from './forms.ts';
import { BUILT_AT, type Fixup, type Item, NO_FLAGS } from './item.ts';
import { aimOf, CODE_MAX, initialState } from './state.ts';
import {
  backEdge, bump, type Counter, call, definer, division, GUARD_REGISTER, indirect, jumpIf, loadFlags, loadRegister,
  loadSegment, onlyLate, patch, returnItem,
} from './templates.ts'; // biome-ignore format: a list
import { flagEffects, keepNeededDefiners } from './undefined-flags.ts';

const TRIES_MAX = 12;
const NESTING_MAX = 3;
const STACK_POINTER = 4;
const LOCK = 0xf0;
/** Opcodes ADD, SUB, CMP of one operand shape: a store may turn one into another without touching undefined flags. */
const PATCHABLE_OPCODES: ReadonlyMap<number, number> = new Map([
  [0x00, 0x28],
  [0x28, 0x28],
  [0x38, 0x10],
]);
/** Items that are not made yet have negative numbers: the program's end, its routines, then places further on. */
const END = -1;
const ROUTINE = -2;
const FIRST_PLACE = -100;

export interface Program {
  readonly world: WorldName;
  readonly items: readonly Item[];
  /** Items that take part: all but the definers that nobody needs. */
  readonly kept: readonly boolean[];
  /** Linear address of the first item. */
  readonly start: number;
  /** struct test with everything but the code. */
  readonly state: Uint8Array;
  /** Budget of one slice for the engines. */
  readonly slice: number;
  readonly translation: Translation;
}

/** Program number `index` of a seed. `forHost`: only what a host processor gives the same by the manual; `world`: in no other. */
export function makeProgram(
  seed: number | string,
  index: number,
  forHost: boolean,
  world?: WorldName,
): Program {
  for (let part = 0; ; part++) {
    const random = new Random(`fuzz ${seed} ${index} ${part}`);
    const program = new Maker(random, forHost, world).make();
    if (program) return program;
  }
}

class Maker {
  readonly #r: Random;
  readonly #forHost: boolean;
  readonly #worldName: WorldName;
  readonly #world: World;
  readonly #aim: Aim;
  readonly #counter: Counter;
  readonly #picker: FormPicker;
  readonly #items: Item[] = [];
  /** Items of this routine that begin something whole: branches lead to these. */
  #starts: number[] = [];
  readonly #pokes: Poke[] = [];
  /** Registers that programs need and mostly leave alone. */
  readonly #protected: ReadonlySet<number>;
  /** What the negative item numbers stand for, and those of this routine that are still open: which start they mean. */
  readonly #places = new Map<number, number>();
  #open: { readonly place: number; readonly start: number }[] = [];
  #nextPlace = FIRST_PLACE;
  /** How often the program stores into its own code. */
  readonly #patchPercent: number;
  /** And how often it loads a segment register. */
  readonly #segmentPercent: number;
  /** Routines lie in another page than their callers, and are called more often. */
  readonly #isSplit: boolean;
  /** Stores into items that come later. */
  readonly #latePatches: number[] = [];

  constructor(random: Random, forHost: boolean, world: WorldName | undefined) {
    this.#r = random;
    this.#forHost = forHost;
    const roll = random.below(100);
    const other = random.pick(['segmented', 'small', 'mixed'] as const);
    this.#worldName = world ?? (roll < 70 ? 'long' : roll < 88 ? 'flat' : other);
    this.#world = WORLDS[this.#worldName];
    this.#aim = aimOf(random, this.#worldName);
    this.#counter = {
      world: this.#world,
      inRegister: this.#world.bits === 64 && random.chance(65),
    };
    this.#patchPercent = random.chance(20) ? 25 : 1;
    this.#segmentPercent = this.#worldName === 'flat' && random.chance(50) ? 10 : 0;
    this.#isSplit = random.chance(35);
    this.#picker = new FormPicker(random, this.#world, forHost);
    this.#protected = new Set([
      STACK_POINTER,
      ...(this.#world.bits === 64 ? [GUARD_REGISTER] : []),
      ...this.#aim.pointers.map(([n]) => n),
      ...this.#aim.indices.map(([n]) => n),
    ]);
  }

  /** Undefined if it came out too long. */
  make(): Program | undefined {
    const r = this.#r;
    const routineCount = this.#isSplit ? 1 + r.below(4) : r.below(3);
    this.#block(4 + r.below(r.chance(20) ? 40 : 14), 0, routineCount);
    this.#places.set(END, this.#push({ ...NOP, bytes: [0xcc], fallsThrough: false }));
    this.#closeRoutine();
    if (this.#isSplit)
      this.#push({ ...NOP, bytes: [], gapTo: CODE + PAGE + r.below(128), fallsThrough: false });
    for (let n = 0; n < routineCount; n++) {
      this.#places.set(ROUTINE - n, this.#items.length);
      this.#block(1 + r.below(6), 1, 0);
      // One further on, so that calls end.
      if (this.#isSplit && n + 1 < routineCount && r.chance(40))
        this.#callRoutine(routineCount, n + 1);
      this.#push(returnItem());
      this.#closeRoutine();
    }
    for (const at of this.#latePatches)
      this.#items[at] = this.#patchNear(at + 1, at + 1 + r.pick([3, 16]));
    const items = this.#items.map((item) => settle(item, this.#places));
    if (items.reduce((sum, item) => sum + item.bytes.length, 0) > CODE_MAX) return undefined;
    const kept = this.#forHost ? keepNeededDefiners(items) : items.map((item) => !item.isDefiner);
    const surroundings = { world: this.#worldName, items, aim: this.#aim, pokes: this.#pokes };
    return { world: this.#worldName, items, kept, ...initialState(r, surroundings) };
  }
  /** Places that lie behind the last start are its end. */
  #closeRoutine(): void {
    const last = this.#items.length - 1;
    for (const { place, start } of this.#open) this.#places.set(place, this.#starts[start] ?? last);
    this.#open = [];
    this.#starts = [];
  }

  #push(item: Item): number {
    this.#items.push(item);
    return this.#items.length - 1;
  }
  /** Puts a definer in front of what reads flags. */
  #add(...items: readonly Item[]): void {
    for (const item of items) {
      if (item.flags.reads) this.#push(definer(this.#r));
      this.#push(item);
    }
  }
  /** A place a little further on in this routine, and what comes next in it. */
  #ahead(): number {
    return this.#place(this.#starts.length + this.#r.below(5));
  }
  #next(): number {
    return this.#place(this.#starts.length);
  }
  #place(start: number): number {
    const place = this.#nextPlace--;
    this.#open.push({ place, start });
    return place;
  }

  #block(count: number, nesting: number, routineCount: number): void {
    for (let n = 0; n < count; n++) {
      this.#starts.push(this.#items.length);
      this.#unit(nesting, routineCount);
    }
  }
  #unit(nesting: number, routineCount: number): void {
    const r = this.#r;
    const world = this.#world;
    const { pointers } = this.#aim;
    const roll = r.below(100);
    if (this.#isSplit && routineCount && r.chance(25)) this.#callRoutine(routineCount);
    else if (roll < 8 && nesting < NESTING_MAX) this.#loop(nesting, routineCount);
    else if (roll < 17) this.#add(jumpIf(world, r.below(16), this.#ahead(), r.chance(20)));
    else if (roll < 20 && routineCount) this.#callRoutine(routineCount);
    else if (roll < 22) {
      const kind = r.pick(['jump', 'push and return'] as const);
      this.#add(...indirect(world, r, [this.#ahead(), this.#ahead()], kind));
    } else if (r.chance(this.#patchPercent)) this.#patchSomething();
    else if (r.chance(this.#segmentPercent)) this.#add(...loadSegment(r));
    else if (roll < 24) this.#add(...division(world, r));
    else if (roll < 25 && world.bits !== 16) this.#add(...loadFlags(r));
    else if (roll < 27 && pointers.length) this.#add(bump(world, r, r.pick(pointers)[0]));
    else for (let tries = 0; tries < TRIES_MAX && !this.#form(this.#picker.pick()); ) tries++;
  }
  #loop(nesting: number, routineCount: number): void {
    const head = this.#items.length;
    this.#block(1 + this.#r.below(7), nesting + 1, routineCount);
    this.#add(...backEdge(this.#counter, this.#r, head, END));
  }
  #callRoutine(routineCount: number, first = 0): void {
    const r = this.#r;
    const routine = () => ROUTINE - first - r.below(routineCount - first);
    if (r.chance(30)) this.#add(...indirect(this.#world, r, [routine(), routine()], 'call'));
    else this.#push(call(this.#world, routine()));
    this.#push({ ...NOP, isReturnPoint: true });
  }

  /** A store to an immediate, or to an opcode, of an item before or behind it. */
  #patchSomething(): void {
    if (this.#worldName !== 'long' && this.#worldName !== 'flat') return;
    if (this.#r.chance(60)) this.#add(...onlyLate(this.#counter, this.#r, this.#next()));
    const here = this.#items.length;
    if (this.#r.chance(50)) this.#latePatches.push(this.#push(NOP));
    else this.#push(this.#patchNear(here - 20, here));
  }
  #patchNear(from: number, to: number): Item {
    const first = Math.max(0, from);
    const candidates = this.#items
      .slice(first, Math.max(0, to))
      .flatMap((item, n) => patchPlace(item, first + n));
    if (!candidates.length) return NOP;
    const { item, offset, xor } = this.#r.pick(candidates);
    return patch(this.#world, this.#r, item, offset, xor);
  }

  #isForHost(table: TableForm, built: Built): boolean {
    const isWideShift = /^SH[LR]D$/.test(table.instruction.name) && built.bits === 16;
    return !isWideShift && !isOtherManufacturers(table, built, { world: this.#worldName });
  }
  /** An instruction of the table, with the registers that it wants; false when it would spoil the program. */
  #form(table: TableForm): boolean {
    const r = this.#r;
    const built = new InstructionBuilder(r, table, this.#world, this.#aim).build(BUILT_AT);
    if (this.#forHost && !this.#isForHost(table, built)) return false;
    const isLocked = built.bytes.slice(0, 4).includes(LOCK);
    if (isLocked && !(table.form.lock && built.isMemory) && r.chance(90)) return false;
    const isCareful = r.chance(99);
    if (isCareful && writtenRegisters(table, built).some((n) => this.#protected.has(n)))
      return false;
    const asked = [...built.registers].filter(([n]) => n !== STACK_POINTER || r.chance(10));
    if (asked.some(([n]) => n !== STACK_POINTER && this.#protected.has(n))) return false;
    for (const [n, value] of asked) {
      if (r.chance(96)) this.#push(loadRegister(this.#world, r, n, BigInt.asUintN(64, value)));
    }
    this.#pokes.push(...built.pokes);
    this.#add({ ...NOP, bytes: built.bytes, table, built, flags: flagEffects(table) });
    return true;
  }
}
const NOP: Item = { bytes: [0x90], fixups: [], flags: NO_FLAGS, fallsThrough: true, targets: [] };

/** Puts numbers of items in the place of negative ones. */
function settle(item: Item, places: ReadonlyMap<number, number>): Item {
  const number = (n: number) => (n < 0 ? places.get(n)! : n);
  const fix = (fixups: readonly Fixup[]) => fixups.map((f) => ({ ...f, item: number(f.item) }));
  const short = item.short && { bytes: item.short.bytes, fixups: fix(item.short.fixups) };
  return {
    ...item,
    fixups: fix(item.fixups),
    ...(short && { short }),
    targets: item.targets.map(number),
  };
}

interface PatchPlace {
  readonly item: number;
  readonly offset: number;
  /** What to change an opcode by; undefined: an immediate, which may become anything. */
  readonly xor?: number;
}
function patchPlace(item: Item, n: number): PatchPlace[] {
  if (!item.table || !item.built) return [];
  const { bytes, rex } = item.built;
  const last = item.table.form.operands.at(-1)?.source;
  if (last === 'immediate' || last === 'immediateSigned')
    return [{ item: n, offset: bytes.length - 1 }];
  const at = rex ? bytes.indexOf(rex) + 1 : 0;
  const opcode = bytes[at]!;
  const xor = PATCHABLE_OPCODES.get(opcode & ~7);
  const isShape = /^(ADD|SUB|CMP)$/.test(item.table.instruction.name) && (opcode & 7) < 4;
  return xor !== undefined && isShape ? [{ item: n, offset: at, xor }] : [];
}

/** General registers that an instruction's operands write, by number. */
function writtenRegisters(t: TableForm, built: Built): number[] {
  return t.form.operands.flatMap((o, n) => {
    const access = t.instruction.access?.[n] ?? (n === 0 ? 'rw' : 'r');
    if (!access.includes('w')) return [];
    const numbers: Readonly<Record<string, number | undefined>> = {
      reg: built.reg,
      rm: built.rm,
      rmRegister: built.rm,
      opcode: built.inOpcode,
      vvvv: vvvvRegister(built.bytes),
      fixed: o.register,
    };
    const number = numbers[o.source];
    if (number === undefined || number > 15) return [];
    return [o.size === 'b' && !built.rex && number > 3 ? number & 3 : number];
  });
}
/** VEX.vvvv: inverted bits 6-3 of the prefix's last byte. SDM vol 2A §2.3.5. */
function vvvvRegister(bytes: readonly number[]): number | undefined {
  const at = bytes.findIndex((byte) => byte === 0xc4 || byte === 0xc5);
  const last = bytes[at + (bytes[at] === 0xc4 ? 2 : 1)];
  return last === undefined ? undefined : (~last >> 3) & 15;
}
