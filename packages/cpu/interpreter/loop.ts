// The interpreter's loop: finds a block, runs its records one after another through one br_table, accounts for what
// was retired, and deals with faults and events between instructions. Hot handlers are inside the table, all others
// are functions called through the module's table.

import { calleesOf, EXIT_CODES, type HandEmitted } from '../lift/assemble.ts';
import { Emitter } from '../lift/emit.ts';
import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, imported } from '../lift/function.ts';
import type { InstructionExit, Local } from '../lift/ir.ts';
import {
  type AccessStrategy,
  FAULT_NON_CANONICAL,
  FAULT_RUN_ALONE,
  Lift,
  newLocal,
} from '../lift/lift.ts';
import { Value } from '../lift/value.ts';
import { countExactly } from '../microcode/exact.ts';
import { deliverDebugTrap, deliverFault } from '../microcode/exception.ts';
import { settleFlags } from '../microcode/flag-note.ts';
import { ON_FAULT, S, SEGMENT } from '../state/layout.ts';
import type { CodeWriter } from '../wasm/module.ts';
import { wasmOp } from '../wasm/opcodes.ts';
import { inlined } from './access.ts';
import { findBlock, recentBlock, resolveLink } from './block-cache.ts';
import type { HandlerTable } from './handlers.ts';
import { verifyNextPage } from './next-page.ts';
import { HANDLER_TYPE, PSEUDO_HANDLERS, R, RECORD_BYTES } from './record.ts';
import { EXIT_REASON, serviceEvents } from './service.ts';

/** Tells the host of the fault in S.fault, which is about to be delivered. */
const reportFault: FunctionRef = imported('reportFault', {});

const PSEUDO_COUNT = Object.keys(PSEUDO_HANDLERS).length;
/** Handler numbers below this are pseudo handlers. */
export const FIRST_HANDLER: number = PSEUDO_COUNT;

const LABEL = {
  nextBlock: 1_000_001,
  fault: 1_000_002,
  tail: 1_000_003,
  ended: 1_000_004,
  jumped: 1_000_005,
  dispatch: 1_000_006,
  special: 1_000_007,
  again: 1_000_008,
} as const;

/** `run(budget)`: retires about that many instructions and gives an EXIT_REASON. */
const runRef: FunctionRef = {
  name: 'run',
  params: ['i32'],
  result: 'i32',
  faults: false,
  build: undefined,
};

export function buildLoop(table: HandlerTable, access: AccessStrategy = inlined): HandEmitted {
  return {
    ref: runRef,
    uses: [
      serviceEvents,
      findBlock,
      deliverFault,
      deliverDebugTrap,
      verifyNextPage,
      reportFault,
      resolveLink,
      settleFlags,
      ...hotCallees(table),
    ],
    emit(functionIndex, module) {
      const handlerType = module.typeIndex(HANDLER_TYPE);
      const labels: Readonly<Record<InstructionExit, number>> = {
        jump: LABEL.jumped,
        fault: LABEL.fault,
        retry: LABEL.dispatch,
        again: LABEL.again,
      };
      const e = new Emitter({
        params: ['i32', 'i32'],
        functionIndex,
        exit: (emitter, exit) => emitter.code.br(emitter.depth(labels[exit])),
      });
      new LoopEmitter(e, table, { handlerType, access }).emit();
      return e.finish();
    },
  };
}

function hotCallees(table: HandlerTable): FunctionRef[] {
  const found = new Set<FunctionRef>();
  for (const h of table.hot) calleesOf(h.statements, (callee) => found.add(callee));
  return [...found];
}

class LoopEmitter {
  readonly #e: Emitter;
  readonly #code: CodeWriter;
  readonly #table: HandlerTable;
  readonly #handlerType: number;
  readonly #record: Local;
  readonly #status: Local = newLocal('i32');
  /** Number of the handler that runs. */
  readonly #handler: Local = newLocal('i32');

  readonly #access: AccessStrategy;

