// Blocks of real machine code as a region has them: operands known, registers in locals, memory accesses inline.

import { engine } from '../../../interpreter/engine.ts';
import { calleesOf } from '../../../lift/assemble.ts';
import type { Statement } from '../../../lift/ir.ts';
import { newLocal } from '../../../lift/lift.ts';
import { DECODING_MODE } from '../../../state/decoding-mode.ts';
import { S } from '../../../state/layout.ts';
import { planMemory, RAM_BASE } from '../../../state/memory-map.ts';
import { translatedAccess } from '../../access.ts';
import { InstructionSource } from '../../instructions.ts';
import { probeTranslated, readTranslated, writeTranslated } from '../../memory.ts';
import { RegisterLocals } from '../../registers.ts';
import type { PassContext } from '../pass.ts';
import type { Place } from './run.ts';

const RAM_BYTES = 4 << 20;
const CODE_ADDRESS = 0x10_0000;
const PAGE_BYTES = 4096;
/** What straight code may call: it leaves registers alone. */
const SLOW_PATHS: ReadonlySet<unknown> = new Set([
  readTranslated,
  writeTranslated,
  probeTranslated,
]);

export interface Block {
  readonly statements: readonly Statement[];
  readonly context: PassContext;
  /** Locals that are set when it begins. */
  readonly places: readonly Place[];
  /** Guest instructions. */
  readonly count: number;
  /** Offset in the page where it begins. */
  readonly offset: number;
}

/**
 * Blocks that begin at these offsets of a page of code, 64-bit code unless told otherwise; they go on up to a jump or an
 * instruction that calls.
 */
export function blocksOf(
  page: Uint8Array,
  entries: readonly number[],
  options: { readonly lengthMax?: number; readonly mode?: number } = {},
): Block[] {
  const { lengthMax = 100, mode = DECODING_MODE.code64 } = options;
  const layout = planMemory({ ramBytes: RAM_BYTES, vcpuCount: 1 });
  const memory = new WebAssembly.Memory({
    initial: layout.wasmPages,
    maximum: 65536,
    shared: true,
  });
  const { handlers } = engine();
  const source = new InstructionSource(memory, handlers, undefined);
  new Uint8Array(memory.buffer).set(page.subarray(0, PAGE_BYTES), RAM_BASE + CODE_ADDRESS);
  const seen = new Set<number>();
  const result: Block[] = [];
  for (const entry of entries) {
    const block = blockAt(entry, { source, seen, lengthMax, mode });
    if (block.count) result.push(block);
  }
  return result;
}

interface Surroundings {
  readonly source: InstructionSource;
  /** Offsets that are in a block already. */
  readonly seen: Set<number>;
  readonly lengthMax: number;
  readonly mode: number;
}

function blockAt(entry: number, o: Surroundings): Block {
  const [ripBase, next, tlb] = [newLocal('i64'), newLocal('i64'), newLocal('i32')];
  const registers = new RegisterLocals(ripBase);
  const locals = { registers, ripBase, next, access: translatedAccess(tlb) };
  const statements: Statement[] = [];
  let count = 0;
  for (let offset = entry; count < o.lengthMax && !o.seen.has(offset); count++) {
    o.seen.add(offset);
    const instruction = o.source.read(CODE_ADDRESS, offset, o.mode, locals);
    if (!instruction?.statements || !isStraight(instruction.statements)) break;
    statements.push(...instruction.statements);
    offset += instruction.length;
    if (instruction.statements.at(-1)?.kind !== 'exit') continue;
    count++;
    break;
  }
  const mutable = new Set([...registers.all.map((r) => r.local), next]);
  const places: Place[] = [
    ...registers.all,
    { local: ripBase, type: 'i64', offset: S.ripBase.offset },
    { local: next, type: 'i64', offset: S.rip.offset },
    { local: tlb, type: 'i32', offset: S.tlb.offset },
  ];
  return {
    statements,
    context: { mutable },
    places,
    count,
    offset: entry,
  };
}

function isStraight(statements: readonly Statement[]): boolean {
  let result = true;
  calleesOf(statements, (callee) => {
    result &&= SLOW_PATHS.has(callee);
  });
  return result;
}
