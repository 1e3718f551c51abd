// Integer operations of WebAssembly on constants. Operands come with sign; results are cut to their type by the caller.

type Unary = (a: bigint, bits: number) => bigint;
type Binary = (a: bigint, b: bigint, bits: number) => bigint;

const unsigned = (value: bigint, bits: number) => BigInt.asUintN(bits, value);
const truth = (value: boolean) => (value ? 1n : 0n);
const count = (b: bigint, bits: number) => b & BigInt(bits - 1);

export const UNARY: Readonly<Record<string, Unary>> = {
  eqz: (a) => truth(a === 0n),
  wrap_i64: (a) => a,
  extend_i32_u: (a) => unsigned(a, 32),
  extend_i32_s: (a) => a,
  extend8_s: (a) => BigInt.asIntN(8, a),
  extend16_s: (a) => BigInt.asIntN(16, a),
  extend32_s: (a) => BigInt.asIntN(32, a),
};

export const BINARY: Readonly<Record<string, Binary>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b, bits) => a << count(b, bits),
  shr_s: (a, b, bits) => a >> count(b, bits),
  shr_u: (a, b, bits) => unsigned(a, bits) >> count(b, bits),
  rotl: (a, b, bits) => rotate(a, count(b, bits), bits),
  rotr: (a, b, bits) => rotate(a, BigInt(bits) - count(b, bits), bits),
  eq: (a, b) => truth(a === b),
  ne: (a, b) => truth(a !== b),
  lt_s: (a, b) => truth(a < b),
  le_s: (a, b) => truth(a <= b),
  gt_s: (a, b) => truth(a > b),
  ge_s: (a, b) => truth(a >= b),
  lt_u: (a, b, bits) => truth(unsigned(a, bits) < unsigned(b, bits)),
  le_u: (a, b, bits) => truth(unsigned(a, bits) <= unsigned(b, bits)),
  gt_u: (a, b, bits) => truth(unsigned(a, bits) > unsigned(b, bits)),
  ge_u: (a, b, bits) => truth(unsigned(a, bits) >= unsigned(b, bits)),
};

function rotate(a: bigint, by: bigint, bits: number): bigint {
  const value = unsigned(a, bits);
  return (value << by) | (value >> (BigInt(bits) - by));
}
