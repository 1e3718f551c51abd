// A region as one WebAssembly function: structured control flow over its blocks, registers in locals, state written
// back where the region is left. The function is called like a handler and says how it ended.

import { inlined } from '../interpreter/access.ts';
import { EXIT_CODES, TRANSLATED_FAULT } from '../lift/assemble.ts';
import { Emitter } from '../lift/emit.ts';
import type { FunctionRef } from '../lift/function.ts';
import type { InstructionExit, Local, Statement } from '../lift/ir.ts';
import { FAULT_NON_CANONICAL, Lift, newLocal } from '../lift/lift.ts';
import { Value } from '../lift/value.ts';
import { storeSlow } from '../microcode/memory.ts';
import { S, SEGMENT } from '../state/layout.ts';
import type { CodeWriter, FunctionBody } from '../wasm/module.ts';
import { wasmOp } from '../wasm/opcodes.ts';
import { analyse, type FlowGraph } from './control-flow.ts';
import type { Region, RegionBlock, RegionInstruction } from './region.ts';

const LABEL = { fault: 1, exit: 2, loops: 1_000_000, blocks: 2_000_000 } as const;
/** In the local that tells where a fault happened: the access went through SS. */
const THROUGH_SS = 0x1_0000;

export interface CompileOptions {
  readonly functionIndex: (callee: FunctionRef) => number;
  readonly handlerType: number;
  readonly tableIndex: (handler: number) => number;
  readonly segmentOf: (record: number) => number;
}

export function compileRegion(region: Region, options: CompileOptions): FunctionBody {
  return new RegionCompiler(region, options).compile();
}

class RegionCompiler {
  readonly #region: Region;
  readonly #options: CompileOptions;
  readonly #flow: FlowGraph;
  readonly #e: Emitter;
  readonly #code: CodeWriter;
  readonly #faultAt: Local = newLocal('i32');
  readonly #mustLeave: Local = newLocal('i32');
  readonly #budgetAtEntry: Local = newLocal('i32');
  readonly #status: Local = newLocal('i32');
  #block: RegionBlock;

