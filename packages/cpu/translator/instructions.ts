// One instruction of a region: decoded from guest memory and lifted with its operands known, once for all instructions of
// its shape (templates.ts). The record that the operand code reads is a scratch one, whose contents become constants; only
// what a handler must run needs a record that stays.

import { type Decoded as DecodedInstruction, decodeInstruction, RIP } from '../decode/decoder.ts';
import { RecordWriter, usesMemory } from '../decode/record-writer.ts';
import type { HandlerNumbers, TableForm } from '../interpreter/handlers.ts';
import { bindOperand, recordContext, type Variant } from '../interpreter/operands.ts';
import { R, RECORD_BYTES } from '../interpreter/record.ts';
import type { InstructionContext } from '../isa/instruction.ts';
import type { Hole, Local, Node, Statement } from '../lift/ir.ts';
import { Lift, newLocal } from '../lift/lift.ts';
import { someStatement } from '../lift/traverse.ts';
import { constant, Value } from '../lift/value.ts';
import { checkUnit } from '../microcode/unit-check.ts';
import { codeBitsOf, isFlatMode } from '../state/decoding-mode.ts';
import { S, SEGMENT } from '../state/layout.ts';
import { PAGE, PAGE_BYTES, PAGE_FLAGS_BASE, RAM_BASE } from '../state/memory-map.ts';
import { type TranslatedAccess, translatedAccess } from './access.ts';
import { callsWithRegisters, touchesFlags } from './effects.ts';
import {
  MOVED_BYTES,
  type MovedNumber,
  type MovedNumbers,
  movedNumberOf,
} from './moved-numbers.ts';
import { inPage, linkOf, offsetOf, type ReadAt } from './places.ts';
import { RegisterLocals } from './registers.ts';
import { straighten } from './straighten.ts';
import {
  EXACT,
  fill,
  type Particulars,
  type TemplateBody,
  Templates,
  templateBody,
} from './templates.ts';

/** Where the scratch record seems to be: an address that nothing else has. */
const SCRATCH = 0;

export interface RegionInstruction {
  readonly name: string;
  /** Place in the region (places.ts), and length in bytes. */
  readonly offset: number;
  readonly length: number;
  /** What it means with registers in locals; undefined: its handler runs it, with registers in the vCPU's state. */
  readonly statements: readonly Statement[] | undefined;
  /** Number of the handler and the record that it wants, where it runs the instruction. */
  readonly handler: number;
  readonly record: Uint8Array | undefined;
  /** Neither it nor what it calls has to do with arithmetic flags. */
  readonly keepsFlags: boolean;
  /** A memory operand goes through SS: an address that is not canonical raises #SS. */
  readonly isStack: boolean;
  /** It changes modes or mappings: nothing behind it belongs to the region. */
  readonly ends: boolean;
  /** Interrupts are held back until the instruction behind it has run. */
  readonly shadows: boolean;
  /** Places of the region that it may jump to. */
  readonly targets: readonly number[];
  /** A call to a place of the region: the return will come here. */
  readonly returnsTo: number | undefined;
  /** A return. */
  readonly returns: boolean;
  /** Where code outside will mostly come back to: behind a call, and behind what changes modes or mappings. */
  readonly continuesAt: number | undefined;
  readonly fallsThrough: boolean;
}

/** Locals that the region gives to its instructions. */
export interface RegionLocals {
  readonly registers: RegisterLocals;
  /** S.ripBase, constant while the region runs. */
  readonly ripBase: Local;
  /** Where the region is left for. */
  readonly next: Local;
  readonly access: TranslatedAccess;
  /** Numbers that the code is not to contain; undefined: it may contain all. */
  readonly moved?: MovedNumbers | undefined;
}

/** What instructions of one shape have in common. */
interface Template
  extends Pick<
    RegionInstruction,
    'name' | 'handler' | 'returns' | 'keepsFlags' | 'isStack' | 'ends' | 'shadows' | 'fallsThrough'
  > {
  /** Undefined: its handler runs it. */
  readonly body: TemplateBody | undefined;
  /** EXACT fields that it has looked at. */
  readonly exact: number;
  /** Registers that it uses, by number. */
  readonly registers: readonly { readonly number: number; readonly isWritten: boolean }[];
  /** It jumps within the page. */
  readonly jumps: boolean;
  readonly isCall: boolean;
}

/** An instruction at its place. */
interface Decoded {
  readonly table: TableForm;
  readonly variant: Required<Variant>;
  readonly place: number;
  /** As in ReadAt. */
  readonly distance: number;
  /** The place that it jumps to. */
  readonly target: number | undefined;
  readonly length: number;
  /** Its displacement and its immediate, if they may move. */
  readonly movedDisplacement: MovedNumber | undefined;
  readonly movedImmediate: MovedNumber | undefined;
}

