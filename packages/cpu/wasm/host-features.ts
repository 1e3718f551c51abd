// What the host's WebAssembly can do beyond what every host can.

import { CodeWriter, ModuleBuilder } from './module.ts';
import { wasmOp } from './opcodes.ts';

/**
 * Whether relaxed_madd is there and rounds once, which is a fused multiply-add as exact as any other: where it is not,
 * there are slower ways to the same result. Relaxed SIMD proposal, "relaxed fused multiply-add".
 */
export function hasFusedMultiplyAdd(): boolean {
  const module = new ModuleBuilder({ memoryPagesMax: 1 });
  const index = module.declareFunction('test', { params: ['f64', 'f64', 'f64'], results: ['f64'] });
  const code = new CodeWriter();
  for (const n of [0, 1, 2]) code.localGet(n).op(wasmOp('f64x2.splat'));
  code.op(wasmOp('f64x2.relaxed_madd')).op(wasmOp('f64x2.extract_lane')).bytes([0]);
  module.defineFunction(index, { locals: [], code: code.take(), hints: [] });
  module.exportFunction('test', index);
  const bytes = module.encode();
  if (!WebAssembly.validate(bytes)) return false;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  const madd = exports.test as (a: number, b: number, c: number) => number;
  // (1 + e)^2 - (1 + 2e) is e^2; a rounded product has lost it.
  const e = 2 ** -52;
  return madd(1 + e, 1 + e, -(1 + 2 * e)) === e * e;
}