  constructor(
    e: Emitter,
    table: HandlerTable,
    { handlerType, access }: { handlerType: number; access: AccessStrategy },
  ) {
    this.#access = access;
    this.#e = e;
    this.#code = e.code;
    this.#table = table;
    this.#handlerType = handlerType;
    this.#record = table.recordLocal;
    e.local(this.#record);
    e.local(this.#status);
    e.local(this.#handler);
  }

  /** Builds statements with the lift language and emits them here. */
  #lift(build: (l: Lift, record: Value) => void): void {
    const l = new Lift({ cpu: newLocal('i32', 0), access: this.#access, mayFault: true });
    build(l, new Value({ kind: 'local', type: 'i32', local: this.#record }));
    this.#e.body(l.statements);
  }

  emit(): void {
    const e = this.#e;
    this.#lift((l) =>
      l.set(S.budget, new Value({ kind: 'local', type: 'i32', local: newLocal('i32', 1) })),
    );
    e.open('loop', LABEL.nextBlock);
    e.open('block', LABEL.fault);
    e.open('block', LABEL.tail);
    e.open('block', LABEL.ended);
    e.open('block', LABEL.again);
    e.open('block', LABEL.jumped);
    this.#prologue();
    this.#dispatch();
    e.close(); // jumped: count the record that jumped
    this.#advance();
    this.#code.br(e.depth(LABEL.tail));
    e.close(); // again: nothing has retired, but a long REP must come to the end of the budget
    this.#lift((l) => l.set(S.budget, l.get(S.budget).sub(1)));
    e.close(); // ended: the record is the next to run
    this.#lift((l, record) =>
      l.set(S.rip, l.get(S.ripBase).add(l.loadRaw('i64.load16_u', record, R.pageOffset))),
    );
    e.close(); // tail
    this.#tail();
    this.#code.br(e.depth(LABEL.nextBlock));
    e.close(); // fault
    this.#fault();
    this.#code.br(e.depth(LABEL.nextBlock));
    e.close();
    this.#code.unreachable();
  }

  /** Budget and events, then the first record of the next block. */
  #prologue(): void {
    this.#lift((l) => {
      l.assign(this.#record, l.i32(0));
      l.unlikely(l.get(S.budget).les(0), () => l.return(EXIT_REASON.budget));
      l.unlikely(l.get(S.events).or(l.get(S.interruptShadow)).or(l.get(S.activity)), () => {
        const reason = l.call(serviceEvents);
        l.if(reason, () => l.return(reason));
      });
      const recent = recentBlock(l);
      const first = l.choose(
        recent,
        'i32',
        () => recent,
        () => l.call(findBlock),
      );
      l.set(S.blockStart, first);
      l.set(S.stepping, l.get(S.rflags).and(RFLAGS.tf));
      l.assign(this.#record, first);
    });
  }

  #advance(): void {
    this.#lift((l, record) => l.assign(this.#record, record.add(RECORD_BYTES)));
  }

  #dispatch(): void {
    const e = this.#e;
    const { hot } = this.#table;
    const count = PSEUDO_COUNT + hot.length;
    e.open('loop', LABEL.dispatch);
    for (let i = count; i >= 0; i--) e.open('block', i + 1);
    // Read once: another processor may drop the block at any time.
    this.#code.localGet(e.local(this.#record)).bytes([0x2f, 1, R.handler]);
    this.#code.localSet(e.local(this.#handler)).localGet(e.local(this.#handler));
    this.#code.brTable(
      Array.from({ length: count }, (_, i) => i),
      count,
    );
    for (let i = 0; i < count; i++) {
      e.close();
      if (i === PSEUDO_HANDLERS.lookUp) this.#code.br(e.depth(LABEL.ended));
      else if (i === PSEUDO_HANDLERS.verifyNextPage) this.#verify();
      else {
        e.body(hot[i - PSEUDO_COUNT]!.statements);
        if (!hot[i - PSEUDO_COUNT]!.neverFallsThrough) this.#next();
      }
    }
    e.close();
    this.#callHandler(count);
    e.close();
  }

  #next(): void {
    this.#advance();
    this.#code.br(this.#e.depth(LABEL.dispatch));
  }

