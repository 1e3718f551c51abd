// A region: the instructions of one page that are reached from its entry by known branches, lifted with their operands
// known, cut into blocks.

import type { BlockStore, DecodedRecord } from '../decode/block-store.ts';
import { inlined } from '../interpreter/access.ts';
import type { HandlerTable } from '../interpreter/handlers.ts';
import { bindOperand, recordContext, type Variant } from '../interpreter/operands.ts';
import type { InstructionContext } from '../isa/instruction.ts';
import type { Local, Node, Statement } from '../lift/ir.ts';
import { type KnownMemory, Lift, newLocal } from '../lift/lift.ts';
import { constant, Value } from '../lift/value.ts';
import { checkUnit } from '../microcode/unit-check.ts';
import { callsWithRegisters } from './effects.ts';
import { RegisterLocals } from './registers.ts';

/** Instructions of one region at most. */
export const REGION_LENGTH_MAX = 200;
const PAGE_BYTES = 4096;

export interface RegionInstruction {
  readonly decoded: DecodedRecord;
  /** Offset in the page. */
  readonly offset: number;
  /** What it means with registers in locals; undefined: its handler runs it, with registers in the vCPU's state. */
  readonly statements: readonly Statement[] | undefined;
  /** Page offsets that it may jump to. */
  readonly targets: readonly number[];
  readonly fallsThrough: boolean;
}

export interface RegionBlock {
  readonly offset: number;
  readonly instructions: readonly RegionInstruction[];
  /** Offsets of the blocks that may follow: targets in the region and what it falls into. */
  readonly successors: readonly number[];
}

export interface Region {
  readonly entry: number;
  readonly blocks: ReadonlyMap<number, RegionBlock>;
  readonly locals: RegisterLocals;
  /** S.ripBase, constant while the region runs. */
  readonly ripBase: Local;
  /** First and last byte offsets in the page, the latter exclusive. */
  readonly start: number;
  readonly end: number;
}

/** Finds and lifts the region at a guest-physical address; undefined when its first instruction cannot be translated. */
export function buildRegion(options: {
  readonly blocks: BlockStore;
  readonly handlers: HandlerTable;
  readonly gpa: number;
  readonly mode: number;
  readonly known: KnownMemory;
  readonly lengthMax: number;
}): Region | undefined {
  const page = options.gpa - (options.gpa % PAGE_BYTES);
  const entry = options.gpa % PAGE_BYTES;
  const locals = new RegisterLocals();
  const ripBase = newLocal('i64');
  const lifted = new Map<number, RegionInstruction | undefined>();
  const leaders = new Set([entry]);
  const work = [entry];
  while (work.length && lifted.size < options.lengthMax) {
    let offset = work.pop()!;
    while (offset < PAGE_BYTES && !lifted.has(offset) && lifted.size < options.lengthMax) {
      const decoded = options.blocks.decodeRecord(page + offset, options.mode);
      const instruction =
        decoded && liftInstruction({ ...options, decoded, offset, locals, ripBase });
      lifted.set(offset, instruction);
      if (!instruction) break;
      for (const target of instruction.targets) {
        if (leaders.has(target)) continue;
        leaders.add(target);
        work.push(target);
      }
      if (!instruction.fallsThrough) break;
      offset += decoded.length;
    }
  }
  if (!lifted.get(entry)) return undefined;
  return { entry, blocks: cutBlocks(lifted, leaders), locals, ripBase, ...extent(lifted) };
}

function extent(lifted: ReadonlyMap<number, RegionInstruction | undefined>): {
  start: number;
  end: number;
} {
  const all = [...lifted.values()].filter((i) => i !== undefined);
  return {
    start: Math.min(...all.map((i) => i.offset)),
    end: Math.max(...all.map((i) => i.offset + i.decoded.length)),
  };
}

function cutBlocks(
  lifted: ReadonlyMap<number, RegionInstruction | undefined>,
  leaders: ReadonlySet<number>,
): Map<number, RegionBlock> {
  const blocks = new Map<number, RegionBlock>();
  for (const leader of leaders) {
    const instructions: RegionInstruction[] = [];
    const successors = new Set<number>();
    for (let offset = leader; ; ) {
      const instruction = lifted.get(offset);
      if (!instruction) break;
      instructions.push(instruction);
      for (const target of instruction.targets) if (lifted.get(target)) successors.add(target);
      if (!instruction.fallsThrough) break;
      offset += instruction.decoded.length;
      if (leaders.has(offset)) {
        if (lifted.get(offset)) successors.add(offset);
        break;
      }
    }
    if (instructions.length)
      blocks.set(leader, { offset: leader, instructions, successors: [...successors] });
  }
  return blocks;
}

