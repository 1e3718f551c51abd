// vCPU state that stays as it is while straight code runs, unless the code or microcode that it calls stores there: what
// every memory access reads. Hosts change none of it while the vCPU runs; they ask for it through `S.events`.

import { calls } from '../../interpreter/access.ts';
import { calleesOf } from '../../lift/assemble.ts';
import type { FunctionRef } from '../../lift/function.ts';
import type { Statement } from '../../lift/ir.ts';
import { Lift, newLocal } from '../../lift/lift.ts';
import { Value } from '../../lift/value.ts';
import { flushNotGlobal, flushPage, flushTlb } from '../../microcode/tlb.ts';
import { S } from '../../state/layout.ts';
import { wasmOp } from '../../wasm/opcodes.ts';
import { stateOffset } from '../effects.ts';

const SETTLED = [
  S.tlb,
  S.tlbSystem,
  S.ripBase,
  S.segBase,
  S.stackMask,
  S.fpuTrap,
  S.vectorTrap,
] as const;
const offsets: ReadonlySet<number> = new Set(
  SETTLED.flatMap((f) => Array.from({ length: f.count }, (_, n) => f.offset + n * f.stride)),
);

/** A whole field of the settled state begins at this offset. */
export function isSettled(offset: number): boolean {
  return offsets.has(offset);
}

/** A store of this name at this offset reaches into the settled state. */
export function reachesSettled(store: string, offset: number): boolean {
  const bytes = storeBytes(store);
  return SETTLED.some((f) => offset + bytes > f.offset && offset < f.offset + f.count * f.stride);
}
function storeBytes(store: string): number {
  const bits = /store(\d+)/.exec(store)?.[1];
  if (bits !== undefined) return Number(bits) / 8;
  const type = wasmOp(store).params[1];
  return type === 'v128' ? 16 : type === 'i64' || type === 'f64' ? 8 : 4;
}

const flushers = new Map<FunctionRef, boolean>([
  [flushTlb, true],
  [flushNotGlobal, true],
  [flushPage, true],
]);

/** Whether a function, or one that it calls, takes entries out of the TLB. */
export function flushesTlb(ref: FunctionRef): boolean {
  const cached = flushers.get(ref);
  if (cached !== undefined) return cached;
  flushers.set(ref, false);
  let result = false;
  calleesOf(statementsOf(ref), (callee) => {
    result ||= flushesTlb(callee);
  });
  flushers.set(ref, result);
  return result;
}

const known = new Map<FunctionRef, boolean>();

/** Whether a function, or one that it calls, stores to the settled state. */
export function changesSettled(ref: FunctionRef): boolean {
  const cached = known.get(ref);
  if (cached !== undefined) return cached;
  // A recursive call adds nothing new.
  known.set(ref, false);
  const statements = statementsOf(ref);
  let result = stores(statements);
  calleesOf(statements, (callee) => {
    result ||= changesSettled(callee);
  });
  known.set(ref, result);
  return result;
}

/** What a function does; nothing for one that the host supplies. */
export function statementsOf(ref: FunctionRef): readonly Statement[] {
  if (ref.statements) return ref.statements;
  if (!ref.build) return [];
  const l = new Lift({ cpu: newLocal('i32', 0), access: calls, mayFault: true });
  ref.build(
    l,
    ref.params.map((type, n) => new Value({ kind: 'local', type, local: newLocal(type, n + 1) })),
  );
  return l.statements;
}

function stores(statements: readonly Statement[]): boolean {
  return statements.some((s) => {
    switch (s.kind) {
      case 'store': {
        const at = stateOffset(s.address, s.offset);
        // An index that is not known stays within its array, which `offset` names.
        return at !== undefined && reachesSettled(s.op, at === 'unknown' ? s.offset : at);
      }
      case 'if':
        return stores(s.whenTrue) || stores(s.otherwise);
      case 'switch':
        return s.cases.some(stores) || stores(s.otherwise);
      case 'loop':
      case 'block':
        return stores(s.body);
      default:
        return false;
    }
  });
}
