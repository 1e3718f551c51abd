// Flags are computed where somebody wants them. Most flags that an instruction sets are overwritten unread; what may
// look at them is an exit that is rarely taken. So a flag's value stays an expression over the instruction's operands
// ('pending') until an instruction reads it or control flows together. Conditions right behind a comparison become one
// comparison of its operands. Ways out, and places with several ways in, get a note instead of flags (flag-note.ts).

import type { FlagOrigin, Local, Node, Statement } from '../lift/ir.ts';
import { eachNode, mapOperands, mapStatement, someStatement } from '../lift/traverse.ts';
import { constantOf, lanewise, Value } from '../lift/value.ts';
import { FLAG, flagsSetInside, NOTE } from './flag-liveness.ts';
import type { FlagNote } from './flag-note.ts';
import type { RegisterLocals } from './registers.ts';

/** Flags as expressions that have not been stored in their locals, by the flag's bit. */
type Pending = ReadonlyMap<number, { readonly local: Local; readonly value: Node }>;

/** Who knows all flags: the vCPU's state (with S.flagsKind, or `settled`: itself), the region's note, or what is pending with
 *  the flags' locals. */
type Keeper = 'state' | 'settled' | 'note' | 'values';

/** Flags where a block begins or ends. */
export interface FlagState {
  readonly pending: Pending;
  readonly keeper: Keeper;
}

export interface SinkContext {
  readonly registers: RegisterLocals;
  readonly note: FlagNote;
  /** Flags that must be in their locals before a jump to this place, and whether they must be noted (NOTE); undefined when the
   *  jump leaves the region. */
  liveAt(target: number): number | undefined;
  /** As `liveAt`, for all places in the region that a return may lead to; 0 when there is none. */
  readonly liveAtReturns: number;
  /** The place has no other way in: it takes over what is pending, and nothing is stored. */
  inherits(target: number): boolean;
  /** Where the region may have to be left in front of the target: statements that leave for it then, with `stores` before; else none. */
  leaveBefore(target: number, stores: readonly Statement[], isClean: boolean): readonly Statement[];
  /** Says where the region is left for. */
  leaveFor(target: number): readonly Statement[];
  /** Told of each jump to a place that inherits. */
  passOn(target: number, state: FlagState): void;
}

/** Target of an exit that leaves the region with the vCPU's state knowing all flags; others have them noted. */
export const CLEAN = -1;

/** Where a fault goes first that finds flags not noted: they are, and then the fault goes its way. */
export interface FaultStub {
  /** Target of the faults that come here. */
  readonly id: number;
  readonly stores: readonly Statement[];
}

let nextStub = 1;

/** Rewrites statements; gives what is pending behind them. */
export class FlagSinker {
  readonly #context: SinkContext;
  #pending: Map<number, { readonly local: Local; readonly value: Node }>;
  #keeper: Keeper;

  constructor(context: SinkContext, inherited: FlagState) {
    this.#context = context;
    this.#pending = new Map(inherited.pending);
    this.#keeper = inherited.keeper;
  }
  /** The vCPU's state knows all flags. */
  get isClean(): boolean {
    return this.#keeper === 'state' || this.#keeper === 'settled';
  }
  /** The vCPU's state has all flags, as the handler that was called has left them. */
  synchronised(): void {
    this.#keeper = 'settled';
  }

  #stub: FaultStub | undefined;
  #stubs: FaultStub[] = [];

