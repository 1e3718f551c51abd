// Runs the statements of a block before and after passes: registers come from the vCPU's state and go back there, an exit
// notes which one it was, and what is called is the host, which writes down its arguments.

import { type FunctionRef, imported } from '../../../lift/function.ts';
import type { Label, Local, Node, Statement } from '../../../lift/ir.ts';
import { newLocal } from '../../../lift/lift.ts';
import { CPU_BASE, compile } from '../../../lift/testing/run.ts';
import { mapOperands } from '../../../lift/traverse.ts';
import { TLB_INDEX } from '../../../microcode/tlb.ts';
import { S, TLB_ENTRY } from '../../../state/layout.ts';
import type { ValueType } from '../../../wasm/opcodes.ts';
import { probeTranslated, readTranslated, writeTranslated } from '../../memory.ts';
import { mapExpressions } from '../pass.ts';

const EXIT = S.scratch.offset;

/** Memory that a run may use besides the state. */
export const TLB_ADDRESS = 0x2_0000;
export const GUEST_ADDRESS = 0x3_0000;
const MEMORY_END = 0x4_0000;

/** A local of the region, and where in the vCPU's state it comes from and goes to. */
export interface Place {
  readonly local: Local;
  readonly type: ValueType;
  readonly offset: number;
}

export interface Runnable {
  readonly name: string;
  readonly statements: readonly Statement[];
  readonly places: readonly Place[];
}

/** What a run left behind; the memory is the one that the next run uses. */
export interface Outcome {
  readonly memory: Uint8Array;
  readonly calls: readonly string[];
}

/** Compiles all into one module; gives what running one of them does to a memory. */
export function compileBlocks(
  blocks: readonly Runnable[],
): (name: string, memory: Uint8Array) => Outcome {
  const stubs = new Map<FunctionRef, FunctionRef>();
  const calls: string[] = [];
  const host: Record<string, (...args: never[]) => unknown> = {};
  const stub = (ref: FunctionRef): FunctionRef => {
    const known = stubs.get(ref);
    if (known) return known;
    const params = Object.fromEntries(ref.params.map((type, n) => [`p${n}`, type]));
    const made = imported(ref.name, params, ref.result);
    host[ref.name] = (_cpu: number, ...args: (number | bigint)[]) => {
      const known = TAGS.has(ref) && knownHost(module.view, TAGS.get(ref)!, args);
      if (known) return known;
      calls.push(`${ref.name}(${args.join()})`);
      const seed = args.reduce<bigint>((sum, arg) => sum * 31n + BigInt(arg), BigInt(calls.length));
      // Now and then it fails.
      if (ref.faults && seed % 7n === 0n)
        module.view.setUint32(CPU_BASE + S.fault.offset, 0x10e, true);
      return ref.result === 'i64'
        ? BigInt.asIntN(64, seed * 0x9e37_79b9_7f4a_7c15n)
        : Number(seed & 0xfffn);
    };
    stubs.set(ref, made);
    return made;
  };
  const module = compile(
    blocks.map((block) => wrapped(block, stub)),
    host,
  );
  return (name, memory) => {
    module.bytes.set(memory);
    calls.length = 0;
    module.run(name);
    return { memory: module.bytes.subarray(0, MEMORY_END), calls: [...calls] };
  };
}

/** The slow paths of accesses, and the tag that lets them be quick. */
const TAGS: ReadonlyMap<FunctionRef, number> = new Map([
  [readTranslated, TLB_ENTRY.readTag],
  [writeTranslated, TLB_ENTRY.writeTag],
  [probeTranslated, TLB_ENTRY.writeTag],
]);

/** As microcode does, whose caller may have looked at another page's entry: the host address if the TLB has it. */
function knownHost(view: DataView, tag: number, args: readonly (number | bigint)[]): number {
  const linear = BigInt.asUintN(64, args[0] as bigint);
  const bytes = 1 << ((args.at(-1) as number) & 7);
  const tlb = view.getUint32(CPU_BASE + S.tlb.offset, true);
  const entry = tlb + ((Number(linear & 0xffff_ffffn) >>> TLB_INDEX.shift) & TLB_INDEX.mask);
  const offset = BigInt.asUintN(64, linear - view.getBigUint64(entry + tag, true));
  if (offset > BigInt(4096 - bytes)) return 0;
  return (view.getInt32(entry + TLB_ENTRY.addend, true) + Number(linear & 0xffff_ffffn)) | 0;
}

function wrapped(block: Runnable, stub: (ref: FunctionRef) => FunctionRef): FunctionRef {
  const cpu: Node = { kind: 'local', type: 'i32', local: newLocal('i32', 0) };
  const label: Label = { id: 1_000_000 };
  const load = (local: Local, offset: number): Statement => {
    const value: Node = {
      kind: 'load',
      type: local.type,
      op: `${local.type}.load`,
      address: cpu,
      offset,
    };
    return { kind: 'set', local, value };
  };
  const note = (code: number): Statement => {
    const value: Node = { kind: 'const', type: 'i32', value: code };
    return { kind: 'store', op: 'i32.store', address: cpu, offset: EXIT, value };
  };
  const body = rewrite(block.statements, stub, (s) => [
    note(s.target === undefined ? s.exit.length : 1000 + s.target),
    { kind: 'branch', label },
  ]);
  const statements: Statement[] = [
    ...block.places.map((r) => load(r.local, r.offset)),
    { kind: 'block', label, body: [...body, note(1)] },
    ...block.places.map(({ local, type, offset }): Statement => {
      const value: Node = { kind: 'local', type, local };
      return { kind: 'store', op: `${type}.store`, address: cpu, offset, value };
    }),
  ];
  return {
    name: block.name,
    params: [],
    result: undefined,
    faults: false,
    build: () => undefined,
    statements,
  };
}

function rewrite(
  statements: readonly Statement[],
  stub: (ref: FunctionRef) => FunctionRef,
  exit: (s: Statement & { kind: 'exit' }) => readonly Statement[],
): readonly Statement[] {
  const node = (n: Node): Node => {
    const inner = mapOperands(n, node);
    return inner.kind === 'call' ? { ...inner, callee: stub(inner.callee) } : inner;
  };
  const list = (all: readonly Statement[]) => rewrite(all, stub, exit);
  return statements.flatMap((given): readonly Statement[] => {
    const s = mapExpressions(given, node);
    switch (s.kind) {
      case 'exit':
        return exit(s);
      case 'call':
        return [{ ...s, callee: stub(s.callee) }];
      case 'if':
        return [{ ...s, whenTrue: list(s.whenTrue), otherwise: list(s.otherwise) }];
      case 'switch':
        return [{ ...s, cases: s.cases.map(list), otherwise: list(s.otherwise) }];
      case 'loop':
      case 'block':
        return [{ ...s, body: list(s.body) }];
      default:
        return [s];
    }
  });
}
