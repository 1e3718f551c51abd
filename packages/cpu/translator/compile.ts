// A region as one WebAssembly function: structured control flow over its blocks, between the frame's way in and its way
// out (frame.ts). It is called like a handler and says how it ended, or goes straight on to the region that follows.

import { HANDLER_TYPE } from '../interpreter/record.ts';
import { EXIT_CODES } from '../lift/assemble.ts';
import { Emitter } from '../lift/emit.ts';
import type { FunctionRef } from '../lift/function.ts';
import type { InstructionExit, Local, Statement } from '../lift/ir.ts';
import type { Lift } from '../lift/lift.ts';
import { eachExpression, eachNode, someStatement } from '../lift/traverse.ts';
import { S } from '../state/layout.ts';
import { PAGE_BYTES } from '../state/memory-map.ts';
import type { CodeWriter, FunctionBody } from '../wasm/module.ts';
import { wasmOp } from '../wasm/opcodes.ts';
import { analyse, type FlowGraph, ROOT } from './control-flow.ts';
import { type FlagLiveness, flagLiveness } from './flag-liveness.ts';
import { FlagNote } from './flag-note.ts';
import { CLEAN, type FaultStub, FlagSinker, type FlagState, localsOf } from './flag-sinking.ts';
import { type FrameOptions, GO_ON, PLACE, RegionFrame } from './frame.ts';
import type { RegionInstruction } from './instructions.ts';
import { checkLink, isLinkInForce, type LinkCheck, linkAt } from './links.ts';
import { MOVED_BYTES } from './moved-numbers.ts';
import { optimise } from './passes/index.ts';
import { linkOf, placeIn } from './places.ts';
import type { Region, RegionBlock } from './region.ts';
import { RegisterBits, type RegisterLiveness, registerLiveness } from './register-liveness.ts';

const LABEL = { loops: 1_000_000, blocks: 2_000_000, loads: 3_000_000 } as const;

export interface CompileOptions extends FrameOptions {
  readonly functionIndex: (callee: FunctionRef) => number;
  readonly tableIndex: (handler: number) => number;
  /** Where in the region's memory the record of an instruction is that its handler runs. */
  readonly recordOf: (instruction: RegionInstruction) => number;
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
  readonly #bits: RegisterBits;
  readonly #registers: RegisterLiveness;
  readonly #e: Emitter;
  readonly #code: CodeWriter;
  readonly #frame: RegionFrame;
  readonly #entriesOf = new Map<number, number>();
  readonly #inherited = new Map<number, FlagState>();
  readonly #kept = new Set<Local>();
  #block: RegionBlock;
  /** Registers that may not be in the vCPU's state, where code is emitted now. */
  #dirty = 0;

