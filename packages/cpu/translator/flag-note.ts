// The region's note of the flags: three locals that say which operation gave them, and two values of it, as S.flagsKind and the
// fields behind it do (microcode/flag-note.ts). Writing it is a few moves where computing five flags is fifteen operations.

import { calls } from '../interpreter/access.ts';
import type { FlagOrigin, Local, Node, Statement } from '../lift/ir.ts';
import { Lift, newLocal } from '../lift/lift.ts';
import { constantOf, Value } from '../lift/value.ts';
import {
  isNoted,
  NOTED_PART,
  NOTHING_NOTED,
  noteKind,
  settleFlags,
  settleNote,
} from '../microcode/flag-note.ts';
import { type Field, S } from '../state/layout.ts';
import { FLAG } from './flag-liveness.ts';
import { FLAG_FIELDS, type RegisterLocals } from './registers.ts';

/** What a note says. */
interface Note {
  readonly kind: number;
  readonly left: Value;
  /** Undefined: any. */
  readonly right: Value | undefined;
  /** It takes a few moves, where others compute. */
  readonly isCheap: boolean;
}
/** A flag's value now: pending, or its local. */
export type FlagValues = (flag: number, local: Local) => Node;

export class FlagNote {
  readonly #registers: RegisterLocals;
  readonly #kind = newLocal('i32');
  readonly #left = newLocal('i64');
  readonly #right = newLocal('i64');
  readonly locals: readonly Local[] = [this.#kind, this.#left, this.#right];

  constructor(registers: RegisterLocals) {
    this.#registers = registers;
    for (const field of FLAG_FIELDS) registers.flag(field);
  }

  /** Notes flags. Those that have no note go into the vCPU's state. */
  write(values: FlagValues): readonly Statement[] {
    const value = this.#localValue(values);
    const note = noteOf(value);
    if (note) return this.#set(note);
    return build((l) => {
      for (const [n, field] of FLAG_FIELDS.entries()) l.set(field, new Value(value(1 << n)));
      l.append(this.clear());
    });
  }
  /** Notes flags if that takes a few moves only. */
  writeIfCheap(values: FlagValues): readonly Statement[] | undefined {
    const note = noteOf(this.#localValue(values));
    return note?.isCheap ? this.#set(note) : undefined;
  }
  #localValue(values: FlagValues): (flag: number) => Node {
    return (flag) => values(flag, this.#registers.flag(FLAG_FIELDS[Math.log2(flag)]!));
  }
  /** Says that the vCPU's state has the flags. */
  clear(): readonly Statement[] {
    return build((l) => l.assign(this.#kind, l.i32(NOTHING_NOTED)));
  }
  /** What the vCPU's state knows. */
  load(): readonly Statement[] {
    return build((l) => this.#each((local, field) => l.assign(local, l.get(field))));
  }
  /** The note into the vCPU's state. */
  store(): readonly Statement[] {
    return build((l) => this.#each((local, field) => l.set(field, localValue(local))));
  }
  /** Flags from the note into the vCPU's state. */
  settle(): readonly Statement[] {
    return build((l) => l.run(settleNote, ...this.locals.map(localValue)));
  }
  /** Flags from the state's note into the state. */
  settleState(): readonly Statement[] {
    return build((l) => l.if(l.get(S.flagsKind), () => l.run(settleFlags)));
  }

  #set({ kind, left, right }: Note): readonly Statement[] {
    return build((l) => {
      l.assign(this.#kind, l.i32(kind));
      l.assign(this.#left, left);
      if (right) l.assign(this.#right, right);
    });
  }
  #each(visit: (local: Local, field: Field) => void): void {
    visit(this.#kind, S.flagsKind);
    visit(this.#left, S.flagsLeft);
    visit(this.#right, S.flagsRight);
  }
}

function localValue(local: Local): Value {
  return new Value({ kind: 'local', type: local.type, local });
}

function build(lift: (l: Lift) => void): readonly Statement[] {
  const l = new Lift({ cpu: newLocal('i32', 0), access: calls, mayFault: true });
  lift(l);
  return l.statements;
}

function noteOf(value: (flag: number) => Node): Note | undefined {
  const result = value(FLAG.sp);
  if (!isSame(result, value(FLAG.z))) return undefined;
  const [overflow, carry, adjust] = [value(FLAG.o), value(FLAG.c), value(FLAG.a)];
  const origin = originOf(overflow);
  const isWhole = origin && originOf(adjust) === origin && isSame(origin.result, result);
  const left = new Value(result);
  if (isWhole && isNoted(origin.kind)) {
    const kind = noteKind(origin.kind, origin.bits);
    if (origin.kind === 'inc' || origin.kind === 'dec')
      return { kind, left, right: wide(carry), isCheap: true };
    if (originOf(carry) === origin)
      return { kind, left: wide(origin.a), right: wide(origin.b), isCheap: true };
  }
  const right = wide(carry)
    .or(wide(masked(adjust, NOTED_PART.adjust)))
    .or(masked(overflow, NOTED_PART.overflow));
  const known = constantOf(right);
  if (known === 0n) return { kind: noteKind('result', 64), left, right: undefined, isCheap: true };
  return { kind: noteKind('parts', 64), left, right, isCheap: known !== undefined };
}

/** Operands of fewer bits are moved to the top: what is above them does not matter. */
function wide(node: Node | Value): Value {
  const value = node instanceof Value ? node : new Value(node);
  return constantOf(value) === undefined ? value.u64() : value.s64();
}
function masked(node: Node, mask: bigint): Value {
  const value = new Value(node);
  return value.and(value.type === 'i64' ? mask : Number(mask));
}
function originOf(node: Node): FlagOrigin | undefined {
  return node.kind === 'op' ? node.origin : undefined;
}
function isSame(a: Node, b: Node): boolean {
  if (a === b) return true;
  if (a.kind === 'local') return b.kind === 'local' && a.local === b.local;
  return a.kind === 'const' && b.kind === 'const' && a.value === b.value;
}
