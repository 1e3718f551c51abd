// One instruction of a region: decoded from guest memory and lifted with its operands known. The record that the operand
// code reads is a scratch one, whose contents become constants; only what a handler must run needs a record that stays.

import { decodeInstruction } from '../decode/decoder.ts';
import { RecordWriter, usesMemory } from '../decode/record-writer.ts';
import type { HandlerNumbers, TableForm } from '../interpreter/handlers.ts';
import { bindOperand, recordContext, type Variant } from '../interpreter/operands.ts';
import { R, RECORD_BYTES } from '../interpreter/record.ts';
import type { InstructionContext } from '../isa/instruction.ts';
import type { Local, Node, Statement } from '../lift/ir.ts';
import { type AccessStrategy, Lift, newLocal } from '../lift/lift.ts';
import { someStatement } from '../lift/traverse.ts';
import { constant, Value } from '../lift/value.ts';
import { checkUnit } from '../microcode/unit-check.ts';
import { S, SEGMENT } from '../state/layout.ts';
import { PAGE, PAGE_BYTES, PAGE_FLAGS_BASE, RAM_BASE } from '../state/memory-map.ts';
import { callsWithRegisters } from './effects.ts';
import type { RegisterLocals } from './registers.ts';

const CODE_BITS = [16, 32, 64] as const;
/** Where the scratch record seems to be: an address that nothing else has. */
const SCRATCH = 0;

export interface RegionInstruction {
  readonly name: string;
  /** Offset in the page, and length in bytes. */
  readonly offset: number;
  readonly length: number;
  /** What it means with registers in locals; undefined: its handler runs it, with registers in the vCPU's state. */
  readonly statements: readonly Statement[] | undefined;
  /** Number of the handler and the record that it wants, where it runs the instruction. */
  readonly handler: number;
  readonly record: Uint8Array | undefined;
  /** A memory operand goes through SS: an address that is not canonical raises #SS. */
  readonly isStack: boolean;
  /** It changes modes or mappings: nothing behind it belongs to the region. */
  readonly ends: boolean;
  /** Interrupts are held back until the instruction behind it has run. */
  readonly shadows: boolean;
  /** Page offsets that it may jump to. */
  readonly targets: readonly number[];
  /** A call within the page: the return will come here. */
  readonly returnsTo: number | undefined;
  /** A return. */
  readonly returns: boolean;
  readonly fallsThrough: boolean;
}

/** Locals that the region gives to its instructions. */
export interface RegionLocals {
  readonly registers: RegisterLocals;
  /** S.ripBase, constant while the region runs. */
  readonly ripBase: Local;
  /** Where the region is left for. */
  readonly next: Local;
  readonly access: AccessStrategy;
}

/** Reads instructions of a machine's memory. */
export class InstructionSource {
  readonly #bytes: Uint8Array;
  readonly #handlers: HandlerNumbers;
  readonly #scratch = new DataView(new ArrayBuffer(RECORD_BYTES));
  readonly #writer: RecordWriter;

  readonly #lacking: ReadonlySet<string> | undefined;

  /** `lacking`: instructions that the processor's model does not have. */
  constructor(
    memory: WebAssembly.Memory,
    handlers: HandlerNumbers,
    lacking: ReadonlySet<string> | undefined,
  ) {
    this.#lacking = lacking;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#handlers = handlers;
    this.#writer = new RecordWriter(this.#scratch.buffer, handlers);
  }