  constructor(region: Region, options: CompileOptions) {
    this.#region = region;
    this.#options = options;
    this.#flow = analyse(region.entry, (offset) => region.blocks.get(offset)!.successors);
    this.#block = region.blocks.get(region.entry)!;
    this.#e = new Emitter({
      params: ['i32', 'i32'],
      functionIndex: options.functionIndex,
      exit: (_e, exit, target) => this.#exit(exit, target),
    });
    this.#code = this.#e.code;
  }

  compile(): FunctionBody {
    const e = this.#e;
    const locals = [
      this.#faultAt,
      this.#mustLeave,
      this.#budgetAtEntry,
      this.#status,
      this.#region.ripBase,
    ];
    for (const local of [...locals, ...this.#region.locals.all.map((p) => p.local)]) e.local(local);
    this.#lift((l) => {
      l.assign(this.#region.ripBase, l.get(S.ripBase));
      l.assign(this.#budgetAtEntry, l.get(S.budget));
      l.set(S.codeChanged, 0);
    });
    this.#reload();
    e.open('block', LABEL.exit);
    e.open('block', LABEL.fault);
    this.#tree(this.#region.entry);
    this.#code.unreachable();
    e.close();
    this.#leaveWithFault();
    e.close();
    this.#spill();
    this.#account();
    this.#code.i32(EXIT_CODES.jump);
    return e.finish();
  }

  #lift(build: (l: Lift) => void): void {
    const l = new Lift({ cpu: newLocal('i32', 0), access: inlined, mayFault: true });
    build(l);
    this.#e.body(l.statements);
  }
  #value(local: Local): Value {
    return new Value({ kind: 'local', type: local.type, local });
  }
  /** rip of an offset in the page. */
  #rip(offset: number): Value {
    return this.#value(this.#region.ripBase).add(BigInt(offset));
  }

  // --- state in and out of locals ---

  #spill(): void {
    for (const { offset, type, local } of this.#region.locals.all) {
      this.#code
        .localGet(0)
        .localGet(this.#e.local(local))
        .memoryOp(wasmOp(`${type}.store`), offset);
    }
  }
  #reload(): void {
    for (const { offset, type, local } of this.#region.locals.all) {
      this.#code
        .localGet(0)
        .memoryOp(wasmOp(`${type}.load`), offset)
        .localSet(this.#e.local(local));
    }
  }
  /** What loops retired, which the budget has counted. */
  #account(): void {
    this.#lift((l) => {
      const retired = this.#value(this.#budgetAtEntry).sub(l.get(S.budget)).u64();
      l.set(S.instructionCount, l.get(S.instructionCount).add(retired));
    });
  }
  #leaveWithFault(): void {
    this.#spill();
    this.#account();
    this.#lift((l) => {
      const at = this.#value(this.#faultAt);
      l.set(S.rip, this.#value(this.#region.ripBase).add(at.and(0xffff).u64()));
      const isStack = at.and(THROUGH_SS).nez();
      const fault = l.get(S.fault);
      l.if(fault.and(FAULT_NON_CANONICAL).nez().and(isStack), () => l.set(S.fault, fault.sub(1)));
    });
    this.#code.i32(TRANSLATED_FAULT).return();
  }

  // --- control flow ---

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
    for (const instruction of block.instructions) {
      if (instruction.statements) this.#emitSimple(instruction, instruction.statements);
      else this.#emitHandlerCall(instruction);
    }
    const last = block.instructions.at(-1)!;
    if (last.fallsThrough) this.#goTo(last.offset + last.decoded.length);
    else this.#code.unreachable();
  }

  #emitSimple(instruction: RegionInstruction, statements: readonly Statement[]): void {
    const { list, hasStore } = this.#noticeStores(statements);
    this.#setFaultPlace(instruction);
    this.#e.body(list);
    if (hasStore && instruction.fallsThrough) this.#leaveIfCodeChanged(instruction);
  }
  /** Cheap: a constant that only the fault path reads. */
  #setFaultPlace(instruction: RegionInstruction): void {
    const isStack = this.#options.segmentOf(instruction.decoded.record) === SEGMENT.ss;
    this.#code
      .i32(instruction.offset | (isStack ? THROUGH_SS : 0))
      .localSet(this.#e.local(this.#faultAt));
  }
  #leaveIfCodeChanged(instruction: RegionInstruction): void {
    this.#lift((l) => {
      l.unlikely(this.#value(this.#mustLeave), () => {
        l.set(S.rip, this.#rip(instruction.offset + instruction.decoded.length));
        l.exit('again');
      });
    });
  }
  /** Behind each slow store, notes whether it changed decoded code. */
  #noticeStores(statements: readonly Statement[]): {
    list: readonly Statement[];
    hasStore: boolean;
  } {
    let hasStore = false;
    const l = new Lift({ cpu: newLocal('i32', 0), access: inlined, mayFault: true });
    l.assign(this.#mustLeave, l.get(S.codeChanged));
    const note = l.statements;
    const walk = (list: readonly Statement[]): readonly Statement[] =>
      list.flatMap((s): readonly Statement[] => {
        if (s.kind === 'call' && s.callee === storeSlow) {
          hasStore = true;
          return [s, ...note];
        }
        if (s.kind === 'if')
          return [{ ...s, whenTrue: walk(s.whenTrue), otherwise: walk(s.otherwise) }];
        if (s.kind === 'loop' || s.kind === 'block') return [{ ...s, body: walk(s.body) }];
        if (s.kind === 'switch')
          return [{ ...s, cases: s.cases.map(walk), otherwise: walk(s.otherwise) }];
        return [s];
      });
    return { list: walk(statements), hasStore };
  }

  /** The instruction's handler, called with all state in its place. */
  #emitHandlerCall(instruction: RegionInstruction): void {
    const { decoded } = instruction;
    const code = this.#code;
    const status = this.#e.local(this.#status);
    this.#setFaultPlace(instruction);
    this.#spill();
    code.localGet(0).i32(decoded.record).i32(this.#options.tableIndex(decoded.handler));
    code.callIndirect(this.#options.handlerType).localSet(status);
    this.#reload();
    this.#lift((l) => {
      const ended = this.#value(this.#status);
      l.if(ended, () => {
        l.if(ended.eq(EXIT_CODES.fault), () => l.exit('fault'));
        // A jump has set S.rip; 'retry' and 'again' run the instruction anew, from the interpreter.
        l.if(ended.ne(EXIT_CODES.jump), () => l.set(S.rip, this.#rip(instruction.offset)));
        l.exit('again');
      });
      if (decoded.ends || !instruction.fallsThrough) {
        l.set(S.rip, this.#rip(instruction.offset + decoded.length));
        l.exit('again');
      } else {
        l.unlikely(l.get(S.codeChanged), () => {
          l.set(S.rip, this.#rip(instruction.offset + decoded.length));
          l.exit('again');
        });
      }
    });
  }

  /** Exits of statements: 'fault', a 'jump' that may stay in the region, and our own 'again' with S.rip set. */
  #exit(exit: InstructionExit, target: number | undefined): void {
    if (exit === 'fault') this.#code.br(this.#e.depth(LABEL.fault));
    else if (exit === 'jump' && target !== undefined) this.#goTo(target);
    else this.#code.br(this.#e.depth(LABEL.exit));
  }

  /** Continues at an offset of the page: in the region if it has a block there, else outside. */
  #goTo(offset: number): void {
    const from = this.#block.offset;
    const isOutside = !this.#region.blocks.has(offset) || !this.#flow.position.has(offset);
    if (isOutside || this.#flow.isIrreducible(from, offset)) {
      this.#lift((l) => l.set(S.rip, this.#rip(offset)));
      this.#code.br(this.#e.depth(LABEL.exit));
    } else if (this.#flow.isBackEdge(from, offset)) {
      this.#backEdge(from, offset);
    } else this.#code.br(this.#e.depth(LABEL.blocks + offset));
  }

  /** Loops look for events and a used-up budget each time round. */
  #backEdge(from: number, to: number): void {
    this.#lift((l) => {
      const left = l.let(l.get(S.budget).sub(this.#loopLength(from, to)));
      l.set(S.budget, left);
      l.unlikely(left.les(0).or(l.get(S.events)), () => {
        l.set(S.rip, this.#rip(to));
        l.exit('again');
      });
    });
    this.#code.br(this.#e.depth(LABEL.loops + to));
  }
  /** Instructions between a loop's header and its back edge, at most. */
  #loopLength(from: number, to: number): number {
    const { order, position } = this.#flow;
    let count = 0;
    for (let n = position.get(to)!; n <= position.get(from)!; n++)
      count += this.#region.blocks.get(order[n]!)!.instructions.length;
    return count;
  }
}
