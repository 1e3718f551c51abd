// A region as one WebAssembly function: structured control flow over its blocks, registers in locals, state written
// back where the region is left. It is called like a handler and says how it ended, or goes straight on to the region
// that follows (link.ts).

import { inlined } from '../interpreter/access.ts';
import { EXIT_CODES, TRANSLATED_FAULT } from '../lift/assemble.ts';
import { Emitter } from '../lift/emit.ts';
import type { FunctionRef } from '../lift/function.ts';
import type { InstructionExit, Local, Statement } from '../lift/ir.ts';
import { FAULT_NON_CANONICAL, Lift, newLocal } from '../lift/lift.ts';
import { eachExpression, eachNode, someStatement } from '../lift/traverse.ts';
import { Value } from '../lift/value.ts';
import { EVENT, S } from '../state/layout.ts';
import type { CodeWriter, FunctionBody } from '../wasm/module.ts';
import { wasmOp } from '../wasm/opcodes.ts';
import { analyse, type FlowGraph } from './control-flow.ts';
import { type FlagLiveness, flagLiveness, NOTE } from './flag-liveness.ts';
import { FlagNote } from './flag-note.ts';
import { CLEAN, type FaultStub, FlagSinker, type FlagState, localsOf } from './flag-sinking.ts';
import type { RegionInstruction } from './instructions.ts';
import { linkStatements } from './link.ts';
import { optimise } from './passes/index.ts';
import type { Region, RegionBlock } from './region.ts';

const LABEL = {
  fault: 1, leave: 2, exit: 3, proceed: 4, flags: 10, loops: 1_000_000, blocks: 2_000_000,
} as const; // biome-ignore format: a list
/** The local that tells where in its block an instruction stands: offset in the page, whether its memory operand goes through
 *  SS, and how many instructions of the block have retired and not been counted. */
const PLACE = { offset: 0xffff, throughSs: 0x1_0000, retiredShift: 17 } as const;

export interface CompileOptions {
  readonly functionIndex: (callee: FunctionRef) => number;
  /** Type of handlers and regions in the module. */
  readonly handlerType: number;
  readonly tableIndex: (handler: number) => number;
  /** Address of the record of an instruction that its handler runs. */
  readonly recordOf: (instruction: RegionInstruction) => number;
  /** Address of the u16 that holds the region's handler number as long as the region is valid. */
  readonly validAt: number;
  readonly handler: number;
  /** Instructions are counted, and loops end when the budget is used up. */
  readonly counts: boolean;
  /** Told of each piece that is emitted, for the page that shows them (tools/translation-stages.ts). */
  readonly observe?: (piece: CompiledPiece) => void;
}

/** Statements of a block up to the next handler call, before and behind the passes. */
export interface CompiledPiece {
  readonly sunk: readonly Statement[];
  readonly stubs: readonly FaultStub[];
  readonly optimised: readonly Statement[];
  /** Locals of the region's note of the flags. */
  readonly note: readonly Local[];
  /** Number of a local in the function. */
  readonly indexOf: (local: Local) => number;
}

export function compileRegion(region: Region, options: CompileOptions): FunctionBody {
  return new RegionCompiler(region, options).compile();
}

class RegionCompiler {
  readonly #region: Region;
  readonly #options: CompileOptions;
  readonly #flow: FlowGraph;
  readonly #flags: FlagLiveness;
  readonly #flagNote: FlagNote;
  readonly #e: Emitter;
  readonly #code: CodeWriter;
  readonly #place: Local = newLocal('i32');
  readonly #budgetAtEntry: Local = newLocal('i32');
  readonly #status: Local = newLocal('i32');
  readonly #entriesOf = new Map<number, number>();
  readonly #inherited = new Map<number, FlagState>();
  readonly #kept = new Set<Local>();
  /** Locals of all blocks. */
  readonly #shared: readonly Local[];
  #block: RegionBlock;

