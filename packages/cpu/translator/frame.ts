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
import type { Region } from './region.ts';

/** Labels of the ways out, from the innermost. `clean`: the vCPU's state knows the flags. */
const LABEL = { fault: 1, out: 2, cleanFault: 3, cleanOut: 4, proceed: 5, link: 6 } as const;
/** What is done at the end of the way out; 0 when nothing else is said: on to the local `next`. */
const WAY = { next: 0, leave: 1, fault: 2 } as const;

/** The local that tells where in its block an instruction stands: offset in the page, whether its memory operand goes through
 *  SS, and how many instructions of the block have retired and not been counted. */
export const PLACE = { offset: 0xffff, throughSs: 0x1_0000, retiredShift: 17 } as const;

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
  readonly #way: Local = newLocal('i32');
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
    { emitter, flagNote }: { emitter: Emitter; flagNote: FlagNote },
  ) {
    this.#region = region;
    this.#options = options;
    this.#e = emitter;
    this.#code = emitter.code;
    this.#flagNote = flagNote;
    const { ripBase, next, tlb, base, registers } = region;
    const own = [this.place, this.#budgetAtEntry, this.#way, this.status, this.which];
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
  /** rip of an offset in the page. */
  rip(offset: number): Value {
    return this.value(this.#region.ripBase).add(BigInt(offset));
  }

  // --- in ---

  /** Turns back if the region is no longer valid or an event waits; then registers into locals, and flags that are wanted
   *  at its entries (NOTE: their note). */
  enter(wanted: readonly number[]): void {
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
    this.reload(flags);
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

  /** Which of the entries it is, and where the page is. */
  #findPlace(l: Lift): void {
    const { entries, ripBase, mode } = this.#region;
    const rip = l.get(S.rip);
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

  /** Registers, and those of the flags, into locals. */
  reload(flags: number): void {
    this.#code
      .localGet(0)
      .memoryOp(wasmOp('i32.load'), S.tlb.offset)
      .localSet(this.#e.local(this.#region.tlb));
    for (const { offset, type, local, flag } of this.#region.registers.all) {
      if (flag && !(flag & flags)) continue;
      this.#code
        .localGet(0)
        .memoryOp(wasmOp(`${type}.load`), offset)
        .localSet(this.#e.local(local));
    }
  }

  /** Events without a maskable interrupt that must wait for RFLAGS.IF. */
  eventsNow(l: Lift, events: Value): Value {
    const interruptFlag = l.get(S.rflags).shru(9).and(EVENT.interrupt);
    return events.and(interruptFlag.or(~EVENT.interrupt));
  }

  // --- out ---

  /** Opens what the ways out branch to; `close` emits them behind the region's code. */
  open(): void {
    const { link, proceed, cleanOut, cleanFault, out, fault } = LABEL;
    for (const label of [link, proceed, cleanOut, cleanFault, out, fault])
      this.#e.open('block', label);
  }

  close(): void {
    const e = this.#e;
    const { fault, out, cleanFault, proceed } = LABEL;
    const noteFault = () => this.#code.i32(WAY.fault).localSet(e.local(this.#way));
    e.close();
    if (this.#taken.has(fault)) noteFault();
    e.close();
    if (this.#taken.has(fault) || this.#taken.has(out)) {
      this.#e.body(this.#flagNote.store());
      this.#code.br(e.depth(LABEL.cleanOut));
    }
    e.close();
    if (this.#taken.has(cleanFault)) noteFault();
    e.close();
    this.spill();
    this.#leave();
    this.#code.br(e.depth(LABEL.link));
    e.close();
    if (this.#taken.has(proceed)) this.#proceed();
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
  readonly #taken = new Set<number>();
  #take(way: number): void {
    this.#taken.add(way);
    this.#code.br(this.#e.depth(way));
  }

  /** Out with a fault of the instruction at `place`. */
  goOutWithFault(isClean: boolean): void {
    this.#take(isClean ? LABEL.cleanFault : LABEL.fault);
  }
  /** Out, to the local `next`. */
  goOut(isClean: boolean): void {
    this.#take(isClean ? LABEL.cleanOut : LABEL.out);
  }
  /** Out to the loop; S.rip has been set. */
  goOutToLoop(isClean: boolean): void {
    this.#code.i32(WAY.leave).localSet(this.#e.local(this.#way));
    this.goOut(isClean);
  }
  /** Behind an instruction that changed what code runs, with all state where it belongs: on to S.rip. */
  goOutToRip(): void {
    this.#take(LABEL.proceed);
  }
  callNext(): void {
    const { handlerType } = this.#options;
    this.#code
      .localGet(0)
      .localGet(this.#e.local(this.status))
      .localGet(this.#e.local(this.status))
      .i32(ENTRY_POINT.slot)
      .op(wasmOp('i32.and'))
      .returnCallIndirect(handlerType);
  }

  /** Registers; flags have a note. */
  spill(): void {
    for (const { offset, type, local, isWritten, flag } of this.#region.registers.all) {
      if (!isWritten || flag) continue;
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

  #leave(): void {
    const { next, ripBase } = this.#region;
    this.lift((l) => {
      const way = this.value(this.#way);
      l.unlikely(way, () => {
        l.if(way.eq(WAY.leave), () => {
          this.#account(l);
          this.#returnJump(l);
        });
        this.countRetired(l, 0);
        this.#account(l);
        const at = this.value(this.place);
        l.set(S.rip, this.value(ripBase).add(at.and(PLACE.offset).u64()));
        const fault = l.get(S.fault);
        const isStack = at.and(PLACE.throughSs).nez();
        l.if(fault.and(FAULT_NON_CANONICAL).nez().and(isStack), () => l.set(S.fault, fault.sub(1)));
        l.return(TRANSLATED_FAULT);
      });
      this.#account(l);
      l.set(S.rip, this.value(next));
    });
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
