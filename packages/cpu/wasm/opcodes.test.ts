// Every entry of the opcode table is the instruction of its name: V8 accepts it with its signature, and computes what
// the specification says for that name.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CodeWriter, ModuleBuilder } from './module.ts';
import { type ValueType, type WasmOp, wasmOp, wasmOpNames } from './opcodes.ts';
import { BYTES, evaluate, floatBytes, integerBytes } from './testing/semantics.ts';

/** Arguments lie at 0, 16, 32; the result at 64; what memory instructions work on at 128. */
const RESULT = 64;
const OPERAND = 128;
const LOAD: Readonly<Record<ValueType, string>> = {
  i32: 'i32.load',
  i64: 'i64.load',
  f32: 'f32.load',
  f64: 'f64.load',
  v128: 'v128.load',
};
const store = (type: ValueType) => wasmOp(`${type}.store`);

/** Code that loads the arguments, runs one instruction and stores its result. */
function body(op: WasmOp, lanes: readonly number[]): Uint8Array {
  const code = new CodeWriter();
  if (op.result) code.i32(RESULT);
  op.params.forEach((type, n) => {
    code.i32(16 * n).memoryOp(wasmOp(LOAD[type]), 0);
  });
  if (op.immediate === 'memory') code.memoryOp(op, 0);
  else if (op.immediate === 'memory+lane') code.memoryOp(op, 0, lanes[0]!);
  else {
    code.op(op);
    if (op.immediate === 'zero') code.byte(0);
    if (op.immediate === 'lane' || op.immediate === 'shuffle') code.bytes(lanes);
  }
  if (op.result) code.memoryOp(store(op.result), 0);
  return code.take();
}

function moduleOf(
  entries: readonly { name: string; lanes: readonly number[] }[],
): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder({ memoryPagesMax: 1 });
  for (const { name, lanes } of entries) {
    const index = module.declareFunction(name, { params: [], results: [] });
    module.defineFunction(index, { locals: [], code: body(wasmOp(name), lanes), hints: [] });
    module.exportFunction(name, index);
  }
  return module.encode();
}

const SHUFFLE = [0, 31, 2, 17, 4, 5, 30, 7, 8, 25, 10, 11, 12, 29, 14, 16];
function lanesFor(op: WasmOp): readonly number[] {
  if (op.immediate === 'shuffle') return SHUFFLE;
  return op.immediate === 'lane' || op.immediate === 'memory+lane' ? [1] : [];
}

/** What relaxed instructions compute is the host's choice: host-features.test.ts. */
const NAMES = wasmOpNames().filter((name) => !name.includes('.relaxed_'));
const ENTRIES = NAMES.map((name) => ({ name, lanes: lanesFor(wasmOp(name)) }));

test('V8 accepts every instruction with the signature of the table', () => {
  for (const entry of ENTRIES) assert.ok(WebAssembly.validate(moduleOf([entry])), entry.name);
});

test("a signature that is not the instruction's is refused: the check above means something", () => {
  const code = new CodeWriter()
    .i32(RESULT)
    .i32(0)
    .memoryOp(wasmOp('i32.load'), 0)
    .op(wasmOp('i64.eqz'))
    .memoryOp(store('i32'), 0);
  const module = new ModuleBuilder({ memoryPagesMax: 1 });
  module.defineFunction(module.declareFunction('f', { params: [], results: [] }), {
    locals: [],
    code: code.take(),
    hints: [],
  });
  assert.ok(!WebAssembly.validate(module.encode()));
});

// --- what they compute ---

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const bytes = new Uint8Array(memory.buffer);
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleOf(ENTRIES)), {
  env: { memory },
});
const run = (name: string) => (exports[name] as () => void)();

let state = 0x0bad_cafe;
function random(below: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}
const EDGES = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0x7fff_ffffn,
  0x8000_0000n,
  -1n,
  -2n,
  1n << 63n,
  (1n << 63n) - 1n,
];
function randomInteger(size: number): Uint8Array {
  if (random(3) === 0) return integerBytes(EDGES[random(EDGES.length)]!, size);
  return Uint8Array.from({ length: size }, () => random(256));
}
/** No NaNs: which of two comes out is open. */
function randomFloat(size: number): Uint8Array {
  const scale = [1, 0.5, 1000, 1e-3, 100_000][random(5)]!;
  return floatBytes(Math.round((random(2000) - 1000) * 4) * 0.25 * scale, size);
}
/** The lanes of a vector are numbers of the kind that the instruction works on. */
function argument(type: ValueType, name: string): Uint8Array {
  if (type === 'f32' || type === 'f64') return randomFloat(BYTES[type]);
  if (type !== 'v128') return randomInteger(BYTES[type]);
  const from =
    /f(32|64)x/.exec(name.split('.')[1]!)?.[1] ??
    (/_i\d\dx/.test(name) ? undefined : /^f(32|64)x/.exec(name)?.[1]);
  const size = from ? Number(from) / 8 : 4;
  return joinLanes(16 / size, () => (from ? randomFloat(size) : randomInteger(size)));
}
const joinLanes = (count: number, make: () => Uint8Array) =>
  Uint8Array.from(Array.from({ length: count }, () => [...make()]).flat());