  constructor(region: Region, options: CompileOptions) {
    this.#region = region;
    this.#options = options;
    this.#flow = analyse(region.entry, (offset) => region.blocks.get(offset)!.successors);
    this.#flags = flagLiveness(region.blocks, this.#flow.order, region.registers, {
      staysInside: (from, to) => this.#staysInside(from, to),
      isBackEdge: (from, to) => this.#flow.isBackEdge(from, to),
      returnsTo: (from) => this.#returnsTo(from),
    });
    const { ripBase, next, tlb, registers } = region;
    this.#flagNote = new FlagNote(registers);
    const own = [this.#place, this.#budgetAtEntry, this.#status, ripBase, next, tlb];
    own.push(...this.#flagNote.locals);
    this.#shared = [...own, ...registers.all.map((p) => p.local)];
    this.#block = region.blocks.get(region.entry)!;
    this.#e = new Emitter({
      params: ['i32', 'i32'],
      functionIndex: options.functionIndex,
      exit: (_e, exit, target) => this.#exit(exit, target),
    });
    this.#code = this.#e.code;
    this.#countEntries();
  }

  compile(): FunctionBody {
    const e = this.#e;
    for (const local of this.#shared) e.local(local);
    this.#enter();
    // Each way out has a way in front of it that stores the note of the flags as well.
    const ways: readonly number[] = [LABEL.leave, LABEL.exit, LABEL.fault];
    for (const label of [LABEL.leave, LABEL.proceed, LABEL.exit, LABEL.fault]) {
      e.open('block', label);
      if (ways.includes(label)) e.open('block', LABEL.flags + label);
    }
    this.#tree(this.#region.entry);
    this.#code.unreachable();
    this.#closeWay();
    this.#leaveWithFault();
    this.#closeWay();
    this.#goOn();
    e.close();
    this.#proceed();
    this.#closeWay();
    this.#spill();
    this.#account();
    this.#lift((l) => this.#returnJump(l));
    return e.finish();
  }

  #closeWay(): void {
    this.#e.close();
    this.#e.body(this.#flagNote.store());
    this.#e.close();
  }
  /** Leaves through one of the ways; `isClean`: the vCPU's state knows the flags. */
  #goOut(way: number, isClean: boolean): void {
    this.#code.br(this.#e.depth(isClean ? way : LABEL.flags + way));
  }

  #lift(build: (l: Lift) => void): void {
    this.#e.body(this.#statements(build));
  }
  #statements(build: (l: Lift) => void): readonly Statement[] {
    const l = new Lift({ cpu: newLocal('i32', 0), access: inlined, mayFault: true });
    build(l);
    return l.statements;
  }
  #value(local: Local): Value {
    return new Value({ kind: 'local', type: local.type, local });
  }
  /** rip of an offset in the page. */
  #rip(offset: number): Value {
    return this.#value(this.#region.ripBase).add(BigInt(offset));
  }

  // --- in and out ---

  /** Turns back if the region is no longer valid or an event waits; then registers into locals. */
  #enter(): void {
    const { handler, validAt } = this.#options;
    const callsHandlers = this.#region.simple < this.#region.length;
    this.#lift((l) => {
      const events = l.get(S.events);
      // A jump-cache entry may lead here although the region was dropped.
      const isStale = l.let(l.loadRaw('i32.load16_u', l.i32(validAt)).xor(handler));
      l.unlikely(events.or(isStale), () => {
        // The interpreter must get somewhere although events that are held back stay.
        l.if(isStale.or(this.#eventsNow(l, events)), () => {
          l.set(S.runOne, isStale.eqz());
          this.#returnJump(l);
        });
      });
      l.assign(this.#region.ripBase, l.get(S.rip).sub(BigInt(this.#region.entry)));
      if (callsHandlers) l.set(S.ripBase, this.#value(this.#region.ripBase));
      if (!this.#options.counts) return;
      const budget = l.get(S.budget);
      l.assign(this.#budgetAtEntry, budget);
      // What the budget does not surely cover the interpreter runs, one by one.
      l.unlikely(budget.lts(this.#region.length), () => {
        l.set(S.runOne, 1);
        this.#returnJump(l);
      });
    });
    const live = this.#flags.liveAt(this.#region.entry);
    if (live & ~NOTE) this.#e.body(this.#flagNote.settleState());
    if (live & NOTE) this.#e.body(this.#flagNote.load());
    this.#reload(live);
  }
  /** Back to the loop, which counts the call of a handler as one instruction. */
  #returnJump(l: Lift): void {
    if (this.#options.counts) {
      l.set(S.budget, l.get(S.budget).add(1));
      l.set(S.instructionCount, l.get(S.instructionCount).sub(1n));
    }
    l.return(EXIT_CODES.jump);
  }
  /** Counts the instructions of the block up to and with the one whose place is noted. */
  #countRetired(l: Lift, last: 0 | 1): void {
    if (!this.#options.counts) return;
    const retired = this.#value(this.#place).shru(PLACE.retiredShift).add(last);
    l.set(S.budget, l.get(S.budget).sub(retired));
  }
  /** Events without a maskable interrupt that must wait for RFLAGS.IF. */
  #eventsNow(l: Lift, events: Value): Value {
    const interruptFlag = l.get(S.rflags).shru(9).and(EVENT.interrupt);
    return events.and(interruptFlag.or(~EVENT.interrupt));
  }
  /** Registers; flags have a note. */
  #spill(): void {
    for (const { offset, type, local, isWritten, flag } of this.#region.registers.all) {
      if (!isWritten || flag) continue;
      this.#code
        .localGet(0)
        .localGet(this.#e.local(local))
        .memoryOp(wasmOp(`${type}.store`), offset);
    }
  }
  #reload(flags: number): void {
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
  /** What was retired since the region was entered, which the budget has counted. */
  #account(): void {
    if (!this.#options.counts) return;
    this.#lift((l) => {
      const retired = this.#value(this.#budgetAtEntry).sub(l.get(S.budget)).u64();
      l.set(S.instructionCount, l.get(S.instructionCount).add(retired));
    });
  }
  #leaveWithFault(): void {
    this.#spill();
    this.#lift((l) => this.#countRetired(l, 0));
    this.#account();
    this.#lift((l) => {
      const at = this.#value(this.#place);
      l.set(S.rip, this.#value(this.#region.ripBase).add(at.and(PLACE.offset).u64()));
      const fault = l.get(S.fault);
      const isStack = at.and(PLACE.throughSs).nez();
      l.if(fault.and(FAULT_NON_CANONICAL).nez().and(isStack), () => l.set(S.fault, fault.sub(1)));
    });
    this.#code.i32(TRANSLATED_FAULT).return();
  }
  /** Behind an instruction that changed what code runs: on to S.rip, unless the loop has something to do first. */
  #proceed(): void {
    this.#account();
    this.#lift((l) => {
      const rest = [S.interruptShadow, S.activity, S.debugPending].map((field) => l.get(field));
      l.unlikely(
        rest.reduce((a, b) => a.or(b)),
        () => this.#returnJump(l),
      );
    });
    this.#link((l) => l.get(S.rip));
  }
  /** To the region that follows, without a detour through the loop if the jump cache knows it. */
  #goOn(): void {
    this.#spill();
    this.#account();
    this.#lift((l) => l.set(S.rip, this.#value(this.#region.next)));
    this.#link(() => this.#value(this.#region.next));
  }
  #link(rip: (l: Lift) => Value): void {
    this.#lift((l) => {
      linkStatements(l, rip(l), (slot) => {
        l.assign(this.#status, slot);
        l.exit('again', GO_ON);
      });
      this.#returnJump(l);
    });
  }

  // --- control flow ---

  #staysInside(from: number, to: number): boolean {
    return (
      this.#region.blocks.has(to) &&
      this.#flow.position.has(to) &&
      !this.#flow.isIrreducible(from, to)
    );
  }
  /** Places of the region that the return at the end of a block may lead to. */
  #returnsTo(from: number): readonly number[] {
    const last = this.#region.blocks.get(from)!.instructions.at(-1)!;
    if (!last.returns || !last.statements) return [];
    return this.#region.returnPoints.filter((to) => this.#staysInside(from, to));
  }
  /** Ways into each block: one that has a single one takes over the flags as they are. */
  #countEntries(): void {
    const { blocks, entry } = this.#region;
    const count = (to: number) => this.#entriesOf.set(to, (this.#entriesOf.get(to) ?? 0) + 1);
    count(entry);
    for (const offset of this.#flow.order) {
      const block = blocks.get(offset)!;
      // Flags are stored before a return, wherever it leads.
      for (const target of this.#returnsTo(offset)) this.#entriesOf.set(target, Infinity);
      for (const { targets } of block.instructions) targets.forEach(count);
      const last = block.instructions.at(-1)!;
      if (last.fallsThrough) count(last.offset + last.length);
    }
  }

  /** A block, and behind it the blocks that it dominates: each is reached by leaving the WebAssembly block that ends there. */
  #tree(offset: number): void {
    const e = this.#e;
    const isHeader = this.#flow.isLoopHeader(offset);
    if (isHeader) e.open('loop', LABEL.loops + offset);
    const children = this.#flow.children(offset);
    for (const child of children.toReversed()) e.open('block', LABEL.blocks + child);
    this.#emitBlock(this.#region.blocks.get(offset)!);
    for (const child of children) {
      e.close();
      this.#tree(child);
    }
    if (isHeader) e.close();
  }

  #emitBlock(block: RegionBlock): void {
    this.#block = block;
    const sinker = this.#sinker(block);
    let statements: Statement[] = [];
    const flush = () => {
      const stubs = sinker.takeStubs();
      const mutable = new Set([...this.#shared, ...this.#kept, ...stubs.flatMap(localsRead)]);
      const detours = stubs.map((stub) => ({ ...stub, exit: 'fault' as const }));
      const optimised = optimise(statements, { mutable });
      const indexOf = (local: Local) => this.#e.local(local);
      const note = this.#flagNote.locals;
      this.#options.observe?.({ sunk: statements, stubs, optimised, note, indexOf });
      this.#e.sequence(optimised, this.#kept, detours);
      statements = [];
    };
    let retired = 0;
    for (const instruction of block.instructions) {
      if (instruction.statements) {
        statements.push(...this.#note(instruction, instruction.statements, retired));
        statements.push(...sinker.sink(instruction.statements));
        retired++;
      } else {
        statements.push(...sinker.settle());
        flush();
        this.#emitHandlerCall(instruction, retired);
        sinker.synchronised();
        retired = 0;
      }
    }
    const last = block.instructions.at(-1)!;
    if (!last.fallsThrough) {
      flush();
      this.#code.unreachable();
      return;
    }
    const next = last.offset + last.length;
    if (this.#options.counts)
      statements.push(...this.#noting(last.offset, Math.max(retired - 1, 0)));
    if (this.#options.counts && retired === 0)
      statements.push(...this.#statements((l) => l.set(S.budget, l.get(S.budget).add(1))));
    statements.push(...sinker.storeFor(next));
    flush();
    this.#jump(next, sinker.isClean);
  }

  #sinker(block: RegionBlock): FlagSinker {
    const from = block.offset;
    return new FlagSinker(
      {
        registers: this.#region.registers,
        note: this.#flagNote,
        liveAtReturns: this.#returnsTo(from).reduce((set, to) => set | this.#flags.liveAt(to), 0),
        liveAt: (to) => (this.#staysInside(from, to) ? this.#flags.liveAt(to) : undefined),
        inherits: (to) => this.#entriesOf.get(to) === 1,
        lookForEvents: (to, stores, isClean) =>
          this.#flow.isBackEdge(from, to) ? this.#lookForEvents(to, stores, isClean) : [],
        leaveFor: (to) => this.#statements((l) => l.assign(this.#region.next, this.#rip(to))),
        passOn: (to, state) => {
          this.#inherited.set(to, state);
          for (const local of localsOf(state)) this.#kept.add(local);
        },
      },
      this.#inherited.get(from) ?? {
        pending: new Map(),
        keeper: this.#flags.isDirtyAt(from) ? 'note' : 'state',
      },
    );
  }

  /** Loops look for events, and where instructions are counted for a used-up budget, each time round. */
  #lookForEvents(to: number, stores: readonly Statement[], isClean: boolean): readonly Statement[] {
    return this.#statements((l) => {
      const leave = () => {
        l.append(stores);
        l.set(S.rip, this.#rip(to));
        l.exit('again', isClean ? CLEAN : undefined);
      };
      this.#countRetired(l, 1);
      const events = l.get(S.events);
      l.unlikely(events, () => l.if(this.#eventsNow(l, events), leave));
      if (this.#options.counts) l.unlikely(l.get(S.budget).lts(this.#region.length), leave);
    });
  }

  /** Notes the instruction's place, if anybody may ask: a constant that only ways out read. */
  #note(
    instruction: RegionInstruction,
    statements: readonly Statement[],
    retired: number,
  ): readonly Statement[] {
    const asks = (s: Statement) =>
      s.kind === 'exit' && (s.exit === 'fault' || this.#options.counts);
    if (!someStatement(statements, asks)) return [];
    return this.#noting(instruction.offset | (instruction.isStack ? PLACE.throughSs : 0), retired);
  }
  #noting(place: number, retired: number): readonly Statement[] {
    return this.#statements((l) =>
      l.assign(this.#place, l.i32(place | (retired << PLACE.retiredShift))),
    );
  }

  /** The instruction's handler, called with all state in its place; flags are there already. */
  #emitHandlerCall(instruction: RegionInstruction, retired: number): void {
    const { handlerType, tableIndex, recordOf } = this.#options;
    const code = this.#code;
    const end = instruction.offset + instruction.length;
    this.#e.body(
      this.#statements((l) => {
        l.append(this.#noting(instruction.offset | (instruction.isStack ? PLACE.throughSs : 0), 0));
        l.set(S.codeChanged, 0);
        if (this.#options.counts) l.set(S.budget, l.get(S.budget).sub(retired));
      }),
    );
    this.#spill();
    code
      .localGet(0)
      .i32(recordOf(instruction))
      .i32(tableIndex(instruction.handler))
      .callIndirect(handlerType)
      .localSet(this.#e.local(this.#status));
    const ended = this.#value(this.#status);
    const isLast = instruction.ends || !instruction.fallsThrough;
    // The state is where it belongs, and on the way out nobody needs it here.
    this.#lift((l) => {
      const goes = isLast ? ended.leu(EXIT_CODES.jump) : ended.eq(EXIT_CODES.jump);
      l.if(goes, () => {
        if (isLast) l.if(ended.eqz(), () => l.set(S.rip, this.#rip(end)));
        this.#countRetired(l, 1);
        l.exit('again', PROCEED);
      });
    });
    this.#reload(this.#flags.liveBehind(instruction));
    this.#lift((l) => {
      l.if(ended, () => {
        l.if(ended.eq(EXIT_CODES.fault), () => l.exit('fault', CLEAN));
        // 'retry' and 'again' run the instruction anew, from the interpreter.
        l.set(S.rip, this.#rip(instruction.offset));
        // A round of a repeated instruction has used up budget but retired nothing.
        if (this.#options.counts) l.set(S.instructionCount, l.get(S.instructionCount).sub(1n));
        l.exit('again', CLEAN);
      });
      if (isLast) {
        l.trap();
        return;
      }
      this.#countRetired(l, 1);
      const leave = () => {
        l.set(S.rip, this.#rip(end));
        l.exit('again', CLEAN);
      };
      // What waits comes right behind the next instruction (STI; NOP; CLI lets it in), so the interpreter runs that.
      if (instruction.shadows && this.#isFollowed(instruction)) {
        l.unlikely(l.get(S.events), leave);
        l.set(S.interruptShadow, 0);
      } else if (instruction.shadows) leave();
      else l.unlikely(l.get(S.codeChanged), leave);
    });
  }

  #isFollowed(instruction: RegionInstruction): boolean {
    if (instruction !== this.#block.instructions.at(-1)) return true;
    const next = instruction.offset + instruction.length;
    const from = this.#block.offset;
    return this.#staysInside(from, next) && !this.#flow.isBackEdge(from, next);
  }

  /**
   * Exits of statements: 'fault', a 'jump' that may stay in the region, else with `next` set; and our own 'again' with
   * S.rip set, or to go on with the region whose slot the status local holds.
   */
  #exit(exit: InstructionExit, target: number | undefined): void {
    if (exit === 'fault') {
      if (target === undefined || target === CLEAN || !this.#e.detour(target))
        this.#goOut(LABEL.fault, target === CLEAN);
    } else if (exit === 'jump' && target !== undefined && target !== CLEAN)
      this.#jump(target, false);
    else if (exit === 'jump') {
      this.#lift((l) => this.#countRetired(l, 1));
      this.#return();
      this.#goOut(LABEL.exit, target === CLEAN);
    } else if (target === GO_ON) this.#callNext();
    else if (target !== undefined && target >= RETURNS) this.#branchTo(target - RETURNS);
    else if (target === PROCEED) this.#code.br(this.#e.depth(LABEL.proceed));
    else this.#goOut(LABEL.leave, target === CLEAN);
  }
  /** A return to behind a call of the region stays in it; one that closes a loop only while there is nothing else to do. */
  #return(): void {
    const from = this.#block.offset;
    for (const to of this.#returnsTo(from)) {
      this.#lift((l) => {
        const stay = () => l.exit('again', RETURNS + to);
        l.if(this.#value(this.#region.next).eq(this.#rip(to)), () => {
          if (!this.#flow.isBackEdge(from, to)) {
            stay();
            return;
          }
          const busy = l.get(S.events);
          const isShort = l.get(S.budget).lts(this.#region.length);
          l.if((this.#options.counts ? busy.or(isShort) : busy).eqz(), stay);
        });
      });
    }
  }
  #callNext(): void {
    this.#code
      .localGet(0)
      .i32(0)
      .localGet(this.#e.local(this.#status))
      .returnCallIndirect(this.#options.handlerType);
  }

  #branchTo(offset: number): void {
    const isBack = this.#flow.isBackEdge(this.#block.offset, offset);
    this.#code.br(this.#e.depth((isBack ? LABEL.loops : LABEL.blocks) + offset));
  }

  /** Continues at an offset of the page: in the region if it has a block there, else outside. */
  #jump(offset: number, isClean: boolean): void {
    const from = this.#block.offset;
    if (this.#flow.isBackEdge(from, offset)) {
      this.#code.br(this.#e.depth(LABEL.loops + offset));
      return;
    }
    this.#lift((l) => this.#countRetired(l, 1));
    if (this.#staysInside(from, offset)) this.#code.br(this.#e.depth(LABEL.blocks + offset));
    else {
      this.#lift((l) => l.assign(this.#region.next, this.#rip(offset)));
      this.#goOut(LABEL.exit, isClean);
    }
  }
}

/** Locals that a stub's stores are computed from. */
function localsRead({ stores }: FaultStub): Local[] {
  const found: Local[] = [];
  for (const s of stores)
    eachExpression(s, (expression) =>
      eachNode(expression, (node) => {
        if (node.kind === 'local') found.push(node.local);
      }),
    );
  return found;
}

/** Targets of an 'again' that calls the next region, and that goes on at S.rip. */
const GO_ON = -2;
const PROCEED = -3;
/** Plus an offset of the page: an 'again' that goes on there, in the region. */
const RETURNS = 1_000_000_000;
