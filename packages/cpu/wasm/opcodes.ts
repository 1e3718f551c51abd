// The WebAssembly instructions that Mimic emits, by their name in the text format, with operand and result types.
// WebAssembly core specification 2.0 §5.4 plus the threads and tail-call proposals. Control flow is in module.ts.

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export interface WasmOp {
  /** Encoded opcode: one byte, or a prefix byte and a LEB128 sub-opcode. */
  readonly code: readonly number[];
  readonly params: readonly ValueType[];
  readonly result: ValueType | undefined;
  /** What follows the opcode: a memory argument, a lane index, both, or nothing. */
  readonly immediate: 'none' | 'memory' | 'lane' | 'memory+lane' | 'v128' | 'shuffle' | 'zero';
  /** log2 of the access size in bytes, for memory operations. */
  readonly align: number;
}

const table = new Map<string, WasmOp>();

/** Parses "i32,i64>i32"-like signatures; letters: i=i32 l=i64 f=f32 d=f64 v=v128. */
const LETTERS: Readonly<Record<string, ValueType>> = {
  i: 'i32',
  l: 'i64',
  f: 'f32',
  d: 'f64',
  v: 'v128',
};

function leb(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return [...bytes, rest];
    bytes.push((rest & 0x7f) | 0x80);
  }
}

function define(
  name: string,
  code: number[],
  signature: string,
  immediate: WasmOp['immediate'] = 'none',
  align = 0,
): void {
  const [params = '', result = ''] = signature.split('>');
  table.set(name, {
    code,
    params: [...params].map((letter) => LETTERS[letter]!),
    result: LETTERS[result],
    immediate,
    align,
  });
}

/** Names in opcode order from `first`; each "name:signature", or "-" for a gap. */
function run(
  prefix: number | undefined,
  first: number,
  entries: string,
  immediate?: WasmOp['immediate'],
): void {
  entries
    .trim()
    .split(/\s+/)
    .forEach((entry, index) => {
      if (entry === '-') return;
      const [name, signature] = entry.split(':');
      const code = first + index;
      define(name!, prefix === undefined ? [code] : [prefix, ...leb(code)], signature!, immediate);
    });
}

function memory(prefix: number | undefined, first: number, entries: string, lane = false): void {
  entries
    .trim()
    .split(/\s+/)
    .forEach((entry, index) => {
      if (entry === '-') return;
      const [name, signature, align] = entry.split(':');
      const code = prefix === undefined ? [first + index] : [prefix, ...leb(first + index)];
      define(name!, code, signature!, lane ? 'memory+lane' : 'memory', Number(align));
    });
}

