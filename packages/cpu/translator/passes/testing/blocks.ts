// Blocks of real machine code as a region has them: operands known, registers in locals, memory accesses inline.

import { BlockStore } from '../../../decode/block-store.ts';
import { inlined } from '../../../interpreter/access.ts';
import { engine } from '../../../interpreter/engine.ts';
import { bindOperand, recordContext } from '../../../interpreter/operands.ts';
import { calleesOf } from '../../../lift/assemble.ts';
import type { Local, Statement } from '../../../lift/ir.ts';
import { type KnownMemory, Lift, newLocal } from '../../../lift/lift.ts';
import { constant, Value } from '../../../lift/value.ts';
import { loadSlow, probeWrite, storeSlow } from '../../../microcode/memory.ts';
import { checkUnit } from '../../../microcode/unit-check.ts';
import { S } from '../../../state/layout.ts';
import { planMemory, RAM_BASE } from '../../../state/memory-map.ts';
import { type Promoted, RegisterLocals } from '../../registers.ts';
import type { PassContext } from '../pass.ts';

const RAM_BYTES = 4 << 20;
const CODE_ADDRESS = 0x10_0000;
const PAGE_BYTES = 4096;
const MODE_64 = 2;
/** What straight code may call: it leaves registers alone. */
const SLOW_PATHS: ReadonlySet<unknown> = new Set([loadSlow, storeSlow, probeWrite]);

export interface Block {
  readonly statements: readonly Statement[];
  readonly context: PassContext;
  readonly registers: readonly Promoted[];
  readonly ripBase: Local;
  /** Locals that are set when it begins. */
  readonly given: readonly Local[];
  /** Guest instructions. */
  readonly count: number;
  /** Offset in the page where it begins. */
  readonly offset: number;
}

/** Blocks that begin at these offsets of a page of 64-bit code; they go on up to a jump or an instruction that calls. */
export function blocksOf(page: Uint8Array, entries: readonly number[], lengthMax = 100): Block[] {
  const layout = planMemory({ ramBytes: RAM_BYTES, vcpuCount: 1 });
  const memory = new WebAssembly.Memory({
    initial: layout.wasmPages,
    maximum: 65536,
    shared: true,
  });
  const { handlers } = engine();
  const store = new BlockStore({ memory, handlers, ramBytes: RAM_BYTES, vcpuCount: 1 });
  new Uint8Array(memory.buffer).set(page.subarray(0, PAGE_BYTES), RAM_BASE + CODE_ADDRESS);
  const view = new DataView(memory.buffer);
  const known: KnownMemory = (load, address) => readKnown(view, load, address);
  const seen = new Set<number>();
  const result: Block[] = [];
  for (const entry of entries) {
    const block = blockAt(entry, { store, known, seen, lengthMax });
    if (block.count) result.push(block);
  }
  return result;
}

interface Surroundings {
  readonly store: BlockStore;
  readonly known: KnownMemory;
  /** Offsets that are in a block already. */
  readonly seen: Set<number>;
  readonly lengthMax: number;
}

function blockAt(entry: number, o: Surroundings): Block {
  const locals = new RegisterLocals();
  const ripBase = newLocal('i64');
  const statements: Statement[] = [];
  let count = 0;
  for (let offset = entry; count < o.lengthMax && !o.seen.has(offset); count++) {
    o.seen.add(offset);
    const decoded = o.store.decodeRecord(CODE_ADDRESS + offset, MODE_64);
    if (!decoded || decoded.ends) break;
    const lifted = liftAt(offset, decoded, ripBase, o.known);
    const rewritten = lifted && locals.rewrite(lifted);
    if (!rewritten) break;
    statements.push(...rewritten);
    offset += decoded.length;
    if (rewritten.at(-1)?.kind !== 'exit') continue;
    count++;
    break;
  }
  const mutable = new Set(locals.all.map((r) => r.local));
  const given = [...mutable, ripBase];
  return {
    statements,
    context: { mutable },
    registers: locals.all,
    ripBase,
    given,
    count,
    offset: entry,
  };
}

type Decoded = NonNullable<ReturnType<BlockStore['decodeRecord']>>;

function liftAt(
  offset: number,
  { record, table, variant, length }: Decoded,
  ripBase: Local,
  known: KnownMemory,
): readonly Statement[] | undefined {
  const l = new Lift({ cpu: newLocal('i32', 0), access: inlined, mayFault: true, known });
  const at = constant('i32', record);
  const rip = (there: number) =>
    new Value({ kind: 'local', type: 'i64', local: ripBase }).add(BigInt(there));
  const context = {
    ...recordContext(l, at, variant, () => {}),
    bits: variant.bits,
    mode64: variant.mode64,
    rip: () => rip(offset),
    nextRip: () => rip(offset + length),
    jump: (target: Value) => {
      l.set(S.rip, target);
      l.exit('jump');
    },
  };
  const { instruction, form } = table;
  const operands = form.operands.map((spec, n) =>
    bindOperand(l, at, spec, variant, instruction.access?.[n] ?? (n === 0 ? 'rw' : 'r')),
  );
  if (form.unit) checkUnit(l, form.unit);
  instruction.lift(l, context, ...operands);
  let isStraight = true;
  calleesOf(l.statements, (callee) => {
    isStraight &&= SLOW_PATHS.has(callee);
  });
  return isStraight ? l.statements : undefined;
}

/** Records do not change while the code lives. */
function readKnown(view: DataView, load: string, address: number): number | bigint | undefined {
  switch (load) {
    case 'i32.load8_u':
      return view.getUint8(address);
    case 'i32.load16_u':
      return view.getUint16(address, true);
    case 'i32.load':
      return view.getInt32(address, true);
    case 'i64.load8_u':
      return BigInt(view.getUint8(address));
    case 'i64.load16_u':
      return BigInt(view.getUint16(address, true));
    case 'i64.load':
      return view.getBigInt64(address, true);
    default:
      return undefined;
  }
}
