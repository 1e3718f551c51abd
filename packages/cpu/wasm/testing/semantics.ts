// What WebAssembly instructions compute, after the core specification §4.3, in terms of bytes: arguments and results are
// little-endian. Written from the specification alone, to catch an opcode that stands under another's name.

import type { ValueType } from '../opcodes.ts';

export const BYTES: Readonly<Record<ValueType, number>> = {
  i32: 4,
  i64: 8,
  f32: 4,
  f64: 8,
  v128: 16,
};

type Integer = (a: bigint, b: bigint, bits: number) => bigint;
type Float = (a: number, b: number) => number;

const u = (v: bigint, bits: number) => BigInt.asUintN(bits, v);
const s = (v: bigint, bits: number) => BigInt.asIntN(bits, v);
const flag = (holds: boolean) => (holds ? 1n : 0n);
const clamp = (v: bigint, low: bigint, high: bigint) => (v < low ? low : v > high ? high : v);
const saturateS = (v: bigint, bits: number) =>
  clamp(v, -(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n);
const saturateU = (v: bigint, bits: number) => clamp(v, 0n, (1n << BigInt(bits)) - 1n);
const count = (v: bigint, bits: number, from: 'high' | 'low') => {
  for (let n = 0; n < bits; n++) {
    if ((v >> BigInt(from === 'low' ? n : bits - 1 - n)) & 1n) return BigInt(n);
  }
  return BigInt(bits);
};
const shift = (b: bigint, bits: number) => u(b, 64) % BigInt(bits);

/** Arguments come unsigned. */
const INTEGER: Readonly<Record<string, Integer>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  div_s: (a, b, n) => s(a, n) / s(b, n),
  div_u: (a, b) => a / b,
  rem_s: (a, b, n) => s(a, n) % s(b, n),
  rem_u: (a, b) => a % b,
  shl: (a, b, n) => a << shift(b, n),
  shr_s: (a, b, n) => s(a, n) >> shift(b, n),
  shr_u: (a, b, n) => a >> shift(b, n),
  rotl: (a, b, n) => (a << shift(b, n)) | (a >> (BigInt(n) - shift(b, n))),
  rotr: (a, b, n) => (a >> shift(b, n)) | (a << (BigInt(n) - shift(b, n))),
  clz: (a, _, n) => count(a, n, 'high'),
  ctz: (a, _, n) => count(a, n, 'low'),
  popcnt: (a) => BigInt(a.toString(2).replaceAll('0', '').length),
  extend8_s: (a) => s(a, 8),
  extend16_s: (a) => s(a, 16),
  extend32_s: (a) => s(a, 32),
  abs: (a, _, n) => (s(a, n) < 0n ? -s(a, n) : a),
  neg: (a) => -a,
  not: (a) => ~a,
  andnot: (a, b) => a & ~b,
  min_s: (a, b, n) => (s(a, n) < s(b, n) ? a : b),
  min_u: (a, b) => [a, b].sort((x, y) => (x < y ? -1 : 1))[0]!,
  max_s: (a, b, n) => (s(a, n) > s(b, n) ? a : b),
  max_u: (a, b) => [a, b].sort((x, y) => (x < y ? -1 : 1))[1]!,
  avgr_u: (a, b) => (a + b + 1n) / 2n,
  add_sat_s: (a, b, n) => saturateS(s(a, n) + s(b, n), n),
  add_sat_u: (a, b, n) => saturateU(a + b, n),
  sub_sat_s: (a, b, n) => saturateS(s(a, n) - s(b, n), n),
  sub_sat_u: (a, b, n) => saturateU(a - b, n),
  q15mulr_sat_s: (a, b) => saturateS((s(a, 16) * s(b, 16) + 0x4000n) >> 15n, 16),
};
const COMPARE: Readonly<Record<string, (a: bigint, b: bigint, bits: number) => boolean>> = {
  eqz: (a) => a === 0n,
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt_s: (a, b, n) => s(a, n) < s(b, n),
  lt_u: (a, b) => a < b,
  gt_s: (a, b, n) => s(a, n) > s(b, n),
  gt_u: (a, b) => a > b,
  le_s: (a, b, n) => s(a, n) <= s(b, n),
  le_u: (a, b) => a <= b,
  ge_s: (a, b, n) => s(a, n) >= s(b, n),
  ge_u: (a, b) => a >= b,
};
/** To the nearest whole number, halves to the even one, keeping the sign of zero. */
const nearest = (a: number) => {
  const down = Math.floor(a);
  const whole = a - down !== 0.5 ? Math.round(a) : down % 2 === 0 ? down : down + 1;
  return whole === 0 && (a < 0 || Object.is(a, -0)) ? -0 : whole;
};
const FLOAT: Readonly<Record<string, Float>> = {
  abs: (a) => Math.abs(a),
  neg: (a) => -a,
  ceil: (a) => Math.ceil(a),
  floor: (a) => Math.floor(a),
  trunc: (a) => Math.trunc(a),
  nearest,
  sqrt: (a) => Math.sqrt(a),
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
  pmin: Math.min,
  pmax: Math.max,
  copysign: (a, b) => (Math.sign(1 / b) === Math.sign(1 / a) ? a : -a),
};
const FLOAT_COMPARE: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  gt: (a, b) => a > b,
  le: (a, b) => a <= b,
  ge: (a, b) => a >= b,
};