memory(
  undefined,
  0x28,
  `i32.load:i>i:2 i64.load:i>l:3 f32.load:i>f:2 f64.load:i>d:3
   i32.load8_s:i>i:0 i32.load8_u:i>i:0 i32.load16_s:i>i:1 i32.load16_u:i>i:1
   i64.load8_s:i>l:0 i64.load8_u:i>l:0 i64.load16_s:i>l:1 i64.load16_u:i>l:1 i64.load32_s:i>l:2 i64.load32_u:i>l:2
   i32.store:ii:2 i64.store:il:3 f32.store:if:2 f64.store:id:3
   i32.store8:ii:0 i32.store16:ii:1 i64.store8:il:0 i64.store16:il:1 i64.store32:il:2`,
);
run(
  undefined,
  0x45,
  `i32.eqz:i>i i32.eq:ii>i i32.ne:ii>i i32.lt_s:ii>i i32.lt_u:ii>i i32.gt_s:ii>i i32.gt_u:ii>i
   i32.le_s:ii>i i32.le_u:ii>i i32.ge_s:ii>i i32.ge_u:ii>i
   i64.eqz:l>i i64.eq:ll>i i64.ne:ll>i i64.lt_s:ll>i i64.lt_u:ll>i i64.gt_s:ll>i i64.gt_u:ll>i
   i64.le_s:ll>i i64.le_u:ll>i i64.ge_s:ll>i i64.ge_u:ll>i
   f32.eq:ff>i f32.ne:ff>i f32.lt:ff>i f32.gt:ff>i f32.le:ff>i f32.ge:ff>i
   f64.eq:dd>i f64.ne:dd>i f64.lt:dd>i f64.gt:dd>i f64.le:dd>i f64.ge:dd>i
   i32.clz:i>i i32.ctz:i>i i32.popcnt:i>i i32.add:ii>i i32.sub:ii>i i32.mul:ii>i i32.div_s:ii>i i32.div_u:ii>i
   i32.rem_s:ii>i i32.rem_u:ii>i i32.and:ii>i i32.or:ii>i i32.xor:ii>i i32.shl:ii>i i32.shr_s:ii>i i32.shr_u:ii>i
   i32.rotl:ii>i i32.rotr:ii>i
   i64.clz:l>l i64.ctz:l>l i64.popcnt:l>l i64.add:ll>l i64.sub:ll>l i64.mul:ll>l i64.div_s:ll>l i64.div_u:ll>l
   i64.rem_s:ll>l i64.rem_u:ll>l i64.and:ll>l i64.or:ll>l i64.xor:ll>l i64.shl:ll>l i64.shr_s:ll>l i64.shr_u:ll>l
   i64.rotl:ll>l i64.rotr:ll>l
   f32.abs:f>f f32.neg:f>f f32.ceil:f>f f32.floor:f>f f32.trunc:f>f f32.nearest:f>f f32.sqrt:f>f
   f32.add:ff>f f32.sub:ff>f f32.mul:ff>f f32.div:ff>f f32.min:ff>f f32.max:ff>f f32.copysign:ff>f
   f64.abs:d>d f64.neg:d>d f64.ceil:d>d f64.floor:d>d f64.trunc:d>d f64.nearest:d>d f64.sqrt:d>d
   f64.add:dd>d f64.sub:dd>d f64.mul:dd>d f64.div:dd>d f64.min:dd>d f64.max:dd>d f64.copysign:dd>d
   i32.wrap_i64:l>i i32.trunc_f32_s:f>i i32.trunc_f32_u:f>i i32.trunc_f64_s:d>i i32.trunc_f64_u:d>i
   i64.extend_i32_s:i>l i64.extend_i32_u:i>l i64.trunc_f32_s:f>l i64.trunc_f32_u:f>l i64.trunc_f64_s:d>l i64.trunc_f64_u:d>l
   f32.convert_i32_s:i>f f32.convert_i32_u:i>f f32.convert_i64_s:l>f f32.convert_i64_u:l>f f32.demote_f64:d>f
   f64.convert_i32_s:i>d f64.convert_i32_u:i>d f64.convert_i64_s:l>d f64.convert_i64_u:l>d f64.promote_f32:f>d
   i32.reinterpret_f32:f>i i64.reinterpret_f64:d>l f32.reinterpret_i32:i>f f64.reinterpret_i64:l>d
   i32.extend8_s:i>i i32.extend16_s:i>i i64.extend8_s:l>l i64.extend16_s:l>l i64.extend32_s:l>l`,
);
run(
  0xfc,
  0,
  `i32.trunc_sat_f32_s:f>i i32.trunc_sat_f32_u:f>i i32.trunc_sat_f64_s:d>i i32.trunc_sat_f64_u:d>i
   i64.trunc_sat_f32_s:f>l i64.trunc_sat_f32_u:f>l i64.trunc_sat_f64_s:d>l i64.trunc_sat_f64_u:d>l`,
);
define('memory.copy', [0xfc, 10, 0, 0], 'iii');
define('memory.fill', [0xfc, 11, 0], 'iii');

memory(
  0xfd,
  0,
  `v128.load:i>v:4 v128.load8x8_s:i>v:3 v128.load8x8_u:i>v:3 v128.load16x4_s:i>v:3 v128.load16x4_u:i>v:3
   v128.load32x2_s:i>v:3 v128.load32x2_u:i>v:3 v128.load8_splat:i>v:0 v128.load16_splat:i>v:1
   v128.load32_splat:i>v:2 v128.load64_splat:i>v:3 v128.store:iv:4`,
);
define('i8x16.shuffle', [0xfd, 13], 'vv>v', 'shuffle');
run(
  0xfd,
  14,
  'i8x16.swizzle:vv>v i8x16.splat:i>v i16x8.splat:i>v i32x4.splat:i>v i64x2.splat:l>v f32x4.splat:f>v f64x2.splat:d>v',
);
run(
  0xfd,
  21,
  `i8x16.extract_lane_s:v>i i8x16.extract_lane_u:v>i i8x16.replace_lane:vi>v
   i16x8.extract_lane_s:v>i i16x8.extract_lane_u:v>i i16x8.replace_lane:vi>v
   i32x4.extract_lane:v>i i32x4.replace_lane:vi>v i64x2.extract_lane:v>l i64x2.replace_lane:vl>v
   f32x4.extract_lane:v>f f32x4.replace_lane:vf>v f64x2.extract_lane:v>d f64x2.replace_lane:vd>v`,
  'lane',
);
const comparisons = (shape: string, signed: boolean) =>
  (signed
    ? ['eq', 'ne', 'lt_s', 'lt_u', 'gt_s', 'gt_u', 'le_s', 'le_u', 'ge_s', 'ge_u']
    : ['eq', 'ne', 'lt', 'gt', 'le', 'ge']
  )
    .map((name) => `${shape}.${name}:vv>v`)
    .join(' ');
