// Lifts every form of the instruction table once for each operand size, register or memory operand and, where the
// meaning depends on it, mode. Each result is a handler: inlined into the loop when the form is hot, else a function.

import { ISA } from '../isa/index.ts';
import type { Form, Instruction, OperandSpec } from '../isa/instruction.ts';
import type { FunctionRef } from '../lift/function.ts';
import type { Local, Statement } from '../lift/ir.ts';
import { type AccessStrategy, Lift, newLocal } from '../lift/lift.ts';
import { Value } from '../lift/value.ts';
import { checkUnit } from '../microcode/unit-check.ts';
import { STRATEGIES, type Strategies } from './access.ts';
import { bindOperand, recordContext, type Variant } from './operands.ts';
import { HANDLER_TYPE } from './record.ts';

/** A form with its place in the table: what the decoder finds. */
export interface TableForm {
  readonly instruction: Instruction;
  readonly form: Form;
}

export interface Handler {
  readonly name: string;
  readonly statements: readonly Statement[];
  /** Control never reaches the next record: the block ends here. */
  readonly neverFallsThrough: boolean;
}

/** Numbers of handlers: all that decoding needs to know of them. */
export interface HandlerNumbers {
  /** Number of the handler for a variant of a form. */
  find(form: TableForm, variant: Variant): number;
  neverFallsThrough(handler: number): boolean;
  /** Whether the handler is a function of the module's table, and not inlined into the loop. */
  isFunction(handler: number): boolean;
  /** Index in the module's table of a handler that is a function. */
  tableIndex(handler: number): number;
  /** The handler of everything that raises #UD, and of what is longer than 15 bytes: #GP(0). */
  readonly invalid: number;
  readonly tooLong: number;
  /** How many of the handlers are functions. */
  readonly functionCount: number;
}

/** HandlerNumbers as data, for another thread: for each form of FORMS the numbers of its variants. */
export interface PackedNumbers {
  readonly forms: readonly (Readonly<Record<string, number>> | undefined)[];
  /** A byte for each handler from `first` on: 1 when control never falls through. */
  readonly neverFallsThrough: Uint8Array;
  readonly first: number;
  readonly hotCount: number;
}

export function unpackNumbers(packed: PackedNumbers): HandlerNumbers {
  const { first, hotCount, neverFallsThrough } = packed;
  const byForm = new Map(FORMS.map((t, n) => [t, packed.forms[n]]));
  const invalid = first + neverFallsThrough.length - 1;
  return {
    find(t, variant) {
      const numbers = byForm.get(t);
      return numbers?.[key(variant)] ?? numbers?.[key({ ...variant, locked: false })] ?? invalid;
    },
    neverFallsThrough: (n) => neverFallsThrough[n - first] === 1,
    isFunction: (n) => n >= first + hotCount,
    tableIndex: (n) => n - first - hotCount,
    invalid,
    tooLong: invalid - 1,
    functionCount: neverFallsThrough.length - hotCount,
  };
}

export interface HandlerTable extends HandlerNumbers {
  readonly packed: PackedNumbers;
  /** Inlined handlers, in the order of their numbers; these come right after the pseudo handlers. */
  readonly hot: readonly Handler[];
  /** Handlers as functions, numbered behind the hot ones. */
  readonly functions: readonly FunctionRef[];
  /** The local that holds the record's address in inlined handlers. */
  readonly recordLocal: Local;
}

const MEMORY_ONLY = new Set(['rmMemory', 'vsib']);
const EITHER = new Set(['rm', 'xmmRm', 'mmxRm']);

/** Whether the form's ModRM.rm can be a register, and whether it can be memory. */
export function rmKinds(form: Form): { register: boolean; memory: boolean } {
  if (form.operands.some((o) => MEMORY_ONLY.has(o.source)))
    return { register: false, memory: true };
  if (form.operands.some((o) => EITHER.has(o.source))) return { register: true, memory: true };
  return { register: true, memory: false };
}

const isSized = (o: OperandSpec) =>
  o.size === 'v' || o.size === 'z' || o.source === 'immediateSigned';

/** Operand sizes for which a form has variants. */
export function variantBits(form: Form): readonly number[] {
  if (form.sized || form.operands.some((o) => isSized(o) || o.source === 'far'))
    return form.mode === 'legacy' ? [16, 32] : [16, 32, 64];
  if (form.operands.some((o) => o.size === 'y')) return form.mode === 'legacy' ? [32] : [32, 64];
  const fixed: Readonly<Record<string, number>> = { b: 8, w: 16, d: 32, q: 64 };
  return [fixed[form.operands[0]?.size ?? ''] ?? 0];
}

/** All forms of the table in order, the decoder's universe. */
export const FORMS: readonly TableForm[] = ISA.flatMap((instruction) =>
  instruction.forms.map((form) => ({ instruction, form })),
);

