// SHA-1 and SHA-256. SDM vol 1 §12.14 and vol 2, each instruction; FIPS 180-4 §4.1, §6. The manual's words W0 or A are
// the highest of a register.

import type { Lift } from '../lift/lift.ts';
import { type Value, v128 } from '../lift/value.ts';
import { S } from '../state/layout.ts';
import { form, Ib, type Instruction, instruction, SSE, Vx, Wx } from './instruction.ts';
import { source } from './sse-operands.ts';

/** `immediate` is an i32. */
type Meaning = (l: Lift, dst: Value, src: Value, immediate: Value) => Value;

const lanesOf = (order: readonly number[]) =>
  order.flatMap((n) => [4 * n, 4 * n + 1, 4 * n + 2, 4 * n + 3]);
/** Doublewords of two vectors: 0 to 3 are the first's, 4 to 7 the second's. */
const pick = (l: Lift, order: readonly number[], a: Value, b: Value) =>
  l.let(l.lanes('i8x16.shuffle', lanesOf(order), a, b));
const xor = (l: Lift, a: Value, b: Value) => l.let(l.op('v128.xor', a, b));
const add = (l: Lift, a: Value, b: Value) => l.let(l.op('i32x4.add', a, b));
const word = (l: Lift, v: Value, n: number) => l.let(l.lanes('i32x4.extract_lane', [n], v));
const ZERO = v128(new Array(16).fill(0));

/** Doublewords, lowest first. */
function vector(l: Lift, words: readonly Value[]): Value {
  const pair = (n: number) => words[n]!.u64().or(words[n + 1]!.u64().shl(32));
  return l.lanes('i64x2.replace_lane', [1], l.op('i64x2.splat', pair(0)), pair(2));
}

function rotateRight(l: Lift, v: Value, count: number): Value {
  return l.op('v128.or', l.op('i32x4.shr_u', v, count), l.op('i32x4.shl', v, 32 - count));
}
/** σ of the message schedule: two rotations and a shift, xored. */
function sigma(l: Lift, v: Value, a: number, b: number, shift: number): Value {
  const rotated = l.op('v128.xor', rotateRight(l, v, a), rotateRight(l, v, b));
  return xor(l, rotated, l.op('i32x4.shr_u', v, shift));
}

const choose = (b: Value, c: Value, d: Value) => c.xor(d).and(b).xor(d);
const majority = (b: Value, c: Value, d: Value) => b.and(c).or(b.or(c).and(d));
const parity = (b: Value, c: Value, d: Value) => b.xor(c).xor(d);
const SHA1_ROUNDS = [
  { mix: choose, constant: 0x5a82_7999 },
  { mix: parity, constant: 0x6ed9_eba1 },
  { mix: majority, constant: 0x8f1b_bcdc },
  { mix: parity, constant: 0xca62_c1d6 },
] as const;

function sha1Rounds(l: Lift, dst: Value, src: Value, kind: (typeof SHA1_ROUNDS)[number]): Value {
  let [a, b, c, d] = [3, 2, 1, 0].map((n) => word(l, dst, n)) as [Value, Value, Value, Value];
  let e = l.i32(0);
  for (let round = 0; round < 4; round++) {
    const w = word(l, src, 3 - round)
      .add(kind.constant | 0)
      .add(e);
    const next = l.let(kind.mix(b, c, d).add(a.rotl(5)).add(w));
    [a, b, c, d, e] = [next, a, l.let(b.rotl(30)), c, d];
  }
  return vector(l, [d, c, b, a]);
}

const sha1Rnds4: Meaning = (l, dst, src, immediate) => {
  const [one, two, three, four] = SHA1_ROUNDS.map((kind) => () => sha1Rounds(l, dst, src, kind)) as [
    () => Value, () => Value, () => Value, () => Value,
  ]; // biome-ignore format: four
  const upper = () => l.choose(immediate.and(1), 'v128', four, three);
  const lower = () => l.choose(immediate.and(1), 'v128', two, one);
  return l.choose(immediate.and(2), 'v128', upper, lower);
};