run(
  0xfd,
  35,
  `${comparisons('i8x16', true)} ${comparisons('i16x8', true)} ${comparisons('i32x4', true)}`,
);
run(0xfd, 65, `${comparisons('f32x4', false)} ${comparisons('f64x2', false)}`);
run(
  0xfd,
  77,
  `v128.not:v>v v128.and:vv>v v128.andnot:vv>v v128.or:vv>v v128.xor:vv>v v128.bitselect:vvv>v v128.any_true:v>i`,
);
memory(
  0xfd,
  84,
  `v128.load8_lane:iv>v:0 v128.load16_lane:iv>v:1 v128.load32_lane:iv>v:2 v128.load64_lane:iv>v:3
   v128.store8_lane:iv:0 v128.store16_lane:iv:1 v128.store32_lane:iv:2 v128.store64_lane:iv:3`,
  true,
);
memory(0xfd, 92, 'v128.load32_zero:i>v:2 v128.load64_zero:i>v:3');
run(
  0xfd,
  94,
  `f32x4.demote_f64x2_zero:v>v f64x2.promote_low_f32x4:v>v
   i8x16.abs:v>v i8x16.neg:v>v i8x16.popcnt:v>v i8x16.all_true:v>i i8x16.bitmask:v>i
   i8x16.narrow_i16x8_s:vv>v i8x16.narrow_i16x8_u:vv>v f32x4.ceil:v>v f32x4.floor:v>v f32x4.trunc:v>v f32x4.nearest:v>v
   i8x16.shl:vi>v i8x16.shr_s:vi>v i8x16.shr_u:vi>v
   i8x16.add:vv>v i8x16.add_sat_s:vv>v i8x16.add_sat_u:vv>v i8x16.sub:vv>v i8x16.sub_sat_s:vv>v i8x16.sub_sat_u:vv>v
   f64x2.ceil:v>v f64x2.floor:v>v
   i8x16.min_s:vv>v i8x16.min_u:vv>v i8x16.max_s:vv>v i8x16.max_u:vv>v f64x2.trunc:v>v i8x16.avgr_u:vv>v
   i16x8.extadd_pairwise_i8x16_s:v>v i16x8.extadd_pairwise_i8x16_u:v>v
   i32x4.extadd_pairwise_i16x8_s:v>v i32x4.extadd_pairwise_i16x8_u:v>v
   i16x8.abs:v>v i16x8.neg:v>v i16x8.q15mulr_sat_s:vv>v i16x8.all_true:v>i i16x8.bitmask:v>i
   i16x8.narrow_i32x4_s:vv>v i16x8.narrow_i32x4_u:vv>v
   i16x8.extend_low_i8x16_s:v>v i16x8.extend_high_i8x16_s:v>v i16x8.extend_low_i8x16_u:v>v i16x8.extend_high_i8x16_u:v>v
   i16x8.shl:vi>v i16x8.shr_s:vi>v i16x8.shr_u:vi>v
   i16x8.add:vv>v i16x8.add_sat_s:vv>v i16x8.add_sat_u:vv>v i16x8.sub:vv>v i16x8.sub_sat_s:vv>v i16x8.sub_sat_u:vv>v
   f64x2.nearest:v>v i16x8.mul:vv>v i16x8.min_s:vv>v i16x8.min_u:vv>v i16x8.max_s:vv>v i16x8.max_u:vv>v - i16x8.avgr_u:vv>v
   i16x8.extmul_low_i8x16_s:vv>v i16x8.extmul_high_i8x16_s:vv>v i16x8.extmul_low_i8x16_u:vv>v i16x8.extmul_high_i8x16_u:vv>v
   i32x4.abs:v>v i32x4.neg:v>v - i32x4.all_true:v>i i32x4.bitmask:v>i - -
   i32x4.extend_low_i16x8_s:v>v i32x4.extend_high_i16x8_s:v>v i32x4.extend_low_i16x8_u:v>v i32x4.extend_high_i16x8_u:v>v
   i32x4.shl:vi>v i32x4.shr_s:vi>v i32x4.shr_u:vi>v i32x4.add:vv>v - - i32x4.sub:vv>v - - -
   i32x4.mul:vv>v i32x4.min_s:vv>v i32x4.min_u:vv>v i32x4.max_s:vv>v i32x4.max_u:vv>v i32x4.dot_i16x8_s:vv>v -
   i32x4.extmul_low_i16x8_s:vv>v i32x4.extmul_high_i16x8_s:vv>v i32x4.extmul_low_i16x8_u:vv>v i32x4.extmul_high_i16x8_u:vv>v
   i64x2.abs:v>v i64x2.neg:v>v - i64x2.all_true:v>i i64x2.bitmask:v>i - -
   i64x2.extend_low_i32x4_s:v>v i64x2.extend_high_i32x4_s:v>v i64x2.extend_low_i32x4_u:v>v i64x2.extend_high_i32x4_u:v>v
   i64x2.shl:vi>v i64x2.shr_s:vi>v i64x2.shr_u:vi>v i64x2.add:vv>v - - i64x2.sub:vv>v - - -
   i64x2.mul:vv>v i64x2.eq:vv>v i64x2.ne:vv>v i64x2.lt_s:vv>v i64x2.gt_s:vv>v i64x2.le_s:vv>v i64x2.ge_s:vv>v
   i64x2.extmul_low_i32x4_s:vv>v i64x2.extmul_high_i32x4_s:vv>v i64x2.extmul_low_i32x4_u:vv>v i64x2.extmul_high_i32x4_u:vv>v
   f32x4.abs:v>v f32x4.neg:v>v - f32x4.sqrt:v>v f32x4.add:vv>v f32x4.sub:vv>v f32x4.mul:vv>v f32x4.div:vv>v
   f32x4.min:vv>v f32x4.max:vv>v f32x4.pmin:vv>v f32x4.pmax:vv>v
   f64x2.abs:v>v f64x2.neg:v>v - f64x2.sqrt:v>v f64x2.add:vv>v f64x2.sub:vv>v f64x2.mul:vv>v f64x2.div:vv>v
   f64x2.min:vv>v f64x2.max:vv>v f64x2.pmin:vv>v f64x2.pmax:vv>v
   i32x4.trunc_sat_f32x4_s:v>v i32x4.trunc_sat_f32x4_u:v>v f32x4.convert_i32x4_s:v>v f32x4.convert_i32x4_u:v>v
   i32x4.trunc_sat_f64x2_s_zero:v>v i32x4.trunc_sat_f64x2_u_zero:v>v f64x2.convert_low_i32x4_s:v>v f64x2.convert_low_i32x4_u:v>v`,
);

