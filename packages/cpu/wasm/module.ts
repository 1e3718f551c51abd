// The WebAssembly encoder: the only place that knows sections and binary layout. Core specification 2.0 §5.

import type { ValueType, WasmOp } from './opcodes.ts';

const TYPE_BYTE: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

const TEXT = new TextEncoder();
/** Longer lists are copied by the host. */
const SHORT = 24;

/** Growing byte buffer with the encodings of the binary format. */
export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  length = 0;

  /** `capacity`: bytes that are expected. */
  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
  }
  byte(value: number): this {
    if (this.length === this.#bytes.length) this.#reserve(1);
    this.#bytes[this.length++] = value;
    return this;
  }
  bytes(values: ArrayLike<number>): this {
    const count = values.length;
    this.#reserve(count);
    const bytes = this.#bytes;
    if (count > SHORT) bytes.set(values, this.length);
    else for (let n = 0; n < count; n++) bytes[this.length + n] = values[n]!;
    this.length += count;
    return this;
  }
  /** Unsigned LEB128, up to 32 bits. */
  u32(value: number): this {
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    return this.byte(rest);
  }
  /** Signed LEB128 of a 32-bit value. */
  s32(value: number): this {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && !(low & 0x40)) || (rest === -1 && low & 0x40)) return this.byte(low);
      this.byte(low | 0x80);
    }
  }
  /** Signed LEB128 of a 64-bit value (taken modulo 2^64). */
  s64(value: bigint): this {
    let rest = BigInt.asIntN(64, value);
    if (rest >= -0x8000_0000n && rest <= 0x7fff_ffffn) return this.s32(Number(rest));
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      if ((rest === 0n && !(low & 0x40)) || (rest === -1n && low & 0x40)) return this.byte(low);
      this.byte(low | 0x80);
    }
  }
  f32(value: number): this {
    const bits = new DataView(new ArrayBuffer(4));
    bits.setFloat32(0, value, true);
    return this.bytes(new Uint8Array(bits.buffer));
  }
  f64(value: number): this {
    const bits = new DataView(new ArrayBuffer(8));
    bits.setFloat64(0, value, true);
    return this.bytes(new Uint8Array(bits.buffer));
  }
  name(text: string): this {
    const bytes = TEXT.encode(text);
    return this.u32(bytes.length).bytes(bytes);
  }
  /** Writes over a byte that was written. */
  patch(offset: number, value: number): void {
    this.#bytes[offset] = value;
  }
  /** Adds what another one has written. */
  append(other: ByteWriter): this {
    return this.bytes(other.#bytes.subarray(0, other.length));
  }
  /** A copy of what was written. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length);
  }
}

/** Of an if without a result. */
const IF_BYTES = 2;

/** Writes instructions of one function body. Labels are counted by whoever nests blocks. */
export class CodeWriter extends ByteWriter {
  op(op: WasmOp): this {
    return this.bytes(op.code);
  }
  memoryOp(op: WasmOp, offset: number, lane?: number): this {
    this.bytes(op.code).u32(op.align).u32(offset);
    return lane === undefined ? this : this.byte(lane);
  }
  /** The last local.set: where it begins and ends, and the local. */
  #setStart = -1;
  #setEnd = -1;
  #setIndex = -1;

  /** A get right behind the set of the same local makes that a tee. */
  localGet(index: number): this {
    if (this.#setEnd !== this.length || this.#setIndex !== index) return this.byte(0x20).u32(index);
    this.patch(this.#setStart, 0x22);
    this.#setEnd = -1;
    return this;
  }
  globalGet(index: number): this {
    return this.byte(0x23).u32(index);
  }
  localSet(index: number): this {
    this.#setStart = this.length;
    this.byte(0x21).u32(index);
    this.#setEnd = this.length;
    this.#setIndex = index;
    return this;
  }
  i32(value: number): this {
    return this.byte(0x41).s32(value);
  }
  i64(value: bigint): this {
    return this.byte(0x42).s64(value);
  }
  block(): this {
    return this.byte(0x02).byte(0x40);
  }
  loop(): this {
    return this.byte(0x03).byte(0x40);
  }
  /** An if without a result; `result` gives it one. */
  if(result?: ValueType): this {
    this.#if = this.length;
    return this.byte(0x04).byte(result ? TYPE_BYTE[result] : 0x40);
  }
  /** Where the last if and the last branch begin, and the branch's depth. */
  #if = -1;
  #branch = { start: -1, end: -1, depth: 0 };
  else(): this {
    return this.byte(0x05);
  }
  /** An if that is a branch and nothing else becomes a branch with a condition. */
  end(): this {
    const { start, end, depth } = this.#branch;
    if (end !== this.length || start !== this.#if + IF_BYTES || depth === 0) return this.byte(0x0b);
    this.length = this.#if;
    this.#if = -IF_BYTES - 1;
    return this.brIf(depth - 1);
  }
  br(depth: number): this {
    const start = this.length;
    this.byte(0x0c).u32(depth);
    this.#branch = { start, end: this.length, depth };
    return this;
  }
  brIf(depth: number): this {
    return this.byte(0x0d).u32(depth);
  }
  brTable(depths: readonly number[], otherwise: number): this {
    this.byte(0x0e).u32(depths.length);
    for (const depth of depths) this.u32(depth);
    return this.u32(otherwise);
  }
  return(): this {
    return this.byte(0x0f);
  }
  call(index: number): this {
    return this.byte(0x10).u32(index);
  }
  callIndirect(typeIndex: number): this {
    return this.byte(0x11).u32(typeIndex).byte(0);
  }
  returnCallIndirect(typeIndex: number): this {
    return this.byte(0x13).u32(typeIndex).byte(0);
  }
  drop(): this {
    return this.byte(0x1a);
  }
  select(): this {
    return this.byte(0x1b);
  }
  unreachable(): this {
    return this.byte(0x00);
  }
}

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** A function body: the types of its locals beyond the parameters, its code without the final `end`, its branch hints. */
export interface FunctionBody {
  readonly locals: readonly ValueType[];
  readonly code: Uint8Array;
  /** Byte offsets in `code` of `if`/`br_if` instructions with what is likely: metadata.code.branch_hint. */
  readonly hints: readonly { offset: number; likely: boolean }[];
}

/** Collects the parts of a module and encodes it. Memory 0 is always imported as env.memory, shared. */
export class ModuleBuilder {
  readonly #types: FunctionType[] = [];
  readonly #imports: { module: string; name: string; type: number }[] = [];
  readonly #functions: { type: number; name: string; body?: FunctionBody }[] = [];
  readonly #exports: { name: string; functionIndex: number }[] = [];
  readonly #memoryPagesMax: number;
  #elements: readonly number[] = [];
  #importsTable = false;
  readonly #globals: string[] = [];
  #sealedImports = false;

  constructor(options: { memoryPagesMax: number }) {
    this.#memoryPagesMax = options.memoryPagesMax;
  }

  typeIndex(type: FunctionType): number {
    const same = (a: readonly string[], b: readonly string[]) =>
      a.length === b.length && a.every((x, i) => x === b[i]);
    const found = this.#types.findIndex(
      (t) => same(t.params, type.params) && same(t.results, type.results),
    );
    return found >= 0 ? found : this.#types.push(type) - 1;
  }
  /** Imports come before functions: their indices are shared. */
  importFunction(module: string, name: string, type: FunctionType): number {
    if (this.#sealedImports) throw new Error('imports must be declared before functions');
    return this.#imports.push({ module, name, type: this.typeIndex(type) }) - 1;
  }
  declareFunction(name: string, type: FunctionType): number {
    this.#sealedImports = true;
    return this.#imports.length + this.#functions.push({ type: this.typeIndex(type), name }) - 1;
  }
  defineFunction(index: number, body: FunctionBody): void {
    this.#functions[index - this.#imports.length]!.body = body;
  }
  exportFunction(name: string, functionIndex: number): void {
    this.#exports.push({ name, functionIndex });
  }
  /** Table 0 of the module, filled from entry 0 and exported as "table". */
  setTable(functionIndices: readonly number[]): void {
    this.#elements = functionIndices;
  }

  /** Uses the table of another instance, imported as env.table. */
  importTable(): void {
    this.#importsTable = true;
  }

  /** A constant i32 of the instance, imported from env; gives its index. */
  importConstant(name: string): number {
    return this.#globals.push(name) - 1;
  }

  encode(): Uint8Array<ArrayBuffer> {
    const code = this.#functions.reduce((sum, f) => sum + f.body!.code.length + 64, 0);
    const out = new ByteWriter(code + 1024).bytes([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const section = (id: number, write: (w: ByteWriter) => void, capacity = 1024) => {
      const content = new ByteWriter(capacity);
      write(content);
      out.byte(id).u32(content.length).append(content);
    };
    section(1, (w) => this.#writeTypes(w));
    section(2, (w) => {
      w.u32(this.#imports.length + this.#globals.length + (this.#importsTable ? 2 : 1));
      w.name('env').name('memory').byte(2).byte(3).u32(1).u32(this.#memoryPagesMax);
      for (const f of this.#imports) w.name(f.module).name(f.name).byte(0).u32(f.type);
      if (this.#importsTable) w.name('env').name('table').byte(1).byte(0x70).byte(0).u32(0);
      for (const name of this.#globals) w.name('env').name(name).byte(3).byte(0x7f).byte(0);
    });
    section(3, (w) => {
      w.u32(this.#functions.length);
      for (const f of this.#functions) w.u32(f.type);
    });
    if (this.#elements.length)
      section(4, (w) => w.u32(1).byte(0x70).byte(0).u32(this.#elements.length));
    section(7, (w) => {
      w.u32(this.#exports.length + (this.#elements.length ? 1 : 0));
      for (const e of this.#exports) w.name(e.name).byte(0).u32(e.functionIndex);
      if (this.#elements.length) w.name('table').byte(1).u32(0);
    });
    if (this.#elements.length) {
      section(9, (w) => {
        w.u32(1).byte(0).byte(0x41).byte(0).byte(0x0b).u32(this.#elements.length);
        for (const index of this.#elements) w.u32(index);
      });
    }
    const prefixes = this.#functions.map((f) => localsPrefix(f.body!.locals));
    section(0, (w) => this.#writeHints(w, prefixes));
    section(
      10,
      (w) => {
        w.u32(this.#functions.length);
        this.#functions.forEach((f, i) => {
          const prefix = prefixes[i]!;
          w.u32(prefix.length + f.body!.code.length + 1)
            .bytes(prefix)
            .bytes(f.body!.code)
            .byte(0x0b);
        });
      },
      code,
    );
    section(0, (w) => this.#writeNames(w));
    return out.take();
  }

  #writeTypes(w: ByteWriter): void {
    w.u32(this.#types.length);
    for (const type of this.#types) {
      w.byte(0x60).u32(type.params.length);
      for (const t of type.params) w.byte(TYPE_BYTE[t]);
      w.u32(type.results.length);
      for (const t of type.results) w.byte(TYPE_BYTE[t]);
    }
  }

  /** Branch hinting proposal: offsets count from the start of the function's locals. */
  #writeHints(w: ByteWriter, prefixes: readonly Uint8Array[]): void {
    w.name('metadata.code.branch_hint');
    const hinted = this.#functions
      .map((f, i) => ({ f, i }))
      .filter(({ f }) => f.body!.hints.length);
    w.u32(hinted.length);
    for (const { f, i } of hinted) {
      w.u32(this.#imports.length + i).u32(f.body!.hints.length);
      for (const hint of f.body!.hints)
        w.u32(prefixes[i]!.length + hint.offset)
          .u32(1)
          .byte(hint.likely ? 1 : 0);
    }
  }

  #writeNames(w: ByteWriter): void {
    const names = new ByteWriter().u32(this.#functions.length);
    this.#functions.forEach((f, i) => {
      names.u32(this.#imports.length + i).name(f.name);
    });
    w.name('name').byte(1).u32(names.length).append(names);
  }
}

function localsPrefix(locals: readonly ValueType[]): Uint8Array {
  const groups: { type: ValueType; count: number }[] = [];
  for (const type of locals) {
    const last = groups.at(-1);
    if (last?.type === type) last.count++;
    else groups.push({ type, count: 1 });
  }
  const w = new ByteWriter().u32(groups.length);
  for (const group of groups) w.u32(group.count).byte(TYPE_BYTE[group.type]);
  return w.take();
}
