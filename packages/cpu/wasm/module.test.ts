// The binary encoder: LEB128 at its edges, sections, branch hints, names, tables.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteWriter, CodeWriter, ModuleBuilder } from './module.ts';
import { wasmOp } from './opcodes.ts';

/** Decodes LEB128 after the specification §5.2.2; the whole array must be used. */
function leb(bytes: Uint8Array, signed: boolean): bigint {
  let value = 0n;
  bytes.forEach((byte, n) => {
    assert.equal(byte >= 0x80, n < bytes.length - 1, 'the last byte alone has its top bit clear');
    value |= BigInt(byte & 0x7f) << BigInt(7 * n);
  });
  return signed ? BigInt.asIntN(7 * bytes.length, value) : value;
}

/** Every power of two, its neighbours and their negatives. */
function edges(bits: number): bigint[] {
  const powers = Array.from({ length: bits + 1 }, (_, n) => 1n << BigInt(n));
  return powers.flatMap((p) => [p, p - 1n, p + 1n, -p, 1n - p, -p - 1n]);
}

test('unsigned LEB128 of 32 bits', () => {
  for (const value of edges(32).filter((v) => v >= 0n && v < 1n << 32n)) {
    const bytes = new ByteWriter().u32(Number(value)).take();
    assert.equal(leb(bytes, false), value);
    assert.equal(bytes.length, Math.max(1, Math.ceil(value.toString(2).length / 7)));
  }
  assert.deepEqual([...new ByteWriter().u32(-1).take()], [0xff, 0xff, 0xff, 0xff, 0x0f]);
});

test('signed LEB128 of 32 and 64 bits, as short as can be', () => {
  const size = (v: bigint) =>
    Math.ceil(((v < 0n ? ~v : v).toString(2).length + (v === 0n || v === -1n ? 0 : 1)) / 7);
  for (const value of edges(31).filter((v) => v === BigInt.asIntN(32, v))) {
    const bytes = new ByteWriter().s32(Number(value)).take();
    assert.equal(leb(bytes, true), value);
    assert.equal(bytes.length, size(value), `${value}`);
  }
  for (const value of edges(63).filter((v) => v === BigInt.asIntN(64, v))) {
    const bytes = new ByteWriter().s64(value).take();
    assert.equal(leb(bytes, true), value);
    assert.equal(bytes.length, size(value), `${value}`);
  }
  assert.deepEqual(new ByteWriter().s64((1n << 64n) - 1n).take(), new ByteWriter().s64(-1n).take());
});

test('floats, names and a buffer that grows', () => {
  assert.deepEqual(
    [...new ByteWriter().f32(1).f64(-2).take()],
    [0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0],
  );
  assert.deepEqual([...new ByteWriter().name('é€').take()], [5, 0xc3, 0xa9, 0xe2, 0x82, 0xac]);
  const writer = new ByteWriter();
  for (let n = 0; n < 1000; n++) writer.byte(n & 0xff).f64(n);
  const bytes = writer.take();
  assert.equal(bytes.length, 9000);
  assert.equal(new DataView(bytes.buffer).getFloat64(9 * 999 + 1, true), 999);
  assert.deepEqual(
    [...new ByteWriter().bytes(new Uint8Array(600).fill(7)).take()],
    new Array(600).fill(7),
  );
});

/** A module with an import, a table, several types and hints, all of which run. */
function everything(): ModuleBuilder {
  const module = new ModuleBuilder({ memoryPagesMax: 16 });
  const host = module.importFunction('host', 'twice', { params: ['i32'], results: ['i32'] });
  const type = module.typeIndex({ params: ['i32'], results: ['i32'] });
  const abs = module.declareFunction('abs', { params: ['i32'], results: ['i32'] });
  const pick = module.declareFunction('pick', { params: ['i32', 'i32'], results: ['i32'] });
  const negative = new CodeWriter().localGet(0).i32(0).op(wasmOp('i32.lt_s'));
  const at = negative.length;
  negative.if().i32(0).localGet(0).op(wasmOp('i32.sub')).return().else().end().localGet(0);
  module.defineFunction(abs, {
    locals: ['i64', 'i32', 'i32', 'v128', 'f32'],
    code: negative.take(),
    hints: [{ offset: at, likely: false }],
  });
  const call = new CodeWriter().localGet(0).call(host).localGet(1).callIndirect(type);
  module.defineFunction(pick, { locals: [], code: call.take(), hints: [] });
  module.exportFunction('abs', abs);
  module.exportFunction('pick', pick);
  module.setTable([host, abs]);
  return module;
}