// Relaxed SIMD: rounded once or twice, as the host does it; wasm/host-features.ts finds out which.
run(
  0xfd,
  0x105,
  'f32x4.relaxed_madd:vvv>v f32x4.relaxed_nmadd:vvv>v f64x2.relaxed_madd:vvv>v f64x2.relaxed_nmadd:vvv>v',
);

memory(
  0xfe,
  0x10,
  'i32.atomic.load:i>i:2 i64.atomic.load:i>l:3 i32.atomic.load8_u:i>i:0 i32.atomic.load16_u:i>i:1',
);
memory(
  0xfe,
  0x17,
  'i32.atomic.store:ii:2 i64.atomic.store:il:3 i32.atomic.store8:ii:0 i32.atomic.store16:ii:1',
);
memory(0xfe, 0x1e, 'i32.atomic.rmw.add:ii>i:2 i64.atomic.rmw.add:il>l:3');
memory(0xfe, 0x2c, 'i32.atomic.rmw.and:ii>i:2');
memory(0xfe, 0x33, 'i32.atomic.rmw.or:ii>i:2');
memory(0xfe, 0x35, 'i32.atomic.rmw8.or_u:ii>i:0');
memory(0xfe, 0x41, 'i32.atomic.rmw.xchg:ii>i:2 i64.atomic.rmw.xchg:il>l:3');
memory(
  0xfe,
  0x48,
  'i32.atomic.rmw.cmpxchg:iii>i:2 i64.atomic.rmw.cmpxchg:ill>l:3 i32.atomic.rmw8.cmpxchg_u:iii>i:0 i32.atomic.rmw16.cmpxchg_u:iii>i:1',
);
define('atomic.fence', [0xfe, 3], '', 'zero');

/** The instruction of that name; asking for one that is not in the table is a bug. */
export function wasmOp(name: string): WasmOp {
  const op = table.get(name);
  if (!op) throw new Error(`no WebAssembly instruction named ${name}`);
  return op;
}

/** Names of all instructions in the table. */
export function wasmOpNames(): readonly string[] {
  return [...table.keys()];
}