export function integerOf(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
export function integerBytes(value: bigint, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, n) => Number((value >> BigInt(8 * n)) & 0xffn));
}
function floatOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return bytes.length === 4 ? view.getFloat32(0, true) : view.getFloat64(0, true);
}
export function floatBytes(value: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  if (size === 4) view.setFloat32(0, value, true);
  else view.setFloat64(0, value, true);
  return bytes;
}

function lanesOf(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: bytes.length / size }, (_, n) =>
    bytes.subarray(n * size, (n + 1) * size),
  );
}
const join = (lanes: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(lanes.flatMap((lane) => [...lane]));

/** One operation on numbers of `size` bytes; undefined for one that is not made of such. */
function scalar(
  kind: string,
  operation: string,
  args: readonly Uint8Array[],
  size: number,
  isLane: boolean,
): Uint8Array | undefined {
  const comparison = (holds: boolean) =>
    isLane ? integerBytes(holds ? -1n : 0n, size) : integerBytes(flag(holds), 4);
  if (kind === 'f') {
    const [a, b] = args.map(floatOf) as [number, number];
    const compare = FLOAT_COMPARE[operation];
    if (compare) return comparison(compare(a, b));
    const compute = FLOAT[operation];
    return compute && floatBytes(compute(a, b), size);
  }
  const [a, b] = args.map(integerOf) as [bigint, bigint];
  const compare = COMPARE[operation];
  if (compare) return comparison(compare(a, b, size * 8));
  const compute = INTEGER[operation];
  return compute && integerBytes(compute(a, b, size * 8), size);
}

/** 'f64', 'i32': kind and size in bytes. */
const typeOf = (type: string) => ({ kind: type[0]!, size: Number(type.slice(1)) / 8 });

/** Conversions between numbers: wrap, extend, trunc, trunc_sat, convert, demote, promote, reinterpret. */
function convert(to: string, operation: string, arg: Uint8Array): Uint8Array | undefined {
  const match =
    /^(wrap|extend|trunc|trunc_sat|convert|demote|promote|reinterpret)_([if]\d\d)(_[su])?$/.exec(
      operation,
    );
  if (!match) return undefined;
  const [, what, from, sign] = match;
  const { kind, size } = typeOf(to);
  if (what === 'reinterpret') return arg;
  const bits = typeOf(from!).size * 8;
  if (from![0] === 'f') {
    const value = floatOf(arg);
    if (kind === 'f') return floatBytes(value, size);
    const whole = BigInt(Math.trunc(value));
    if (what === 'trunc') return integerBytes(whole, size);
    return integerBytes(
      sign === '_s' ? saturateS(whole, size * 8) : saturateU(whole, size * 8),
      size,
    );
  }
  const value = sign === '_s' ? s(integerOf(arg), bits) : integerOf(arg);
  return kind === 'f' ? floatBytes(Number(value), size) : integerBytes(value, size);
}

/** Vector operations that are not the same in all lanes. */
function vector(
  size: number,
  operation: string,
  args: readonly Uint8Array[],
  lane: number,
): Uint8Array | undefined {
  const bits = size * 8;
  const [a, b] = args as [Uint8Array, Uint8Array];
  const signed = operation.endsWith('_s');
  const widen = (v: Uint8Array) => (signed ? s(integerOf(v), v.length * 8) : integerOf(v));
  const chosenHalf = (v: Uint8Array) =>
    lanesOf(v, size / 2)
      .slice(operation.includes('high') ? 16 / size : 0)
      .slice(0, 16 / size);
  if (operation === 'splat') return join(Array.from({ length: 16 / size }, () => a.slice(0, size)));
  if (operation.startsWith('extract_lane')) {
    const value = lanesOf(a, size)[lane]!;
    return size < 4 ? integerBytes(widen(value), 4) : value;
  }
  if (operation === 'replace_lane')
    return join(lanesOf(a, size).map((old, n) => (n === lane ? b.slice(0, size) : old)));
  if (operation === 'all_true')
    return integerBytes(flag(lanesOf(a, size).every((v) => integerOf(v) !== 0n)), 4);
  if (operation === 'bitmask')
    return integerBytes(
      lanesOf(a, size).reduce(
        (mask, v, n) => mask | ((integerOf(v) >> BigInt(bits - 1)) << BigInt(n)),
        0n,
      ),
      4,
    );
  if (/^(shl|shr_[su])$/.test(operation))
    return join(
      lanesOf(a, size).map((v) =>
        integerBytes(INTEGER[operation]!(integerOf(v), integerOf(b), bits), size),
      ),
    );
  if (operation.startsWith('narrow')) {
    const saturate = signed ? saturateS : saturateU;
    return join(
      [a, b]
        .flatMap((v) => lanesOf(v, size * 2))
        .map((v) => integerBytes(saturate(s(integerOf(v), bits * 2), bits), size)),
    );
  }
  if (operation.startsWith('extend_'))
    return join(chosenHalf(a).map((v) => integerBytes(widen(v), size)));
  if (operation.startsWith('extmul')) {
    const right = chosenHalf(b);
    return join(chosenHalf(a).map((v, n) => integerBytes(widen(v) * widen(right[n]!), size)));
  }
  const pairs = (v: Uint8Array) => lanesOf(v, size).map((pair) => lanesOf(pair, size / 2));
  if (operation.startsWith('extadd'))
    return join(pairs(a).map(([x, y]) => integerBytes(widen(x!) + widen(y!), size)));
  if (operation.startsWith('dot')) {
    const right = pairs(b);
    return join(
      pairs(a).map(([x, y], n) =>
        integerBytes(widen(x!) * widen(right[n]![0]!) + widen(y!) * widen(right[n]![1]!), size),
      ),
    );
  }
  return undefined;
}

/** Conversions of whole vectors of floats. */
function vectorConvert(name: string, a: Uint8Array): Uint8Array | undefined {
  const match =
    /^([if]\d\d)x\d\.(trunc_sat|convert|demote|promote)_(?:low_)?([if]\d\d)x\d(_[su])?(_zero)?$/.exec(
      name,
    );
  if (!match) return undefined;
  const [, to, what, from, sign = '', zero] = match;
  const lanes = lanesOf(a, typeOf(from!).size).slice(
    0,
    16 / Math.max(typeOf(to!).size, typeOf(from!).size),
  );
  const converted = lanes.map((lane) => convert(to!, `${what}_${from}${sign}`, lane)!);
  return join([...converted, ...(zero ? [new Uint8Array(8)] : [])]);
}

/** The result of an instruction that computes; undefined for memory accesses. */
export function evaluate(
  name: string,
  args: readonly Uint8Array[],
  lanes: readonly number[],
): Uint8Array | undefined {
  const [type, operation] = name.split('.') as [string, string];
  const [a, b, c] = args as [Uint8Array, Uint8Array, Uint8Array];
  if (name === 'i8x16.shuffle')
    return Uint8Array.from(lanes, (lane) => (lane < 16 ? a[lane]! : b[lane - 16]!));
  if (name === 'i8x16.swizzle') return Uint8Array.from(b, (lane) => (lane < 16 ? a[lane]! : 0));
  if (name === 'v128.bitselect') return a.map((byte, n) => (byte & c[n]!) | (b[n]! & ~c[n]!));
  if (name === 'v128.any_true') return integerBytes(flag(a.some(Boolean)), 4);
  if (type === 'v128') return scalar('i', operation, args, 16, true);
  const shape = /^([if])(\d+)x\d+$/.exec(type);
  if (!shape)
    return (
      scalar(type[0]!, operation, args, typeOf(type).size, false) ?? convert(type, operation, a)
    );
  const size = Number(shape[2]) / 8;
  const special = vectorConvert(name, a) ?? vector(size, operation, args, lanes[0] ?? 0);
  if (special) return special;
  const others = args.map((arg) => lanesOf(arg, size));
  return join(
    others[0]!.map(
      (_, n) =>
        scalar(
          shape[1]!,
          operation,
          others.map((o) => o[n]!),
          size,
          true,
        ) ?? new Uint8Array(0),
    ),
  );
}