/** Cases in which the instruction traps: division by zero and overflow, conversions out of range. */
function traps(name: string, args: readonly Uint8Array[]): boolean {
  if (/\.(div|rem)_/.test(name))
    return (
      args[1]!.every((b) => b === 0) || (name.endsWith('_s') && args[1]!.every((b) => b === 0xff))
    );
  if (!/\.trunc_f/.test(name)) return false;
  const view = new DataView(args[0]!.buffer);
  const value = args[0]!.length === 4 ? view.getFloat32(0, true) : view.getFloat64(0, true);
  return Math.abs(value) > 2 ** 31 - 1 || (name.endsWith('_u') && value <= -1);
}

const ROUNDS = 60;
const COMPUTING = ENTRIES.filter(({ name }) => {
  const { immediate, result } = wasmOp(name);
  return result !== undefined && immediate !== 'memory' && immediate !== 'memory+lane';
});

test('instructions that compute give what their names say', () => {
  for (const { name, lanes } of COMPUTING) {
    const op = wasmOp(name);
    for (let round = 0; round < ROUNDS; round++) {
      const args = op.params.map((type) => argument(type, name));
      if (traps(name, args)) continue;
      for (const [n, arg] of args.entries()) bytes.set(arg, 16 * n);
      run(name);
      const want = evaluate(name, args, lanes);
      assert.equal(want?.length, BYTES[op.result!], `${name} has no meaning in the test`);
      assert.deepEqual(
        bytes.slice(RESULT, RESULT + want.length),
        want,
        `${name} of ${args.map((a) => Buffer.from(a).toString('hex')).join(', ')}`,
      );
    }
  }
  assert.ok(COMPUTING.length > 300);
});

/** Runs a memory instruction on bytes 1, 2, 3 … with bit 7 set in some; gives memory behind and the result. */
function access(
  name: string,
  args: readonly Uint8Array[],
): { memory: Uint8Array; result: Uint8Array } {
  const op = wasmOp(name);
  bytes.fill(0xcc, RESULT, RESULT + 16);
  for (let n = 0; n < 32; n++) bytes[OPERAND + n] = (n * 37 + 0x81) & 0xff;
  bytes.set(integerBytes(BigInt(OPERAND), 4), 0);
  for (const [n, arg] of args.entries()) bytes.set(arg, 16 * (n + 1));
  run(name);
  return {
    memory: bytes.slice(OPERAND, OPERAND + 32),
    result: bytes.slice(RESULT, RESULT + (op.result ? BYTES[op.result] : 0)),
  };
}
const PATTERN = Uint8Array.from({ length: 32 }, (_, n) => (n * 37 + 0x81) & 0xff);

test('plain loads extend as their names say', () => {
  for (const name of NAMES.filter((n) => /^[if]\d\d\.(atomic\.)?load/.test(n))) {
    const { result } = access(name, []);
    const width = Number(/load(\d+)/.exec(name)?.[1] ?? name.slice(1, 3)) / 8;
    const fill = name.endsWith('_s') && PATTERN[width - 1]! & 0x80 ? 0xff : 0;
    const want = Uint8Array.from({ length: result.length }, (_, n) =>
      n < width ? PATTERN[n]! : fill,
    );
    assert.deepEqual(result, want, name);
  }
});

test('plain and atomic stores write as many bytes as their names say', () => {
  for (const name of NAMES.filter((n) => /^([if]\d\d|v128)\.(atomic\.)?store\d*$/.test(n))) {
    const type = wasmOp(name).params[1]!;
    const value = Uint8Array.from({ length: BYTES[type] }, (_, n) => 0x10 + n);
    const width = Number(/store(\d+)/.exec(name)?.[1] ?? BYTES[type] * 8) / 8;
    const want = Uint8Array.from(PATTERN, (byte, n) => (n < width ? 0x10 + n : byte));
    assert.deepEqual(access(name, [value]).memory, want, name);
  }
});

