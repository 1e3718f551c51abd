import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasFusedMultiplyAdd } from './host-features.ts';
import { CodeWriter, ModuleBuilder } from './module.ts';
import { wasmOp } from './opcodes.ts';

const NAMES = [
  'f32x4.relaxed_madd',
  'f32x4.relaxed_nmadd',
  'f64x2.relaxed_madd',
  'f64x2.relaxed_nmadd',
] as const;

test('relaxed multiply-add is a * b + c, or c - a * b, in every lane, on hosts that have it', (t) => {
  const module = new ModuleBuilder({ memoryPagesMax: 1 });
  for (const name of NAMES) {
    const code = new CodeWriter().i32(0);
    for (const at of [0, 16, 32]) code.i32(at).memoryOp(wasmOp('v128.load'), 0);
    code.op(wasmOp(name)).memoryOp(wasmOp('v128.store'), 48);
    const index = module.declareFunction(name, { params: [], results: [] });
    module.defineFunction(index, { locals: [], code: code.take(), hints: [] });
    module.exportFunction(name, index);
  }
  const bytes = module.encode();
  if (!WebAssembly.validate(bytes)) {
    assert.equal(hasFusedMultiplyAdd(), false);
    t.diagnostic('this host has no relaxed SIMD');
    return;
  }
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  for (const name of NAMES) {
    const lanes = name.startsWith('f32')
      ? new Float32Array(memory.buffer)
      : new Float64Array(memory.buffer);
    const count = 16 / lanes.BYTES_PER_ELEMENT;
    for (let n = 0; n < count; n++)
      [lanes[n], lanes[count + n], lanes[2 * count + n]] = [n + 2, 5, 100 * n];
    (exports[name] as () => void)();
    for (let n = 0; n < count; n++) {
      const product = (n + 2) * 5;
      assert.equal(lanes[3 * count + n], 100 * n + (name.includes('nmadd') ? -product : product));
    }
  }
});