interface LiftOptions {
  readonly handlers: HandlerTable;
  readonly decoded: DecodedRecord;
  readonly offset: number;
  readonly locals: RegisterLocals;
  readonly ripBase: Local;
  readonly known: KnownMemory;
}

function liftInstruction(o: LiftOptions): RegionInstruction | undefined {
  const { decoded, offset } = o;
  const { table, variant } = decoded;
  const targets: number[] = [];
  const l = new Lift({ cpu: newLocal('i32', 0), access: inlined, mayFault: true, known: o.known });
  const record = constant('i32', decoded.record);
  const context = knownContext(l, record, variant, o, targets);
  const operands = table.form.operands.map((spec, n) =>
    bindOperand(l, record, spec, variant, table.instruction.access?.[n] ?? (n === 0 ? 'rw' : 'r')),
  );
  const { unit } = table.form;
  if (unit) checkUnit(l, unit);
  table.instruction.lift(l, context, ...operands);
  const { statements } = l;
  const last = statements.at(-1);
  const fallsThrough = !decoded.ends && last?.kind !== 'exit';
  const isSimple = !decoded.ends && !callsWithRegisters(statements) && !usesOtherExits(statements);
  const rewritten = isSimple ? o.locals.rewrite(statements) : undefined;
  if (rewritten) return { decoded, offset, statements: rewritten, targets, fallsThrough };
  // Its handler runs it; inlined handlers have no function, so the region ends in front of it.
  if (!o.handlers.isFunction(decoded.handler)) return undefined;
  return { decoded, offset, statements: undefined, targets: [], fallsThrough };
}

/** 'again' and 'retry' need the record's place in the loop. */
function usesOtherExits(statements: readonly Statement[]): boolean {
  return statements.some((s) => {
    if (s.kind === 'exit') return s.exit === 'again' || s.exit === 'retry';
    if (s.kind === 'if') return usesOtherExits(s.whenTrue) || usesOtherExits(s.otherwise);
    if (s.kind === 'loop' || s.kind === 'block') return usesOtherExits(s.body);
    if (s.kind === 'switch') return s.cases.some(usesOtherExits) || usesOtherExits(s.otherwise);
    return s.kind === 'return';
  });
}

/** As the interpreter's surroundings, but rip is known up to the page, and a jump within the page says where to. */
function knownContext(
  l: Lift,
  record: Value,
  variant: Variant,
  o: LiftOptions,
  targets: number[],
): InstructionContext {
  const general = recordContext(l, record, variant, () => {});
  const inPage = (offset: number) =>
    new Value({ kind: 'local', type: 'i64', local: o.ripBase }).add(BigInt(offset));
  return {
    ...general,
    bits: variant.bits,
    mode64: variant.mode64,
    rip: () => inPage(o.offset),
    nextRip: () => inPage(o.offset + o.decoded.length),
    jump(target) {
      const offset = pageOffset(l, target.node, o.ripBase);
      if (offset !== undefined && offset >= 0 && offset < PAGE_BYTES) {
        targets.push(offset);
        l.exit('jump', offset);
      } else general.jump(target);
    },
  };
}

/** The constant that a target adds to S.ripBase, if that is all it does. Wrapping to 32 bits cannot matter within a page. */
function pageOffset(l: Lift, target: Node, ripBase: Local): number | undefined {
  const node = l.definition(target);
  if (node.kind === 'local') return node.local === ripBase ? 0 : undefined;
  if (node.kind !== 'op') return undefined;
  const [a, b] = node.args;
  if (b?.kind !== 'const') return undefined;
  const base = pageOffset(l, a!, ripBase);
  if (base === undefined) return undefined;
  const value = BigInt(b.value as number | bigint);
  if (node.op === 'i64.add') return base + Number(BigInt.asIntN(64, value));
  return node.op === 'i64.and' && value === 0xffff_ffffn ? base : undefined;
}