test('a module with imports, table, locals of all types and branch hints runs', () => {
  const bytes = everything().encode();
  assert.ok(WebAssembly.validate(bytes));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 16, shared: true });
  const host = { twice: (n: number) => n * 2 };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
    env: { memory },
    host,
  });
  const { abs, pick } = exports as Record<string, (...args: number[]) => number>;
  assert.deepEqual([abs!(-5), abs!(5), pick!(-3, 0), pick!(-3, 1)], [5, 5, -12, 6]);
  assert.throws(() => pick!(1, 2), WebAssembly.RuntimeError);
});

/** Custom sections of that name. Our own declarations of the JavaScript API leave them out. */
function custom(module: WebAssembly.Module, name: string): number[][] {
  const { customSections } = WebAssembly.Module as unknown as {
    customSections(module: WebAssembly.Module, name: string): ArrayBuffer[];
  };
  return customSections(module, name).map((section) => [...new Uint8Array(section)]);
}

test('branch hints name the function, and the offset of the branch from the start of the locals', () => {
  const module = new WebAssembly.Module(everything().encode());
  const [hints] = custom(module, 'metadata.code.branch_hint');
  // Function 1 (behind the import), one hint; the locals take 1 + 5 groups of 2 bytes less one merged pair.
  const localsBytes = 1 + 2 * 4;
  const at = new CodeWriter().localGet(0).i32(0).op(wasmOp('i32.lt_s')).length;
  assert.deepEqual(hints, [1, 1, 1, localsBytes + at, 1, 0]);
  const code = everything().encode();
  assert.ok(code.includes(0x04), 'the hint is at an if');
});

test('functions keep their names in the name section', () => {
  const [names] = custom(new WebAssembly.Module(everything().encode()), 'name');
  const text = Buffer.from(names!).toString('latin1');
  assert.ok(text.includes('abs') && text.includes('pick'));
});

test('equal types are written once', () => {
  const module = new ModuleBuilder({ memoryPagesMax: 1 });
  const first = module.typeIndex({ params: ['i32', 'v128'], results: ['i64'] });
  assert.notEqual(module.typeIndex({ params: ['v128', 'i32'], results: ['i64'] }), first);
  assert.notEqual(module.typeIndex({ params: ['i32', 'v128'], results: [] }), first);
  assert.equal(module.typeIndex({ params: ['i32', 'v128'], results: ['i64'] }), first);
});

test('a br_table with many targets, and blocks as deep as it needs', () => {
  const count = 3000;
  const module = new ModuleBuilder({ memoryPagesMax: 1 });
  const f = module.declareFunction('f', { params: ['i32'], results: ['i32'] });
  const code = new CodeWriter();
  for (let n = 0; n <= count; n++) code.block();
  code.localGet(0).brTable(
    Array.from({ length: count }, (_, n) => n),
    count,
  );
  for (let n = 0; n < count; n++)
    code
      .end()
      .i32(n * 3)
      .return();
  code.end().i32(-1);
  module.defineFunction(f, { locals: [], code: code.take(), hints: [] });
  module.exportFunction('f', f);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), {
    env: { memory },
  });
  const run = exports.f as (n: number) => number;
  assert.deepEqual([0, 1, 127, 128, 2999, 3000, -1].map(run), [0, 3, 381, 384, 8997, -1, -1]);
});

test('an if that only branches becomes a branch with a condition, with one block less to leave', () => {
  const write = (build: (code: CodeWriter) => void) => {
    const code = new CodeWriter();
    build(code);
    return [...code.take()];
  };
  const BR_IF = [0x0d, 1];
  assert.deepEqual(
    write((code) => code.if().br(2).end()),
    BR_IF,
  );
  // A branch behind it, in what encloses both, stays; so does one to the end of its own if, and one that is not alone.
  assert.deepEqual(
    write((code) => code.block().if().br(2).end().br(3).end()),
    [0x02, 0x40, ...BR_IF, 0x0c, 3, 0x0b],
  );
  assert.deepEqual(
    write((code) => code.if().br(0).end()),
    [0x04, 0x40, 0x0c, 0, 0x0b],
  );
  assert.deepEqual(
    write((code) => code.if().i32(1).drop().br(2).end()),
    [0x04, 0x40, 0x41, 1, 0x1a, 0x0c, 2, 0x0b],
  );
});
