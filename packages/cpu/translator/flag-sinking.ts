// Flags are computed where somebody wants them. Most flags that an instruction sets are overwritten unread; what may
// look at them is an exit that is rarely taken. So a flag's value stays an expression over the instruction's operands
// ('pending') until an instruction reads it, an exit stores it, or control flows together. Conditions right behind a
// comparison become one comparison of its operands.

import type { FlagOrigin, Local, Node, Statement } from '../lift/ir.ts';
import { eachNode, eachStatement, mapOperands, mapStatement } from '../lift/traverse.ts';
import { constantOf, lanewise, Value } from '../lift/value.ts';
import { FLAG_FIELDS, type RegisterLocals } from './registers.ts';

/** Flags as expressions that have not been stored in their locals, by the flag's bit. */
export type Pending = ReadonlyMap<number, { readonly local: Local; readonly value: Node }>;
export const NOTHING_PENDING: Pending = new Map();

const [FLAG_Z, FLAG_SP, FLAG_O, FLAG_C] = FLAG_FIELDS.map((_, n) => 1 << n) as [
  number,
  number,
  number,
  number,
  number,
];

export interface SinkContext {
  readonly registers: RegisterLocals;
  /** Flags that must be in their locals before a jump to this place; undefined when the jump leaves the region. */
  liveAt(target: number): number | undefined;
  /** The place has no other way in: it takes over what is pending, and nothing is stored. */
  inherits(target: number): boolean;
  /** The jump closes a loop, where events are looked for: statements that leave for the target if there is one, with `stores` before; none otherwise. */
  lookForEvents(
    target: number,
    stores: readonly Statement[],
    isClean: boolean,
  ): readonly Statement[];
  /** Says where the region is left for. */
  leaveFor(target: number): readonly Statement[];
  /** Told of each jump to a place that inherits. */
  passOn(target: number, pending: Pending): void;
}

/** Target of an exit that leaves the region with no flag changed. */
export const CLEAN = -1;

/** Where a fault goes first that finds flags pending: they are stored, and then the fault goes its way. */
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

  /** Whether the region may have changed a flag since it was entered, or since all were stored. */
  #isDirty: boolean;

  constructor(context: SinkContext, inherited: Pending, isDirty: boolean) {
    this.#context = context;
    this.#pending = new Map(inherited);
    this.#isDirty = isDirty;
  }
  /** No flag has changed: the vCPU's state has them all. */
  get isClean(): boolean {
    return !this.#isDirty;
  }
  /** All flags have just been stored to the vCPU's state and loaded from it. */
  synchronised(): void {
    this.#isDirty = false;
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
  /** All that is pending goes into the locals. */
  store(): readonly Statement[] {
    const out = this.#stores(~0);
    this.#pending.clear();
    this.#stub = undefined;
    return out;
  }
  /** As `store`, for a jump; what is pending stays so for whoever does not take it. */
  storeFor(target: number): readonly Statement[] {
    const live = this.#context.liveAt(target);
    if (live === undefined) return this.#stores(~0);
    const check = this.#context.lookForEvents(target, this.#stores(~live), this.isClean);
    if (check.length) return [...this.#stores(live), ...check];
    if (!this.#context.inherits(target)) return this.#stores(live);
    this.#context.passOn(target, new Map(this.#pending));
    return [];
  }

  #stores(flags: number): Statement[] {
    const out: Statement[] = [];
    for (const [flag, { local, value }] of this.#pending)
      if (flag & flags) out.push({ kind: 'set', local, value });
    return out;
  }

  #top(s: Statement, out: Statement[]): void {
    if (s.kind === 'set') {
      const promoted = this.#context.registers.of(s.local);
      const value = this.#substitute(s.value);
      if (promoted?.flag) {
        this.#stub = undefined;
        this.#isDirty = true;
      }
      if (promoted?.flag && this.#canWait(value)) {
        this.#pending.set(promoted.flag, { local: s.local, value });
        return;
      }
      if (promoted?.flag) this.#pending.delete(promoted.flag);
      out.push(value === s.value ? s : { ...s, value });
      return;
    }
    if (s.kind === 'exit') {
      this.#exit(s, out);
      return;
    }
    // What only may be set inside must be in its local before.
    const inside = flagsSetInside(s, this.#context.registers);
    for (const [flag, { local, value }] of [...this.#pending]) {
      if (!(flag & inside)) continue;
      out.push({ kind: 'set', local, value });
      this.#pending.delete(flag);
      this.#stub = undefined;
    }
    if (inside) this.#isDirty = true;
    out.push(mapStatement(s, this.#substitute, this.#inner));
  }

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
      out.push(this.#pending.size ? { ...s, target: this.#stubHere().id } : this.#leaving(s));
      return;
    }
    const { target } = s;
    if (s.exit !== 'jump' || target === undefined) out.push(...this.#stores(~0), this.#leaving(s));
    else if (this.#context.liveAt(target) === undefined)
      out.push(
        ...this.#stores(~0),
        ...this.#context.leaveFor(target),
        this.#leaving({ kind: 'exit', exit: 'jump' }),
      );
    else out.push(...this.storeFor(target), s);
  }

  #leaving(s: Statement & { kind: 'exit' }): Statement {
    return this.#isDirty ? s : { ...s, target: CLEAN };
  }

  #stubHere(): FaultStub {
    if (!this.#stub) {
      this.#stub = { id: nextStub++, stores: this.#stores(~0) };
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

function flagsSetInside(s: Statement, registers: RegisterLocals): number {
  if (s.kind !== 'if' && s.kind !== 'switch' && s.kind !== 'loop' && s.kind !== 'block') return 0;
  let set = 0;
  eachStatement([s], (inner) => {
    if (inner.kind === 'set') set |= registers.of(inner.local)?.flag ?? 0;
  });
  return set;
}

/** The condition computed from the operands of the comparison that the flags come from. */
function directCondition(code: number, pending: Pending): Node | undefined {
  const sign = pending.get(FLAG_SP)?.value;
  const zero = pending.get(FLAG_Z)?.value;
  const overflow = pending.get(FLAG_O)?.value;
  const carry = pending.get(FLAG_C)?.value;
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
export function localsOf(pending: Pending): ReadonlySet<Local> {
  const found = new Set<Local>();
  for (const { value } of pending.values())
    eachNode(value, (node) => {
      if (node.kind === 'local') found.add(node.local);
    });
  return found;
}