const key = (v: Variant) =>
  `${v.bits}${v.isMemory ? 'm' : 'r'}${v.mode64 ? 'l' : 'p'}${v.locked ? 'k' : ''}`;

/** Lifts one variant. `record` is the local with the record's address. */
function liftVariant(
  t: TableForm,
  variant: Variant,
  { record, access }: { record: Local; access: AccessStrategy },
): { handler: Handler; dependsOnMode: boolean } {
  let dependsOnMode = false;
  const l = new Lift({
    cpu: newLocal('i32', 0),
    access,
    mayFault: true,
  });
  const recordValue = new Value({ kind: 'local', type: 'i32', local: record });
  const context = recordContext(l, recordValue, variant, () => {
    dependsOnMode = true;
  });
  const operands = t.form.operands.map((spec, n) => {
    const access = t.instruction.access?.[n] ?? (n === 0 ? 'rw' : 'r');
    return bindOperand(l, recordValue, spec, variant, access);
  });
  if (t.form.unit) checkUnit(l, t.form.unit);
  t.instruction.lift(l, context, ...operands);
  const last = l.statements.at(-1);
  const name = `${t.instruction.name} ${t.form.encoding} ${key(variant)}`;
  return {
    handler: { name, statements: l.statements, neverFallsThrough: last?.kind === 'exit' },
    dependsOnMode,
  };
}

/** Lifts the whole table. `isShared` strategies get handlers of their own for instructions with a LOCK prefix. */
export function buildHandlers(
  firstNumber: number,
  { calls, inlined }: Strategies = STRATEGIES.one,
): HandlerTable {
  const recordLocal = newLocal('i32');
  const parameter = newLocal('i32', 1);
  const hotPlace = { record: recordLocal, access: inlined };
  const coldPlace = { record: parameter, access: calls };
  const hot: Handler[] = [];
  const cold: Handler[] = [];
  const places = new Map<TableForm, Map<string, { list: Handler[]; index: number }>>();
  const add = (list: Handler[], handler: Handler) => ({ list, index: list.push(handler) - 1 });
  for (const t of FORMS) {
    if (!t.instruction.supported) continue;
    const byVariant = new Map<string, { list: Handler[]; index: number }>();
    places.set(t, byVariant);
    const kinds = rmKinds(t.form);
    for (const bits of variantBits(t.form)) {
      for (const isMemory of [false, true]) {
        if (isMemory ? !kinds.memory : !kinds.register) continue;
        const addBothModes = (locked: boolean) => {
          const isHot = t.form.hot === true && !locked;
          const list = isHot ? hot : cold;
          const lift = (mode64: boolean) =>
            liftVariant(t, { bits, isMemory, mode64, locked }, isHot ? hotPlace : coldPlace);
          const first = lift(t.form.mode !== 'legacy');
          const place = add(list, first.handler);
          byVariant.set(key({ bits, isMemory, mode64: true, locked }), place);
          const alone = !first.dependsOnMode || t.form.mode !== undefined || bits === 64;
          byVariant.set(
            key({ bits, isMemory, mode64: false, locked }),
            alone ? place : add(list, lift(false).handler),
          );
        };
        addBothModes(false);
        if (calls.isShared && t.form.lock && isMemory) addBothModes(true);
      }
    }
  }
  cold.push(raising('instruction too long', 13, 0), raising('invalid opcode', 6));
  const all = [...hot, ...cold];
  const numberOf = (p: { list: Handler[]; index: number }) =>
    firstNumber + (p.list === cold ? hot.length : 0) + p.index;
  const packed: PackedNumbers = {
    forms: FORMS.map((t) => {
      const byVariant = places.get(t);
      if (!byVariant) return undefined;
      return Object.fromEntries([...byVariant].map(([name, place]) => [name, numberOf(place)]));
    }),
    neverFallsThrough: Uint8Array.from(all, (h) => (h.neverFallsThrough ? 1 : 0)),
    first: firstNumber,
    hotCount: hot.length,
  };
  return {
    ...unpackNumbers(packed),
    packed,
    hot,
    functions: cold.map((h, i) => ({
      name: `${i}: ${h.name}`,
      params: HANDLER_TYPE.params.slice(1),
      result: HANDLER_TYPE.results[0],
      faults: true,
      build: () => {},
      statements: h.statements,
    })),
    recordLocal,
  };
}

function raising(name: string, vector: number, errorCode?: number): Handler {
  const { calls: access } = STRATEGIES.one;
  const l = new Lift({ cpu: newLocal('i32', 0), access, mayFault: true });
  l.raise(vector, errorCode);
  return { name, statements: l.statements, neverFallsThrough: true };
}