type Movable = Pick<Decoded, 'movedDisplacement' | 'movedImmediate'>;
const NOT_MOVABLE: Movable = { movedDisplacement: undefined, movedImmediate: undefined };

/** The lift of one instruction: which of its numbers it has looked at, and where it jumps to. */
class Uses {
  readonly immediate = { isRead: false };
  readonly displacement = { isRead: false };
  /** Its offset in the page, and that of the instruction behind it. */
  readonly place = { isRead: false };
  readonly targets: number[] = [];
}

/** Reads instructions of a machine's memory. */
export class InstructionSource {
  readonly #bytes: Uint8Array;
  readonly #handlers: HandlerNumbers;
  readonly #scratch = new DataView(new ArrayBuffer(RECORD_BYTES));
  readonly #words = new Int32Array(this.#scratch.buffer);
  readonly #writer: RecordWriter;
  readonly #templates = new Templates<Template>();
  readonly #lacking: ReadonlySet<string> | undefined;
  /** Told of each lift, for the page that shows them (tools/translation-stages.ts). */
  onLift: ((statements: readonly Statement[]) => void) | undefined;

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
    at: ReadAt = inPage(offset),
  ): RegionInstruction | undefined {
    if (!this.isRam(page)) return undefined;
    const codeBits = codeBitsOf(mode);
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
    const variant = {
      bits: d.bits,
      isMemory,
      mode64: codeBits === 64,
      flat: isFlatMode(mode),
      locked: d.lock,
    };
    const { table } = d.candidate;
    if (!table.instruction.supported) return undefined;
    const { length } = d;
    const { place, distance, placeOf } = at;
    this.#writer.write(SCRATCH, d, distance, codeBits === 64);
    const isJump = table.form.operands.some(({ source }) => source === 'relative');
    const target = isJump
      ? placeOf(distance + length + this.#scratch.getInt32(R.immediate, true))
      : undefined;
    const movable = this.#movable(d, at, codeBits);
    const decoded = { table, variant, place, distance, target, length, ...movable };
    return this.#instruction(this.#template(decoded, locals.access.isShared), decoded, locals);
  }

  /** Numbers that may move. In 64-bit code an immediate that is an address has 64 bits. */
  #movable(d: DecodedInstruction, { place, distance }: ReadAt, codeBits: number): Movable {
    if (codeBits === 16) return NOT_MOVABLE;
    const kind = codeBits === 64 ? 'address64' : 'address32';
    const field = (at: number) => this.#scratch.getBigInt64(at, true);
    const displacement = { kind, at: place + d.displacementAt } as const;
    const relative = { kind: 'relative', at: displacement.at, plus: distance + d.length } as const;
    return {
      movedDisplacement:
        d.displacementAt < 0
          ? undefined
          : movedNumberOf(field(R.displacement), d.base === RIP ? relative : displacement),
      movedImmediate:
        d.bits < codeBits
          ? undefined
          : movedNumberOf(field(R.immediate), { kind, at: place + d.immediateAt }),
    };
  }

  /** The record of an instruction that can be decoded, for its handler; valid until the next call. */
  record(page: number, offset: number, mode: number): Uint8Array | undefined {
    if (!this.isRam(page)) return undefined;
    const codeBits = codeBitsOf(mode);
    const start = RAM_BASE + page;
    const d = decodeInstruction(
      this.#bytes,
      start + offset,
      start + PAGE_BYTES,
      codeBits,
      this.#lacking,
    );
    if (d.status !== 'ok' || !d.candidate) return undefined;
    this.#writer.write(SCRATCH, d, offset, codeBits === 64);
    return new Uint8Array(this.#scratch.buffer);
  }

  /** Whether a page may have code that is translated. */
  isRam(page: number): boolean {
    return (
      RAM_BASE + page + PAGE_BYTES <= this.#bytes.length &&
      !(this.#bytes[PAGE_FLAGS_BASE + page / PAGE_BYTES]! & PAGE.notRam)
    );
  }

  #template(decoded: Decoded, isShared: boolean): Template {
    const shape = {
      table: decoded.table,
      record: this.#words,
      rest: this.#rest(decoded, isShared),
    };
    const known = this.#templates.find(shape);
    if (known) return known;
    const uses = new Uses();
    const template = this.#lift(decoded, uses, isShared);
    if (!uses.place.isRead) this.#templates.add(shape, template.exact, template);
    return template;
  }
  /** What else than its record and its form an instruction's meaning depends on; lifting drops zeros. */
  #rest({ variant, distance, length, target }: Decoded, isShared: boolean): number {
    const [displacement, immediate] = [R.displacement / 4, R.immediate / 4];
    const words = this.#words;
    const isZero = !(words[displacement]! | words[displacement + 1]!);
    return (
      (variant.bits >> 3) |
      (variant.isMemory ? 0x10 : 0) |
      (variant.mode64 ? 0x20 : 0) |
      (variant.locked ? 0x40 : 0) |
      (isShared ? 0x80 : 0) |
      (isZero ? 0x100 : 0) |
      (words[immediate] ? 0 : 0x200) |
      (words[immediate + 1] ? 0 : 0x400) |
      (distance ? 0 : 0x800) |
      (target === undefined ? 0 : 0x1000) |
      (variant.flat ? 0x2000 : 0) |
      (distance + length ? 0 : 0x4000)
    );
  }

  #lift(decoded: Decoded, uses: Uses, isShared: boolean): Template {
    const { table, variant } = decoded;
    const [ripBase, next, tlb] = [newLocal('i64'), newLocal('i64'), newLocal('i32')];
    const registers = new RegisterLocals(ripBase);
    const locals = { registers, ripBase, next, access: translatedAccess(tlb, isShared) };
    const l = new Lift({
      cpu: newLocal('i32', 0),
      access: locals.access,
      mayFault: true,
      known: (load, address) => this.#known(load, address, uses),
    });
    const record = constant('i32', SCRATCH);
    const immediate = this.#scratch.getInt32(R.immediate, true);
    const context = knownContext(l, record, { ...decoded, locals, uses, immediate });
    const { form, instruction } = table;
    const operands = form.operands.map((spec, n) =>
      bindOperand(l, record, spec, variant, instruction.access?.[n] ?? (n === 0 ? 'rw' : 'r')),
    );
    const { unit } = form;
    if (unit) checkUnit(l, unit);
    instruction.lift(l, context, ...operands);
    this.onLift?.(l.statements);
    const statements = form.ends ? undefined : rewritten(l.statements, registers, next);
    const shadows = form.shadows === true;
    const ends = form.ends === true && !shadows;
    return {
      name: instruction.name,
      returns: instruction.name === 'RET',
      handler: this.#scratch.getUint16(R.handler, true),
      keepsFlags: !touchesFlags(l.statements),
      isStack: this.#scratch.getUint8(R.segment) === SEGMENT.ss,
      ends,
      shadows,
      fallsThrough: !ends && l.statements.at(-1)?.kind !== 'exit',
      body: statements && templateBody(statements, [ripBase, next, tlb]),
      exact:
        (uses.immediate.isRead ? EXACT.immediate : 0) |
        (uses.displacement.isRead ? EXACT.displacement : 0),
      registers: registers.all.map(({ number, isWritten }) => ({ number, isWritten })),
      jumps: uses.targets.length > 0,
      isCall: instruction.name === 'CALL',
    };
  }

  /** A template's instruction at its place in a region. */
  #instruction(
    template: Template,
    decoded: Decoded,
    { registers, ripBase, next, access, moved }: RegionLocals,
  ): RegionInstruction | undefined {
    const { place: offset, distance, target, length } = decoded;
    const { body, ends } = template;
    // Inlined handlers have no function that could be called: the region ends in front of such an instruction.
    // A handler asks its record where it is, which has its offset in the region's page.
    const isLinked = linkOf(offset) !== 0;
    if (!body && (isLinked || !this.#handlers.isFunction(template.handler))) return undefined;
    const end = offset + length;
    const behind = offsetOf(end) < PAGE_BYTES ? end : undefined;
    // What a handler runs has its numbers in its record.
    if (!body)
      moved?.numbers.push(...[decoded.movedDisplacement, decoded.movedImmediate].filter(isDefined));
    for (const { number, isWritten } of body ? template.registers : [])
      registers.use(number, isWritten);
    return {
      name: template.name,
      offset,
      length,
      statements:
        body &&
        fill(body, {
          given: [ripBase, next, access.tlb],
          immediate: this.#scratch.getBigInt64(R.immediate, true),
          displacement: this.#scratch.getBigInt64(R.displacement, true),
          offset: distance,
          next: distance + length,
          target: target ?? 0,
          ...(moved && { read: movedFields(moved, template, decoded) }),
        }),
      handler: template.handler,
      record: body ? undefined : new Uint8Array(this.#scratch.buffer.slice(0)),
      keepsFlags: template.keepsFlags,
      isStack: template.isStack,
      ends,
      shadows: template.shadows,
      targets: body && template.jumps ? [target!] : [],
      returnsTo: template.isCall && template.jumps ? behind : undefined,
      continuesAt: !isLinked && (template.isCall || ends) ? behind : undefined,
      returns: template.returns,
      fallsThrough: template.fallsThrough,
    };
  }

  /** What a load from the scratch record gives. */
  #known(load: string, address: number, uses: Uses): Value | undefined {
    if (address >= RECORD_BYTES) return undefined;
    const value = loadFrom(this.#scratch, load, address);
    if (value === undefined) return undefined;
    const { node } = constant(load.startsWith('i64') ? 'i64' : 'i32', value);
    const field =
      address >= R.immediate ? 'immediate' : address >= R.displacement ? 'displacement' : undefined;
    const isPart = load.endsWith('_u');
    if (field && !isPart && address === R[field]) return hole(node, field, uses[field]);
    if (field) uses[field].isRead = true;
    if (address === R.length || address === R.pageOffset) uses.place.isRead = true;
    return new Value(node);
  }
}

/** Fields that move are read from memory, unless their meaning was looked at. */
function movedFields(
  moved: MovedNumbers,
  { exact }: Template,
  decoded: Decoded,
): Particulars['read'] {
  const from = (number: MovedNumber | undefined, bit: number) => {
    if (number === undefined || exact & bit) return undefined;
    return { base: moved.base, offset: (moved.numbers.push(number) - 1) * MOVED_BYTES };
  };
  const displacement = from(decoded.movedDisplacement, EXACT.displacement);
  const immediate = from(decoded.movedImmediate, EXACT.immediate);
  return { ...(displacement && { displacement }), ...(immediate && { immediate }) };
}

function isDefined(number: MovedNumber | undefined): number is MovedNumber {
  return number !== undefined;
}

function hole(node: Node, field: Hole['field'], use: Hole['use']): Value {
  return new Value(node.kind === 'const' ? { ...node, hole: { field, use } } : node);
}

function loadFrom(view: DataView, load: string, address: number): number | bigint | undefined {
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

/** The statements with registers in locals, if nothing in them needs registers in the vCPU's state. */
function rewritten(
  statements: readonly Statement[],
  registers: RegisterLocals,
  next: Local,
): readonly Statement[] | undefined {
  const needsLoop = (s: Statement) =>
    s.kind === 'return' || (s.kind === 'exit' && (s.exit === 'again' || s.exit === 'retry'));
  if (callsWithRegisters(statements) || someStatement(statements, needsLoop)) return undefined;
  const inLocals = registers.rewrite(statements);
  return inLocals && straighten(inLocals, [next]);
}

/** As the interpreter's surroundings, but rip is known up to the page, and a jump within the page says where to. */
function knownContext(
  l: Lift,
  record: Value,
  o: Decoded & { locals: RegionLocals; uses: Uses; immediate: number },
): InstructionContext {
  const { variant, distance, length, uses } = o;
  const end = distance + length;
  const { ripBase, next } = o.locals;
  const general = recordContext(l, record, variant, () => {});
  const checked = new Set<Node>();
  const here = (at: number, field: 'offset' | 'next') =>
    new Value({ kind: 'local', type: 'i64', local: ripBase }).add(
      hole(constant('i64', at).node, field, uses.place),
    );
  return {
    ...general,
    bits: variant.bits,
    mode64: variant.mode64,
    flat: variant.flat,
    rip: () => here(distance, 'offset'),
    nextRip: () => here(end, 'next'),
    // Code this near to where addresses end to be canonical is not translated (interpreter/block-cache.ts).
    mayFaultAt(target) {
      if (variant.flat) return false;
      if (pageOffset(l, target.node, ripBase) !== undefined && variant.mode64) return false;
      const isChecked = checked.has(target.node);
      checked.add(target.node);
      return !isChecked;
    },
    jump(target) {
      const known = pageOffset(l, target.node, ripBase);
      if (known === end + o.immediate && o.target !== undefined) {
        uses.targets.push(o.target);
        l.exit('jump', o.target);
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
  if (node.kind === 'local') {
    if (node.local === ripBase) return 0;
    return node === target ? undefined : pageOffset(l, node, ripBase);
  }
  if (node.kind !== 'op') return undefined;
  const [a, b] = node.args;
  if (b?.kind !== 'const') return undefined;
  const base = pageOffset(l, a!, ripBase);
  if (base === undefined) return undefined;
  const value = BigInt(b.value as number | bigint);
  if (node.op === 'i64.add') return base + Number(BigInt.asIntN(64, value));
  return node.op === 'i64.and' && value === 0xffff_ffffn ? base : undefined;
}
