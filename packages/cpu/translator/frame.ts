// How a region begins and how it ends. It begins with a look at whether it may run, and its registers come into locals;
// there is one way out, on which they go back into the vCPU's state, and then on to the region that follows.

import { inlined } from '../interpreter/access.ts';
import { ENTRY_POINT, R } from '../interpreter/record.ts';
import { EXIT_CODES, TRANSLATED_FAULT } from '../lift/assemble.ts';
import type { Emitter } from '../lift/emit.ts';
import type { Local, Statement } from '../lift/ir.ts';
import { FAULT_NON_CANONICAL, Lift, newLocal } from '../lift/lift.ts';
import { Value } from '../lift/value.ts';
import { codeBitsOf, isFlatMode } from '../state/decoding-mode.ts';
import { EVENT, S, SEGMENT } from '../state/layout.ts';
import type { CodeWriter } from '../wasm/module.ts';
import { wasmOp } from '../wasm/opcodes.ts';
import { NOTE } from './flag-liveness.ts';
import type { FlagNote } from './flag-note.ts';
import { linkStatements } from './link.ts';
import { pageDistance } from './links.ts';
import { linkOf, offsetOf, placeIn } from './places.ts';
import type { Region } from './region.ts';
import type { RegisterBits } from './register-liveness.ts';

/** Labels of the ways out behind those that write registers back, from the innermost: with a fault, to the loop, to the local
 *  `next`, to S.rip; and of what all but the first two come to. */
const LABEL = { fault: 1, loop: 2, next: 3, proceed: 4, link: 5 } as const;
type Way = 'fault' | 'loop' | 'next';
/** Labels of ways that several places take with the same registers to write back, and how many there can be: what takes
 *  another way writes them where it leaves. */
const WRITE_BACK = 100;
const WRITE_BACKS_MAX = 24;

/** What is done on the way out before its end. */
interface WriteBack {
  readonly way: Way;
  /** The vCPU's state knows the flags. */
  readonly isClean: boolean;
  readonly dirty: number;
}

/** The local that tells where in its block an instruction stands: its place, whether its memory operand goes through
 *  SS, and how many instructions of the block have retired and not been counted. */
export const PLACE = { place: 0xffff, throughSs: 0x1_0000, retiredShift: 17 } as const;

/** Entries that a word has bits for. */
const WHICH_BITS = 32;

export interface FrameOptions {
  /** Type of handlers and regions in the module. */
  readonly handlerType: number;
  /** Index of the WebAssembly global that holds the address of the region's own memory. */
  readonly baseGlobal: number;
  /** Bytes of that memory in front of a u16 that is 0 as soon as the region is no longer valid: the handler of its block. */
  readonly validAt: number;
  /** Instructions are counted, and loops end when the budget is used up. */
  readonly counts: boolean;
}

export class RegionFrame {
  readonly #region: Region;
  readonly #options: FrameOptions;
  readonly #e: Emitter;
  readonly #code: CodeWriter;
  readonly #flagNote: FlagNote;
  readonly #budgetAtEntry: Local = newLocal('i32');
  readonly #bits: RegisterBits;
  /** Where the instruction that may fault stands: PLACE. */
  readonly place: Local = newLocal('i32');
  /** What a handler said; the entry point of the region that follows. */
  readonly status: Local = newLocal('i32');
  /** Number of the place where the region is entered. */
  readonly which: Local = newLocal('i32');
  /** All that is in force in more than one block. */
  readonly locals: readonly Local[];