  constructor(region: Region, options: CompileOptions) {
    this.#region = region;
    this.#options = options;
    this.#flow = analyse(region.entries, (offset) => region.blocks.get(offset)!.successors);
    const { blocks, registers } = region;
    const { order, isBackEdge } = this.#flow;
    const flow = {
      staysInside: (to: number) => this.#staysInside(to),
      isBackEdge,
      returnsTo: (from: number) => this.#returnsTo(from),
      isLink: (from: number, to: number) => this.#isLink(from, to),
    };
    this.#flags = flagLiveness(blocks, order, registers, flow);
    this.#flagNote = new FlagNote(registers);
    this.#bits = new RegisterBits(registers);
    this.#registers = registerLiveness(blocks, order, this.#bits, flow);
    this.#block = region.blocks.get(region.entries[0]!)!;
    this.#e = new Emitter({
      params: HANDLER_TYPE.params,
      functionIndex: options.functionIndex,
      exit: (_e, exit, target) => this.#exit(exit, target),
      set: (local) => {
        this.#dirty |= this.#bits.of(local);
      },
    });
    this.#code = this.#e.code;
    this.#frame = new RegionFrame(region, options, {
      emitter: this.#e,
      flagNote: this.#flagNote,
      bits: this.#bits,
    });
    this.#countEntries();
  }

  compile(): FunctionBody {
    const { roots } = this.#flow;
    const flags = roots.map((offset) => this.#flags.liveAt(offset));
    this.#frame.enter(flags, this.#loadedFirst);
    this.#frame.open();
    this.#tree(ROOT);
    this.#code.unreachable();
    this.#frame.close();
    return this.#e.finish();
  }

  // --- control flow ---

  #staysInside(to: number): boolean {
    return this.#region.blocks.has(to) && this.#flow.has(to);
  }
  /** Places of the region that the return at the end of a block may lead to. */
  #returnsTo(from: number): readonly number[] {
    const last = this.#region.blocks.get(from)!.instructions.at(-1)!;
    if (!last.returns || !last.statements) return [];
    return this.#region.returnPoints(from).filter((to) => this.#staysInside(to));
  }
  /** Ways into each block: one that has a single one takes over the flags as they are. */
  #countEntries(): void {
    const { blocks } = this.#region;
    const count = (to: number) => this.#entriesOf.set(to, (this.#entriesOf.get(to) ?? 0) + 1);
    this.#flow.roots.forEach(count);
    for (const offset of this.#flow.order) {
      const block = blocks.get(offset)!;
      // Flags are stored before a return, wherever it leads.
      for (const target of this.#returnsTo(offset)) this.#entriesOf.set(target, Infinity);
      for (const { targets } of block.instructions) targets.forEach(count);
      const last = block.instructions.at(-1)!;
      if (last.fallsThrough) count(last.offset + last.length);
    }
  }

  /** A block (or ROOT), and behind it the blocks that it dominates: each is reached by leaving the WebAssembly block that
   *  ends there. */
  #tree(offset: number): void {
    const e = this.#e;
    const isHeader = offset === ROOT ? this.#flow.goesRound : this.#flow.isLoopHeader(offset);
    if (isHeader) e.open('loop', LABEL.loops + offset);
    const children = this.#flow.children(offset);
    for (const child of children.toReversed()) e.open('block', LABEL.blocks + child);
    if (offset === ROOT) this.#dispatch();
    else this.#emitBlock(this.#region.blocks.get(offset)!);
    for (const child of children) {
      e.close();
      this.#tree(child);
    }
    if (isHeader) e.close();
  }

  /** Registers that are loaded before it is seen which place the region is entered at: those that all want, or where loops come
   *  through ROOT, with registers in their locals, those that any wants. */
  get #loadedFirst(): number {
    const wanted = this.#flow.roots.map((offset) => this.#registers.liveAt(offset));
    if (this.#flow.goesRound) return wanted.reduce((all, some) => all | some);
    return wanted.reduce((all, some) => all & some);
  }
  /** From ROOT to one of the places that it leads to, with what that wants and has not been loaded yet. */
  #dispatch(): void {
    const { roots } = this.#flow;
    const first = this.#loadedFirst;
    const missing = roots.map((offset) => this.#registers.liveAt(offset) & ~first);
    const stubs = roots.filter((_, n) => missing[n]);
    for (const offset of stubs.toReversed()) this.#e.open('block', LABEL.loads + offset);
    const depths = roots.map((offset, n) =>
      this.#e.depth((missing[n] ? LABEL.loads : LABEL.blocks) + offset),
    );
    if (depths.length === 1) this.#code.br(depths[0]!);
    else this.#code.localGet(this.#e.local(this.#frame.which)).brTable(depths, depths[0]!);
    for (const offset of stubs) {
      this.#e.close();
      this.#frame.load(missing[roots.indexOf(offset)]!);
      this.#code.br(this.#e.depth(LABEL.blocks + offset));
    }
  }

  #emitBlock(block: RegionBlock): void {
    this.#block = block;
    this.#dirty = this.#registers.dirtyAt(block.offset);
    const sinker = this.#sinker(block);
    let statements: Statement[] = [];
    const flush = () => {
      const stubs = sinker.takeStubs();
      const mutable = new Set([...this.#frame.locals, ...this.#kept, ...stubs.flatMap(localsRead)]);
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
        const { keepsFlags } = instruction;
        statements.push(...(keepsFlags ? sinker.noteInState() : sinker.settle()));
        for (const local of localsOf(sinker.state)) this.#kept.add(local);
        flush();
        this.#emitHandlerCall(instruction, retired);
        if (!keepsFlags) sinker.synchronised();
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
      statements.push(...this.#frame.statements((l) => l.set(S.budget, l.get(S.budget).add(1))));
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
        liveAt: (to) => (this.#staysInside(to) ? this.#flags.liveAt(to) : undefined),
        inherits: (to) => this.#entriesOf.get(to) === 1,
        leaveBefore: (to, stores, isClean) => [
          ...(this.#flow.isBackEdge(from, to) ? this.#lookForEvents(to, stores, isClean) : []),
          ...(this.#isLink(from, to) ? this.#checkLink(from, to, { stores, isClean }) : []),
        ],
        leaveFor: (to) =>
          this.#frame.statements((l) => l.assign(this.#region.next, this.#frame.rip(to))),
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
    return this.#frame.statements((l) => {
      const leave = () => {
        l.append(stores);
        l.set(S.rip, this.#frame.rip(to));
        l.exit('again', isClean ? CLEAN : undefined);
      };
      this.#frame.countRetired(l, 1);
      const events = l.get(S.events);
      l.unlikely(events, () => l.if(this.#frame.eventsNow(l, events), leave));
      if (this.#options.counts) l.unlikely(l.get(S.budget).lts(this.#region.length), leave);
    });
  }

  /** Control comes from elsewhere into the code of a link. */
  #isLink(from: number, to: number): boolean {
    return linkOf(to) !== 0 && linkOf(to) !== linkOf(from);
  }
  /** Leaves for where a link leads if that is not what it has a copy of. */
  #checkLink(
    from: number,
    to: number,
    o: { readonly stores: readonly Statement[]; readonly isClean: boolean },
  ): readonly Statement[] {
    return this.#frame.statements((l) => {
      checkLink(l, this.#linkTo(l, to), () => {
        l.append(o.stores);
        l.assign(this.#region.next, this.#frame.rip(to));
        // Where a loop closes it has been counted.
        if (!this.#flow.isBackEdge(from, to)) this.#frame.countRetired(l, 1);
        l.exit('again', o.isClean ? LEAVE.clean : LEAVE.noted);
      });
    });
  }

  /** The link that a place belongs to. What goes on in its middle goes by where it begins, too: that is what it was found by. */
  #linkTo(l: Lift, to: number): LinkCheck {
    const { base, moved, links } = this.#region;
    const link = linkOf(to);
    const at = linkAt(link, moved.length * MOVED_BYTES);
    const start = placeIn(link, links[link - 1]!.target & (PAGE_BYTES - 1));
    // 32 bits that wrap around on the way are found nowhere.
    const rip = l.let(this.#frame.ripUncut(start));
    return { base: this.#frame.value(base), at, link, rip };
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
    return this.#frame.statements((l) =>
      l.assign(this.#frame.place, l.i32(place | (retired << PLACE.retiredShift))),
    );
  }

  /** The instruction's handler, called with all state in its place; flags are there already. */
  #emitHandlerCall(instruction: RegionInstruction, retired: number): void {
    const { handlerType, tableIndex, recordOf } = this.#options;
    const code = this.#code;
    const end = instruction.offset + instruction.length;
    this.#e.body(
      this.#frame.statements((l) => {
        l.append(this.#noting(instruction.offset | (instruction.isStack ? PLACE.throughSs : 0), 0));
        l.set(S.codeChanged, 0);
        if (this.#options.counts) l.set(S.budget, l.get(S.budget).sub(retired));
      }),
    );
    this.#frame.spill(this.#dirty);
    this.#dirty = 0;
    code
      .localGet(0)
      .localGet(this.#e.local(this.#region.base))
      .i32(recordOf(instruction))
      .op(wasmOp('i32.add'))
      .i64(0n)
      .i32(tableIndex(instruction.handler))
      .callIndirect(handlerType)
      .localSet(this.#e.local(this.#frame.status));
    const ended = this.#frame.value(this.#frame.status);
    const isLast = instruction.ends || !instruction.fallsThrough;
    // The state is where it belongs, and on the way out nobody needs it here.
    this.#frame.lift((l) => {
      const goes = isLast ? ended.leu(EXIT_CODES.jump) : ended.eq(EXIT_CODES.jump);
      l.if(goes, () => {
        if (isLast) l.if(ended.eqz(), () => l.set(S.rip, this.#frame.rip(end)));
        this.#frame.countRetired(l, 1);
        l.exit('again', PROCEED);
      });
    });
    this.#frame.reload(
      this.#flags.liveBehind(instruction),
      this.#registers.liveBehind(instruction),
    );
    this.#frame.lift((l) => {
      l.if(ended, () => {
        l.if(ended.eq(EXIT_CODES.fault), () => l.exit('fault', CLEAN));
        // 'retry' and 'again' run the instruction anew, from the interpreter.
        l.set(S.rip, this.#frame.rip(instruction.offset));
        // A round of a repeated instruction has used up budget but retired nothing.
        if (this.#options.counts) l.set(S.instructionCount, l.get(S.instructionCount).sub(1n));
        l.exit('again', CLEAN);
      });
      if (isLast) {
        l.trap();
        return;
      }
      this.#frame.countRetired(l, 1);
      const leave = () => {
        l.set(S.rip, this.#frame.rip(end));
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
    return this.#staysInside(next) && !this.#flow.isBackEdge(from, next);
  }

  /**
   * Exits of statements: 'fault', a 'jump' that may stay in the region, else with `next` set; and our own 'again' with
   * S.rip set, or as its target says.
   */
  #exit(exit: InstructionExit, target: number | undefined): void {
    const isClean = target === CLEAN;
    if (exit === 'fault') {
      const isDetour = target !== undefined && !isClean && this.#e.detour(target);
      if (!isDetour) this.#frame.goOutWithFault(isClean, this.#dirty);
    } else if (exit === 'jump' && target !== undefined && !isClean) this.#jump(target, false);
    else if (exit === 'jump') {
      this.#frame.lift((l) => this.#frame.countRetired(l, 1));
      this.#return();
      this.#frame.goOut(isClean, this.#dirty);
    } else if (target === GO_ON) this.#frame.callNext();
    else if (target !== undefined && target >= RETURNS) this.#branchTo(target - RETURNS);
    else if (target === PROCEED) this.#frame.goOutToRip();
    else if (target === LEAVE.clean || target === LEAVE.noted)
      this.#frame.goOut(target === LEAVE.clean, this.#dirty);
    else this.#frame.goOutToLoop(isClean, this.#dirty);
  }
  /** A return to behind a call of the region stays in it; one that closes a loop only while there is nothing else to do. */
  #return(): void {
    const from = this.#block.offset;
    for (const to of this.#returnsTo(from)) {
      this.#frame.lift((l) => {
        const go = () => l.exit('again', RETURNS + to);
        // Meanwhile another function may be there, or its code is another.
        const stay = () =>
          this.#isLink(from, to) ? l.if(isLinkInForce(l, this.#linkTo(l, to)), go) : go();
        l.if(this.#frame.value(this.#region.next).eq(this.#frame.rip(to)), () => {
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
  #branchTo(offset: number): void {
    const from = this.#block.offset;
    const { roots } = this.#flow;
    if (this.#flow.isIrreducible(from, offset)) {
      this.#code.i32(roots.indexOf(offset)).localSet(this.#e.local(this.#frame.which));
      this.#code.br(this.#e.depth(LABEL.loops + ROOT));
    } else {
      const isBack = this.#flow.isBackEdge(from, offset);
      this.#code.br(this.#e.depth((isBack ? LABEL.loops : LABEL.blocks) + offset));
    }
  }

  /** Continues at an offset of the page: in the region if it has a block there, else outside. */
  #jump(offset: number, isClean: boolean): void {
    const isInside = this.#staysInside(offset);
    // Where a loop closes it has been counted.
    if (!isInside || !this.#flow.isBackEdge(this.#block.offset, offset))
      this.#frame.lift((l) => this.#frame.countRetired(l, 1));
    if (isInside) {
      this.#branchTo(offset);
      return;
    }
    this.#frame.lift((l) => l.assign(this.#region.next, this.#frame.rip(offset)));
    this.#frame.goOut(isClean, this.#dirty);
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

/** Target of an 'again' that goes on at S.rip. */
const PROCEED = -3;
/** Targets of an 'again' that leaves for the local `next`: the vCPU's state knows the flags, or they are noted. */
const LEAVE = { clean: -4, noted: -5 } as const;
/** Plus an offset of the page: an 'again' that goes on there, in the region. */
const RETURNS = 1_000_000_000;