  #verify(): void {
    this.#lift((l, record) => {
      l.if(l.call(verifyNextPage, record).eqz(), () => l.exit('again'));
      l.set(S.blockStart, record.add(RECORD_BYTES));
    });
    this.#next();
  }

  /** A handler function; its status says how it ended. */
  #callHandler(firstNumber: number): void {
    const e = this.#e;
    const record = e.local(this.#record);
    this.#code
      .localGet(0)
      .localGet(record)
      .localGet(0)
      .memoryOp(wasmOp('i64.load'), S.rip.offset)
      .localGet(e.local(this.#handler))
      .i32(firstNumber)
      .byte(0x6b)
      .callIndirect(this.#handlerType)
      .localSet(e.local(this.#status));
    // Translated code leaves flags behind that nobody has computed.
    this.#lift((l) => l.unlikely(l.get(S.flagsKind), () => l.run(settleFlags)));
    e.open('block', LABEL.special);
    e.open('block', 0);
    this.#code.localGet(e.local(this.#status));
    const targets = [e.depth(0), 0, 0, 0, 0];
    targets[EXIT_CODES.jump] = e.depth(LABEL.jumped);
    targets[EXIT_CODES.fault] = e.depth(LABEL.fault);
    targets[EXIT_CODES.retry] = e.depth(LABEL.dispatch);
    targets[EXIT_CODES.again] = e.depth(LABEL.again);
    this.#code.brTable(targets, e.depth(LABEL.special));
    e.close();
    this.#next();
    // Translated code met a fault: S.rip is the instruction's, and the record says nothing.
    e.close();
    this.#lift((l) => {
      l.set(S.translatedFaults, l.get(S.translatedFaults).add(1n));
      l.assign(this.#record, l.i32(0));
    });
    this.#code.br(e.depth(LABEL.fault));
  }

  /** Accounts for the block; delivers single-step and breakpoint traps. */
  #tail(): void {
    this.#account();
    this.#lift((l) => l.assign(this.#record, l.i32(0)));
    this.#lift((l) =>
      l.unlikely(l.get(S.stepping).or(l.get(S.debugPending)), () => l.run(deliverDebugTrap)),
    );
  }

  #account(): void {
    this.#lift((l, record) => {
      const retired = l.let(record.sub(l.get(S.blockStart)).shru(Math.log2(RECORD_BYTES)));
      l.set(S.budget, l.get(S.budget).sub(retired));
      l.set(S.instructionCount, l.get(S.instructionCount).add(retired.u64()));
    });
  }

  /** A fault of the record's instruction, or (record 0) of fetching or of delivering an event. */
  #fault(): void {
    this.#lift((l, record) => {
      l.if(record, () => {
        l.set(S.rip, l.get(S.ripBase).add(l.loadRaw('i64.load16_u', record, R.pageOffset)));
        const retired = l.let(record.sub(l.get(S.blockStart)).shrs(Math.log2(RECORD_BYTES)));
        l.set(S.budget, l.get(S.budget).sub(retired));
        l.set(S.instructionCount, l.get(S.instructionCount).add(retired.s64()));
        const isStack = l.loadRaw('i32.load8_u', record, R.segment).eq(SEGMENT.ss);
        l.if(l.get(S.fault).and(FAULT_NON_CANONICAL).nez().and(isStack), () =>
          l.set(S.fault, l.get(S.fault).sub(1)),
        );
      });
      l.if(
        l.get(S.fault).and(FAULT_RUN_ALONE),
        () => {
          l.set(S.fault, 0);
          l.set(S.runOne, 1);
        },
        () => this.#deliver(l),
      );
    });
  }

  #deliver(l: Lift): void {
    // Faults count too: a handler that cannot be fetched would go on for ever.
    l.set(S.budget, l.get(S.budget).sub(1));
    countExactly(l);
    l.set(S.fault, l.get(S.fault).and(~FAULT_NON_CANONICAL));
    l.if(l.get(S.stopOnFault).eq(ON_FAULT.stop), () => l.return(EXIT_REASON.fault));
    l.while(
      () => l.get(S.fault).nez().and(l.get(S.activity).ne(3)),
      () => {
        l.if(l.get(S.stopOnFault), () => l.run(reportFault));
        l.attempt(deliverFault);
      },
    );
    l.set(S.fault, 0);
  }
}