  constructor(
    region: Region,
    options: FrameOptions,
    { emitter, flagNote, bits }: { emitter: Emitter; flagNote: FlagNote; bits: RegisterBits },
  ) {
    this.#bits = bits;
    this.#region = region;
    this.#options = options;
    this.#e = emitter;
    this.#code = emitter.code;
    this.#flagNote = flagNote;
    const { ripBase, next, tlb, base, registers } = region;
    const own = [this.place, this.#budgetAtEntry, this.status, this.which];
    own.push(ripBase, next, tlb, base, ...flagNote.locals);
    this.locals = [...own, ...registers.all.map((p) => p.local)];
    for (const local of this.locals) emitter.local(local);
  }

  lift(build: (l: Lift) => void): void {
    this.#e.body(this.statements(build));
  }
  statements(build: (l: Lift) => void): readonly Statement[] {
    const l = new Lift({ cpu: newLocal('i32', 0), access: inlined, mayFault: true });
    build(l);
    return l.statements;
  }
  value(local: Local): Value {
    return new Value({ kind: 'local', type: local.type, local });
  }
  /** rip of a place. */
  rip(place: number): Value {
    const rip = this.ripUncut(place);
    // 32 bits may wrap around on the way to another page.
    return linkOf(place) && isFlatMode(this.#region.mode) ? rip.and(0xffff_ffffn) : rip;
  }
  /** As `rip`, but out of range where 32 bits wrap around on the way. */
  ripUncut(place: number): Value {
    const { ripBase, links } = this.#region;
    const link = links[linkOf(place) - 1];
    const distance = (link ? pageDistance(link) : 0) + offsetOf(place);
    return this.value(ripBase).add(BigInt(distance));
  }
  /** rip of the instruction at `place`. */
  #ripOfPlace(l: Lift, place: Value): Value {
    const { ripBase, links } = this.#region;
    const own = this.value(ripBase).add(place.and(PLACE.place).u64());
    if (!links.length) return own;
    const number = l.let(place.and(PLACE.place).shru(Math.log2(placeIn(1, 0))));
    const distance = l.var('i64', 0n);
    for (const [n, link] of links.entries()) {
      const fromPlace = BigInt(pageDistance(link) - placeIn(n + 1, 0));
      l.if(number.eq(n + 1), () => distance.set(fromPlace));
    }
    return own.add(distance.get());
  }

  // --- in ---

  /** Turns back if the region is no longer valid or an event waits; then registers of a set into locals, and flags that are
   *  wanted at its entries (NOTE: their note). */
  enter(wanted: readonly number[], registers: number): void {
    const { baseGlobal, validAt } = this.#options;
    const base = this.#region.base;
    this.#code.globalGet(baseGlobal).localSet(this.#e.local(base));
    this.lift((l) => {
      const events = l.get(S.events);
      // A jump-cache entry may lead here although the region was dropped.
      const isStale = l.let(l.loadRaw('i32.load16_u', this.value(base), validAt).eqz());
      l.unlikely(events.or(isStale), () => {
        // The interpreter must get somewhere although events that are held back stay.
        l.if(isStale.or(this.eventsNow(l, events)), () => {
          l.set(S.runOne, isStale.eqz());
          this.#returnJump(l);
        });
      });
      this.#findPlace(l);
      if (this.#region.simple < this.#region.length)
        l.set(S.ripBase, this.value(this.#region.ripBase));
      if (!this.#options.counts) return;
      const budget = l.get(S.budget);
      l.assign(this.#budgetAtEntry, budget);
      // What the budget does not surely cover the interpreter runs, one by one.
      l.unlikely(budget.lts(this.#region.length), () => {
        l.set(S.runOne, 1);
        this.#returnJump(l);
      });
    });
    this.#settle(wanted);
    const flags = wanted.reduce((all, some) => all | some, 0);
    if (flags & NOTE) this.#e.body(this.#flagNote.load());
    this.reload(flags, registers);
  }

  /** Computes flags that came as a note, at entries where some are read. */
  #settle(wanted: readonly number[]): void {
    const settle = this.#flagNote.settleState();
    const readers = wanted.map((flags) => (flags & ~NOTE ? 1 : 0));
    const count = readers.filter((reads) => reads).length;
    if (count === 0) return;
    if (count === readers.length || readers.length > WHICH_BITS) {
      this.#e.body(settle);
      return;
    }
    const set = readers.reduce<number>((bits, reads, n) => bits | (reads << n), 0);
    this.lift((l) => {
      const reads = l.i32(set).shru(this.value(this.which)).and(1);
      l.if(reads, () => l.append(settle));
    });
  }

  /** Which of the entries it is, and where the page is (HANDLER_TYPE). */
  #findPlace(l: Lift): void {
    const { entries, ripBase, mode } = this.#region;
    const rip = new Value({ kind: 'local', type: 'i64', local: newLocal('i64', 2) });
    if (entries.length === 1) {
      l.assign(ripBase, rip.sub(BigInt(entries[0]!)));
      return;
    }
    // Code that begins at 0 has the same offsets in its segment as in pages.
    if (codeBitsOf(mode) === 64 || isFlatMode(mode)) l.assign(ripBase, rip.and(~0xfffn));
    else l.assign(ripBase, rip.sub(rip.add(l.get(S.segBase, SEGMENT.cs)).and(0xfffn)));
    // From another region comes the entry point, from the interpreter the address of the record that has it.
    const given = new Value({ kind: 'local', type: 'i32', local: newLocal('i32', 1) });
    const inRecord = R.immediate + ENTRY_POINT.numberShift / 8;
    const number = l.choose(
      given.ltu(ENTRY_POINT.end),
      'i32',
      () => given.shru(ENTRY_POINT.numberShift),
      () => l.loadRaw('i32.load8_u', given, inRecord),
    );
    l.assign(this.which, number);
  }

  /** The TLB in force, and sets of flags and registers, into locals. */
  reload(flags: number, registers: number): void {
    this.#load(S.tlb.offset, this.#region.tlb);
    for (const { offset, local, flag } of this.#region.registers.all)
      if (flag & flags) this.#load(offset, local);
    this.load(registers);
  }
  /** A set of registers into locals. */
  load(registers: number): void {
    for (const promoted of this.#region.registers.all)
      if (!promoted.flag && this.#bits.has(registers, promoted))
        this.#load(promoted.offset, promoted.local);
  }
  #load(offset: number, local: Local): void {
    this.#code
      .localGet(0)
      .memoryOp(wasmOp(`${local.type}.load`), offset)
      .localSet(this.#e.local(local));
  }

  /** Events without a maskable interrupt that must wait for RFLAGS.IF. */
  eventsNow(l: Lift, events: Value): Value {
    const interruptFlag = l.get(S.rflags).shru(9).and(EVENT.interrupt);
    return events.and(interruptFlag.or(~EVENT.interrupt));
  }

  // --- out ---

  /** Opens what the ways out branch to; `close` emits them behind the region's code. */
  open(): void {
    const { link, proceed, next, loop, fault } = LABEL;
    for (const label of [link, proceed, next, loop, fault]) this.#e.open('block', label);
    for (let n = WRITE_BACKS_MAX; n > 0; n--) this.#e.open('block', WRITE_BACK + n - 1);
  }

  close(): void {
    const e = this.#e;
    for (let n = 0; n < WRITE_BACKS_MAX; n++) {
      e.close();
      const writeBack = this.#writeBacks[n];
      if (writeBack) this.#writeBack(writeBack);
    }
    e.close();
    if (this.#taken.has('fault')) this.#leaveWithFault();
    e.close();
    if (this.#taken.has('loop')) this.#leaveToLoop();
    e.close();
    if (this.#taken.has('next')) this.#leaveToNext();
    e.close();
    if (this.#proceeds) this.#proceed();
    e.close();
    this.lift((l) => {
      linkStatements(l, this.value(this.#region.next), (entryPoint) => {
        l.assign(this.status, entryPoint);
        l.exit('again', GO_ON);
      });
      this.#returnJump(l);
    });
  }

  /** Ways that something goes; what would be done on others is left out. */
  readonly #taken = new Set<Way>();
  #proceeds = false;
  readonly #writeBacks: WriteBack[] = [];
  #take(writeBack: WriteBack): void {
    const { way, isClean, dirty } = writeBack;
    const isSame = (o: WriteBack) => o.way === way && o.isClean === isClean && o.dirty === dirty;
    let n = this.#writeBacks.findIndex(isSame);
    if (n < 0 && this.#writeBacks.length < WRITE_BACKS_MAX)
      n = this.#writeBacks.push(writeBack) - 1;
    this.#taken.add(way);
    if (n < 0) this.#writeBack(writeBack);
    else this.#code.br(this.#e.depth(WRITE_BACK + n));
  }
  #writeBack({ way, isClean, dirty }: WriteBack): void {
    if (!isClean) this.#e.body(this.#flagNote.store());
    this.spill(dirty);
    this.#code.br(this.#e.depth(LABEL[way]));
  }

  // `dirty`: registers that may not be in the vCPU's state.

  /** Out with a fault of the instruction at `place`. */
  goOutWithFault(isClean: boolean, dirty: number): void {
    this.#take({ way: 'fault', isClean, dirty });
  }
  /** Out, to the local `next`. */
  goOut(isClean: boolean, dirty: number): void {
    this.#take({ way: 'next', isClean, dirty });
  }
  /** Out to the loop; S.rip has been set. */
  goOutToLoop(isClean: boolean, dirty: number): void {
    this.#take({ way: 'loop', isClean, dirty });
  }
  /** Behind an instruction that changed what code runs, with all state where it belongs: on to S.rip. */
  goOutToRip(): void {
    this.#proceeds = true;
    this.#code.br(this.#e.depth(LABEL.proceed));
  }
  callNext(): void {
    const { handlerType } = this.#options;
    this.#code
      .localGet(0)
      .localGet(this.#e.local(this.status))
      .localGet(this.#e.local(this.#region.next))
      .localGet(this.#e.local(this.status))
      .i32(ENTRY_POINT.slot)
      .op(wasmOp('i32.and'))
      .returnCallIndirect(handlerType);
  }

  /** A set of registers into the vCPU's state; flags have a note. */
  spill(registers: number): void {
    for (const promoted of this.#region.registers.all) {
      const { offset, type, local, isWritten, flag } = promoted;
      if (flag || !isWritten || !this.#bits.has(registers, promoted)) continue;
      this.#code
        .localGet(0)
        .localGet(this.#e.local(local))
        .memoryOp(wasmOp(`${type}.store`), offset);
    }
  }

  /** Counts the instructions of the block up to and with the one whose place is noted. */
  countRetired(l: Lift, last: 0 | 1): void {
    if (!this.#options.counts) return;
    const retired = this.value(this.place).shru(PLACE.retiredShift).add(last);
    l.set(S.budget, l.get(S.budget).sub(retired));
  }

  /** What was retired since the region was entered, which the budget has counted. */
  #account(l: Lift): void {
    if (!this.#options.counts) return;
    const retired = this.value(this.#budgetAtEntry).sub(l.get(S.budget)).u64();
    l.set(S.instructionCount, l.get(S.instructionCount).add(retired));
  }

  /** Back to the loop, which counts the call of a handler as one instruction. */
  #returnJump(l: Lift): void {
    if (this.#options.counts) {
      l.set(S.budget, l.get(S.budget).add(1));
      l.set(S.instructionCount, l.get(S.instructionCount).sub(1n));
    }
    l.return(EXIT_CODES.jump);
  }

  #leaveToLoop(): void {
    this.lift((l) => {
      this.#account(l);
      this.#returnJump(l);
    });
  }

  #leaveWithFault(): void {
    this.lift((l) => {
      this.countRetired(l, 0);
      this.#account(l);
      const at = this.value(this.place);
      l.set(S.rip, this.#ripOfPlace(l, at));
      const fault = l.get(S.fault);
      const isStack = at.and(PLACE.throughSs).nez();
      l.if(fault.and(FAULT_NON_CANONICAL).nez().and(isStack), () => l.set(S.fault, fault.sub(1)));
      l.return(TRANSLATED_FAULT);
    });
  }

  #leaveToNext(): void {
    this.lift((l) => {
      this.#account(l);
      l.set(S.rip, this.value(this.#region.next));
    });
    this.#code.br(this.#e.depth(LABEL.link));
  }

  /** On to S.rip, unless the loop has something to do first. */
  #proceed(): void {
    this.lift((l) => {
      this.#account(l);
      const rest = [S.interruptShadow, S.activity, S.debugPending].map((field) => l.get(field));
      l.unlikely(
        rest.reduce((a, b) => a.or(b)),
        () => this.#returnJump(l),
      );
      l.assign(this.#region.next, l.get(S.rip));
    });
  }
}

/** Target of the 'again' of a frame that calls the next region: `callNext`. */
export const GO_ON = -2;