  /** Stubs that the statements since the last call go to, in order. */
  takeStubs(): readonly FaultStub[] {
    const stubs = this.#stubs;
    this.#stubs = [];
    this.#stub = undefined;
    return stubs;
  }
  /** Statements of one or more instructions, in order. */
  sink(statements: readonly Statement[]): readonly Statement[] {
    const out: Statement[] = [];
    for (const s of statements) this.#top(s, out);
    return out;
  }
  /** The vCPU's state gets all flags, for a handler. */
  settle(): readonly Statement[] {
    const { note } = this.#context;
    const out: Statement[] = [];
    if (this.#keeper === 'state') out.push(...note.settleState());
    else if (this.#keeper !== 'settled') out.push(...this.#noted(), ...note.settle());
    this.#pending.clear();
    this.#stub = undefined;
    return out;
  }
  /** The vCPU's state gets a note of all flags, for a handler that has nothing to do with them; they stay as they are. */
  noteInState(): readonly Statement[] {
    if (this.isClean) return [];
    const out = [...this.#noted(), ...this.#context.note.store()];
    this.#keeper = 'state';
    this.#stub = undefined;
    return out;
  }
  /** What is pending, and who knows the flags. */
  get state(): FlagState {
    return { pending: this.#pending, keeper: this.#keeper };
  }
  /** For a jump: what the place needs; what is pending stays so for whoever does not take it. */
  storeFor(target: number): readonly Statement[] {
    const live = this.#context.liveAt(target);
    if (live === undefined) return this.#noted();
    const pending = new Map(this.#pending);
    const stores = this.#storesFor(live);
    const check = this.#context.leaveBefore(target, live & NOTE ? [] : this.#noted(), this.isClean);
    if (check.length || !this.#context.inherits(target)) return [...stores, ...check];
    this.#context.passOn(target, { pending, keeper: this.#keeper });
    return [];
  }

  /** What is `live` into the locals and the note. */
  #storesFor(live: number): Statement[] {
    const out: Statement[] = [];
    for (const [flag, { local, value }] of this.#pending)
      if (flag & live) out.push({ kind: 'set', local, value });
    if (!(live & NOTE)) return out;
    const { note } = this.#context;
    if (this.#keeper === 'settled') out.push(...note.clear());
    else if (this.#keeper === 'state') out.push(...note.load());
    else out.push(...this.#noted());
    return out;
  }

  /** Where the state does not know the flags: the note does. */
  #noted(): readonly Statement[] {
    if (this.#keeper !== 'values') return [];
    return this.#context.note.write(this.#value);
  }
  #value = (flag: number, local: Local): Node =>
    this.#pending.get(flag)?.value ?? { kind: 'local', type: local.type, local };

  #top(s: Statement, out: Statement[]): void {
    if (s.kind === 'set') {
      const promoted = this.#context.registers.of(s.local);
      const value = this.#substitute(s.value);
      if (promoted?.flag) {
        this.#stub = undefined;
        this.#keeper = 'values';
      }
      if (promoted?.flag && this.#canWait(value)) {
        this.#pending.set(promoted.flag, { local: s.local, value });
        return;
      }
      if (promoted?.flag) this.#pending.delete(promoted.flag);
      // Faults behind it write other registers back.
      else if (promoted) this.#stub = undefined;
      out.push(value === s.value ? s : { ...s, value });
      return;
    }
    if (s.kind === 'exit') {
      this.#exit(s, out);
      return;
    }
    // What only may be set inside must be in its local before.
    const inside = flagsSetInside(s, this.#context.registers);
    if (!inside) this.#noteBefore(s, out);
    for (const [flag, { local, value }] of [...this.#pending]) {
      if (!(flag & inside)) continue;
      out.push({ kind: 'set', local, value });
      this.#pending.delete(flag);
      this.#stub = undefined;
    }
    if (inside) this.#keeper = 'values';
    out.push(mapStatement(s, this.#substitute, this.#inner));
    if (setsRegisters(s, this.#context.registers)) this.#stub = undefined;
  }

  /** A note in front of a statement that may leave is less than one at each of its exits, and costs TurboFan nothing. */
  #noteBefore(s: Statement, out: Statement[]): void {
    if (this.#keeper !== 'values' || !someStatement([s], this.#wantsNote)) return;
    const note = this.#context.note.writeIfCheap(this.#value);
    if (!note) return;
    out.push(...note);
    this.#keeper = 'note';
  }
  #wantsNote = (s: Statement): boolean => {
    if (s.kind !== 'exit') return false;
    if (s.exit !== 'jump' || s.target === undefined) return true;
    const live = this.#context.liveAt(s.target);
    return live === undefined || (live & NOTE) !== 0;
  };

  #inner = (statements: readonly Statement[]): readonly Statement[] => {
    const out: Statement[] = [];
    for (const s of statements) {
      if (s.kind === 'exit') this.#exit(s, out);
      else out.push(mapStatement(s, this.#substitute, this.#inner));
    }
    return out;
  };

  #exit(s: Statement & { kind: 'exit' }, out: Statement[]): void {
    if (s.exit === 'fault') {
      const isNoted = this.#keeper !== 'values';
      out.push(isNoted ? this.#leaving(s) : { ...s, target: this.#stubHere().id });
      return;
    }
    const { target } = s;
    if (s.exit !== 'jump' || target === undefined) this.#leave(s, out);
    else if (this.#context.liveAt(target) === undefined)
      out.push(
        ...this.#noted(),
        ...this.#context.leaveFor(target),
        this.#leaving({ kind: 'exit', exit: 'jump' }),
      );
    else out.push(...this.storeFor(target), s);
  }

  /** A jump to wherever, which may be a place of the region. */
  #leave(s: Statement & { kind: 'exit' }, out: Statement[]): void {
    const { liveAtReturns } = this.#context;
    out.push(...this.#storesFor(liveAtReturns));
    if (!(liveAtReturns & NOTE)) out.push(...this.#noted());
    out.push(this.#leaving(s));
  }

  #leaving(s: Statement & { kind: 'exit' }): Statement {
    return this.isClean ? { ...s, target: CLEAN } : s;
  }

  #stubHere(): FaultStub {
    if (!this.#stub) {
      this.#stub = { id: nextStub++, stores: this.#noted() };
      this.#stubs.push(this.#stub);
    }
    return this.#stub;
  }

  /** An expression may wait if nothing that it is made of can change. */
  #canWait(value: Node): boolean {
    let can = true;
    eachNode(value, (node) => {
      if (node.kind === 'load' || node.kind === 'call') can = false;
      if (node.kind === 'local' && this.#context.registers.of(node.local)) can = false;
    });
    return can;
  }

  /** The expression with pending flags in the place of their locals. */
  #substitute = (node: Node): Node => {
    if (node.kind === 'local') {
      const flag = this.#context.registers.of(node.local)?.flag ?? 0;
      return (flag && this.#pending.get(flag)?.value) || node;
    }
    if (node.kind === 'op' && node.condition !== undefined) {
      const direct = directCondition(node.condition, this.#pending);
      if (direct) return direct;
    }
    const mapped = mapOperands(node, this.#substitute);
    return mapped === node || mapped.kind !== 'op' ? mapped : fold(mapped);
  };
}

/** Constants may have come together. */
function fold(node: Node & { kind: 'op' }): Node {
  if (node.args.some((arg) => arg.kind !== 'const')) return node;
  return lanewise(node.op, node.lanes, ...node.args.map((arg) => new Value(arg))).node;
}

/** The condition computed from the operands of the comparison that the flags come from. */
function directCondition(code: number, pending: Pending): Node | undefined {
  const sign = pending.get(FLAG.sp)?.value;
  const zero = pending.get(FLAG.z)?.value;
  const overflow = pending.get(FLAG.o)?.value;
  const carry = pending.get(FLAG.c)?.value;
  if (!sign || sign !== zero || !overflow) return undefined;
  const positive = code & ~1;
  const test = isZero(overflow)
    ? ofResult(positive, new Value(sign), carry !== undefined && isZero(carry))
    : ofSubtraction(positive, sign, overflow, carry);
  if (!test) return undefined;
  return (code & 1 ? test.eqz() : test).node;
}

const CONDITION = { below: 2, equal: 4, belowOrEqual: 6, less: 12, lessOrEqual: 14 } as const;

/** OF is clear: signed conditions look at the result alone. */
function ofResult(code: number, result: Value, isCarryClear: boolean): Value | undefined {
  switch (code) {
    case CONDITION.belowOrEqual:
      return isCarryClear ? result.eqz() : undefined;
    case CONDITION.less:
      return result.lts(0);
    case CONDITION.lessOrEqual:
      return result.les(0);
    default:
      return undefined;
  }
}

function ofSubtraction(
  code: number,
  sign: Node,
  overflow: Node,
  carry: Node | undefined,
): Value | undefined {
  const origin = originOf(overflow);
  if (origin?.kind !== 'sub' || origin.result !== sign) return undefined;
  const [a, b] = [new Value(origin.a), new Value(origin.b)];
  const extend = (v: Value) => (origin.bits < 32 ? v.sext(origin.bits) : v);
  const isCarryOf = carry !== undefined && originOf(carry) === origin;
  switch (code) {
    case CONDITION.below:
      return isCarryOf ? a.ltu(b) : undefined;
    case CONDITION.equal:
      return a.eq(b);
    case CONDITION.belowOrEqual:
      return isCarryOf ? a.leu(b) : undefined;
    case CONDITION.less:
      return extend(a).lts(extend(b));
    case CONDITION.lessOrEqual:
      return extend(a).les(extend(b));
    default:
      return undefined;
  }
}

function originOf(node: Node): FlagOrigin | undefined {
  return node.kind === 'op' ? node.origin : undefined;
}
function isZero(node: Node): boolean {
  return node.kind === 'const' && constantOf(new Value(node)) === 0n;
}
/** Locals that pending values are made of. */
export function localsOf({ pending }: FlagState): ReadonlySet<Local> {
  const found = new Set<Local>();
  for (const { value } of pending.values())
    eachNode(value, (node) => {
      if (node.kind === 'local') found.add(node.local);
    });
  return found;
}

function setsRegisters(s: Statement, registers: RegisterLocals): boolean {
  return someStatement([s], (inner) => inner.kind === 'set' && !!registers.of(inner.local));
}