test('vector loads, lanes and splats', () => {
  const hex = (v: Uint8Array) => Buffer.from(v).toString('hex');
  const wanted: Readonly<Record<string, (p: Uint8Array) => number[]>> = {
    'v128.load': (p) => [...p.subarray(0, 16)],
    'v128.load32_zero': (p) => [...p.subarray(0, 4), ...new Array<number>(12).fill(0)],
    'v128.load64_zero': (p) => [...p.subarray(0, 8), ...new Array<number>(8).fill(0)],
  };
  for (const name of NAMES.filter(
    (n) => /^v128\.load/.test(n) && wasmOp(n).immediate === 'memory',
  )) {
    const splat = /load(\d+)_splat/.exec(name);
    const extend = /load(\d+)x\d+_([su])/.exec(name);
    let want = wanted[name]?.(PATTERN);
    if (splat) want = Array.from({ length: 16 }, (_, n) => PATTERN[n % (Number(splat[1]) / 8)]!);
    if (extend) {
      const size = Number(extend[1]) / 8;
      want = Array.from({ length: 16 }, (_, n) => {
        const lane = Math.floor(n / (2 * size)) * size;
        const isUpper = n % (2 * size) >= size;
        const sign = extend[2] === 's' && PATTERN[lane + size - 1]! & 0x80 ? 0xff : 0;
        return isUpper ? sign : PATTERN[lane + (n % (2 * size))]!;
      });
    }
    assert.ok(want, name);
    assert.equal(hex(access(name, []).result), hex(Uint8Array.from(want)), name);
  }
  const vector = Uint8Array.from({ length: 16 }, (_, n) => n);
  for (const name of NAMES.filter((n) => wasmOp(n).immediate === 'memory+lane')) {
    const size = Number(/(\d+)_lane/.exec(name)![1]) / 8;
    const got = access(name, [vector]);
    // Lane 1.
    const loaded = vector.map((byte, n) => (n >= size && n < 2 * size ? PATTERN[n - size]! : byte));
    const stored = PATTERN.map((byte, n) => (n < size ? n + size : byte));
    if (name.includes('load')) assert.equal(hex(got.result), hex(loaded), name);
    else assert.equal(hex(got.memory), hex(stored), name);
  }
});

test('atomic read-modify-writes give the old value and leave the new one', () => {
  for (const name of NAMES.filter((n) => n.includes('.rmw'))) {
    const op = wasmOp(name);
    const width = Number(/rmw(\d+)/.exec(name)?.[1] ?? name.slice(1, 3)) / 8;
    const old = PATTERN.slice(0, width);
    const size = BYTES[op.result!];
    const value = integerBytes(0x1122_3344_5566_7788n, size);
    const args = name.includes('cmpxchg')
      ? [integerBytes(BigInt(`0x${Buffer.from(old).reverse().toString('hex')}`), size), value]
      : [value];
    const { memory: after, result } = access(name, args);
    assert.deepEqual(result.slice(0, width), old, name);
    assert.ok(
      result.slice(width).every((byte) => byte === 0),
      name,
    );
    const operation = /\.(\w+?)(_u)?$/.exec(name)![1]!;
    const cut = value.slice(0, width);
    const want = /xchg/.test(operation)
      ? cut
      : evaluate(`i${width * 8}.${operation}`, [old, cut], [])!;
    assert.deepEqual(after.slice(0, width), want, name);
    assert.deepEqual(after.slice(width), PATTERN.slice(width), name);
  }
  // A comparison that fails changes nothing.
  const failed = access('i32.atomic.rmw.cmpxchg', [integerBytes(5n, 4), integerBytes(6n, 4)]);
  assert.deepEqual(failed.memory, PATTERN);
});

test('memory.copy and memory.fill', () => {
  bytes.set(PATTERN, OPERAND);
  bytes.set(integerBytes(BigInt(OPERAND + 4), 4), 0);
  bytes.set(integerBytes(BigInt(OPERAND), 4), 16);
  bytes.set(integerBytes(8n, 4), 32);
  run('memory.copy');
  assert.deepEqual(bytes.slice(OPERAND + 4, OPERAND + 12), PATTERN.slice(0, 8));
  bytes.set(integerBytes(0x5an, 4), 16);
  run('memory.fill');
  assert.deepEqual(
    [...bytes.slice(OPERAND + 3, OPERAND + 13)],
    [PATTERN[3], ...new Array<number>(8).fill(0x5a), PATTERN[12]],
  );
});

test('an instruction that is not in the table is a bug, said by name', () => {
  assert.throws(() => wasmOp('i32.launch'), /i32\.launch/);
});