  /** The instruction at an offset of a page; undefined when it is invalid, crosses into the next page or cannot be translated. */
  read(
    page: number,
    offset: number,
    mode: number,
    locals: RegionLocals,
  ): RegionInstruction | undefined {
    if (!this.#isRam(page)) return undefined;
    const codeBits = CODE_BITS[mode & 3]!;
    const end = RAM_BASE + page + PAGE_BYTES;
    const d = decodeInstruction(
      this.#bytes,
      RAM_BASE + page + offset,
      end,
      codeBits,
      this.#lacking,
    );
    if (d.status !== 'ok' || !d.candidate) return undefined;
    const isMemory = usesMemory(d);
    const variant = { bits: d.bits, isMemory, mode64: codeBits === 64, locked: d.lock };
    const { table } = d.candidate;
    if (!table.instruction.supported) return undefined;
    const { length } = d;
    this.#writer.write(SCRATCH, d, offset, codeBits === 64);
    return this.#lift({ table, variant, offset, length, locals });
  }

  #isRam(page: number): boolean {
    return (
      RAM_BASE + page + PAGE_BYTES <= this.#bytes.length &&
      !(this.#bytes[PAGE_FLAGS_BASE + page / PAGE_BYTES]! & PAGE.notRam)
    );
  }

  #lift(o: {
    table: TableForm;
    variant: Variant;
    offset: number;
    length: number;
    locals: RegionLocals;
  }): RegionInstruction | undefined {
    const { table, variant, offset, length, locals } = o;
    const targets: number[] = [];
    const l = new Lift({
      cpu: newLocal('i32', 0),
      access: locals.access,
      mayFault: true,
      known: (load, address) => this.#known(load, address),
    });
    const record = constant('i32', SCRATCH);
    const context = knownContext(l, record, { ...o, targets });
    const { form, instruction } = table;
    const operands = form.operands.map((spec, n) =>
      bindOperand(l, record, spec, variant, instruction.access?.[n] ?? (n === 0 ? 'rw' : 'r')),
    );
    const { unit } = form;
    if (unit) checkUnit(l, unit);
    instruction.lift(l, context, ...operands);
    const shadows = form.shadows === true;
    const ends = form.ends === true && !shadows;
    const handler = this.#scratch.getUint16(R.handler, true);
    const isCall = instruction.name === 'CALL' && targets.length > 0;
    const common = {
      name: instruction.name,
      returnsTo: isCall && offset + length < PAGE_BYTES ? offset + length : undefined,
      returns: instruction.name === 'RET',
      offset,
      length,
      handler,
      isStack: this.#scratch.getUint8(R.segment) === SEGMENT.ss,
      ends,
      shadows,
      fallsThrough: !ends && l.statements.at(-1)?.kind !== 'exit',
    };
    const statements = form.ends ? undefined : this.#simple(l.statements, locals);
    if (statements) return { ...common, statements, targets, record: undefined };
    // Inlined handlers have no function that could be called: the region ends in front of such an instruction.
    if (!this.#handlers.isFunction(handler)) return undefined;
    const kept = new Uint8Array(this.#scratch.buffer.slice(0));
    return { ...common, statements: undefined, targets: [], record: kept };
  }

  /** The statements with registers in locals, if nothing in them needs registers in the vCPU's state. */
  #simple(
    statements: readonly Statement[],
    locals: RegionLocals,
  ): readonly Statement[] | undefined {
    const needsLoop = (s: Statement) =>
      s.kind === 'return' || (s.kind === 'exit' && (s.exit === 'again' || s.exit === 'retry'));
    if (callsWithRegisters(statements) || someStatement(statements, needsLoop)) return undefined;
    return locals.registers.rewrite(statements);
  }

  /** What a load from the scratch record gives. */
  #known(load: string, address: number): number | bigint | undefined {
    if (address >= RECORD_BYTES) return undefined;
    const view = this.#scratch;
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
}

/** As the interpreter's surroundings, but rip is known up to the page, and a jump within the page says where to. */
function knownContext(
  l: Lift,
  record: Value,
  o: {
    variant: Variant;
    offset: number;
    length: number;
    locals: RegionLocals;
    targets: number[];
  },
): InstructionContext {
  const { variant, offset, length, targets } = o;
  const { ripBase, next } = o.locals;
  const general = recordContext(l, record, variant, () => {});
  const checked = new Set<Node>();
  const inPage = (at: number) =>
    new Value({ kind: 'local', type: 'i64', local: ripBase }).add(BigInt(at));
  return {
    ...general,
    bits: variant.bits,
    mode64: variant.mode64,
    rip: () => inPage(offset),
    nextRip: () => inPage(offset + length),
    // Code this near to where addresses end to be canonical is not translated (interpreter/block-cache.ts).
    mayFaultAt(target) {
      if (pageOffset(l, target.node, ripBase) !== undefined && variant.mode64) return false;
      const isChecked = checked.has(target.node);
      checked.add(target.node);
      return !isChecked;
    },
    jump(target) {
      const known = pageOffset(l, target.node, ripBase);
      if (known !== undefined && known >= 0 && known < PAGE_BYTES) {
        targets.push(known);
        l.exit('jump', known);
        return;
      }
      const to = l.let(target);
      if (this.mayFaultAt(to)) {
        if (variant.mode64) l.raiseIf(to.shl(16).shrs(16).ne(to), 13, 0);
        else l.raiseIf(to.gtu(l.get(S.segLimit, SEGMENT.cs).u64()), 13, 0);
      }
      l.assign(next, to);
      l.exit('jump');
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