/** E rotated, added to the first word of the message. */
const sha1Nexte: Meaning = (l, dst, src) => {
  const e = pick(l, [4, 4, 4, 3], rotateLeft(l, dst, 30), ZERO);
  return add(l, src, e);
};
function rotateLeft(l: Lift, v: Value, count: number): Value {
  return l.let(rotateRight(l, v, 32 - count));
}

const sha1Msg1: Meaning = (l, dst, src) => xor(l, dst, pick(l, [6, 7, 0, 1], dst, src));

/** W16 to W19; the last needs the first. */
const sha1Msg2: Meaning = (l, dst, src) => {
  const mixed = xor(l, dst, pick(l, [4, 0, 1, 2], src, ZERO));
  const rotated = rotateLeft(l, mixed, 1);
  const first = rotateLeft(l, pick(l, [3, 4, 4, 4], rotated, ZERO), 1);
  return xor(l, rotated, first);
};

const sha256Rnds2: Meaning = (l, dst, src) => {
  const schedule = l.get(S.xmm, 0);
  let [a, b, e, f] = [3, 2, 1, 0].map((n) => word(l, src, n)) as [Value, Value, Value, Value];
  let [c, d, g, h] = [3, 2, 1, 0].map((n) => word(l, dst, n)) as [Value, Value, Value, Value];
  for (let round = 0; round < 2; round++) {
    const sum1 = e.rotr(6).xor(e.rotr(11)).xor(e.rotr(25));
    const t1 = l.let(
      choose(e, f, g)
        .add(sum1)
        .add(word(l, schedule, round).add(h)),
    );
    const sum0 = a.rotr(2).xor(a.rotr(13)).xor(a.rotr(22));
    const t2 = majority(a, b, c).add(sum0);
    [a, b, c, d, e, f, g, h] = [l.let(t1.add(t2)), a, b, c, l.let(t1.add(d)), e, f, g];
  }
  return vector(l, [f, e, b, a]);
};

const sha256Msg1: Meaning = (l, dst, src) =>
  add(l, dst, sigma(l, pick(l, [1, 2, 3, 4], dst, src), 7, 18, 3));

/** W16 and W17 from the source, W18 and W19 from those. */
const sha256Msg2: Meaning = (l, dst, src) => {
  const low = add(l, dst, sigma(l, pick(l, [2, 3, 4, 4], src, ZERO), 17, 19, 10));
  return add(l, low, sigma(l, pick(l, [4, 4, 0, 1], low, ZERO), 17, 19, 10));
};

function sha(name: string, encoding: string, meaning: Meaning): Instruction {
  const hasImmediate = encoding.endsWith('ib');
  return instruction({
    name,
    manual: `SDM vol 2B, ${name}`,
    feature: 'SHA',
    forms: [form(`NP ${encoding}`, Vx, Wx, ...(hasImmediate ? [Ib] : []), SSE)],
    access: ['rw', 'r', 'r'],
    lift(l, _i, dst, src, last) {
      const immediate = last ? l.let(last.read().i32()) : l.i32(0);
      const b = source(l, src!);
      const a = l.let(dst!.read());
      dst!.write(meaning(l, a, b, immediate));
    },
  });
}

export const INSTRUCTIONS_SHA: readonly Instruction[] = [
  sha('SHA1NEXTE', '0F 38 C8 /r', sha1Nexte),
  sha('SHA1MSG1', '0F 38 C9 /r', sha1Msg1),
  sha('SHA1MSG2', '0F 38 CA /r', sha1Msg2),
  sha('SHA256RNDS2', '0F 38 CB /r', sha256Rnds2),
  sha('SHA256MSG1', '0F 38 CC /r', sha256Msg1),
  sha('SHA256MSG2', '0F 38 CD /r', sha256Msg2),
  sha('SHA1RNDS4', '0F 3A CC /r ib', sha1Rnds4),
];
