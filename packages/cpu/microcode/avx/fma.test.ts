// The ways of fused multiply-add give the same: the host's operation, exact steps, and soft-float, which silicon vouches
// for (tests/silicon).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fn } from '../../lift/function.ts';
import { type Compiled, CPU_BASE, compile } from '../../lift/testing/run.ts';
import { v128 } from '../../lift/value.ts';
import { at, S } from '../../state/layout.ts';
import { hasFusedMultiplyAdd } from '../../wasm/host-features.ts';
import { fmaFunctions, type Way } from './fma.ts';

type Width = 32 | 64;
type Kind = 'scalar' | 'packed';
/** All masked, to nearest: the quick ways are allowed, with inexactness noted or only for exact results. */
const PE = 0x20;
const PLAIN = 0x1f80;
const NONE = v128(new Array(16).fill(0));
const WAYS: readonly Way[] = [
  'careful',
  'steps',
  ...(hasFusedMultiplyAdd() ? ['fused' as const] : []),
];

/** A function of the operands in S.scratch 1 to 3, with its result in S.scratch 4. */
function compileWay(width: Width, kind: Kind, way: Way): Compiled {
  const callee = fmaFunctions(width, () => way)[kind];
  const run = fn('testFma', {
    params: {},
    faults: true,
    build(l) {
      const [a, b, c] = [1, 2, 3].map((n) => l.get(S.scratch, n));
      l.set(S.scratch, l.call(callee, a!, b!, c!, NONE, NONE), 4);
    },
  });
  return compile([run]);
}

/** xorshift32. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Numbers near 1 and far from it, short ones (exact results, ties), zeros, and now and then one that is special. */
function number(next: () => number, width: Width): bigint {
  const [fractionBits, bias] = width === 64 ? [52, 1023] : [23, 127];
  const spread = [3, 12, width === 64 ? 900 : 120][next() % 3]!;
  const exponent = BigInt(bias + (next() % spread) - Math.floor(spread / 2));
  const sign = BigInt(next() & 1) << BigInt(width - 1);
  let fraction = ((BigInt(next()) << 32n) | BigInt(next())) & ((1n << BigInt(fractionBits)) - 1n);
  const kind = next() % 64;
  if (kind < 16) fraction &= -1n << BigInt(fractionBits - 6);
  if (kind === 16) return sign;
  if (kind === 17) return sign | fraction;
  if (kind === 18) return sign | (BigInt(2 * bias + 1) << BigInt(fractionBits));
  return sign | (exponent << BigInt(fractionBits)) | fraction;
}

const CASES = 20_000;
for (const width of [32, 64] as const) {
  for (const kind of ['scalar', 'packed'] as const) {
    test(`${kind} of ${width} bits: all ways give the same`, () => {
      const ways = WAYS.map((way) => compileWay(width, kind, way));
      const next = random(0x2545_f491 + width);
      const lanes = 128 / width;
      for (let n = 0; n < CASES; n++) {
        const operands = [0, 1, 2].map(() => number(next, width));
        // An addend that all but cancels the product.
        if (n % 7 === 0) {
          operands[0] = width === 64 ? 0x3ff0_0000_0000_0001n : 0x3f80_0001n;
          operands[2] = operands[1]! ^ (1n << BigInt(width - 1));
        }
        const results = ways.map((compiled) => {
          const { view } = compiled;
          const place = (slot: number, lane: number) =>
            CPU_BASE + at(S.scratch, slot) + (lane * width) / 8;
          view.setUint32(CPU_BASE + S.mxcsr.offset, PLAIN | (n % 3 ? PE : 0), true);
          operands.forEach((value, slot) => {
            for (let lane = 0; lane < lanes; lane++) {
              if (width === 64) view.setBigUint64(place(slot + 1, lane), value, true);
              else view.setUint32(place(slot + 1, lane), Number(value), true);
            }
          });
          compiled.run('testFma');
          const result =
            width === 64 ? view.getBigUint64(place(4, 0), true) : view.getUint32(place(4, 0), true);
          return `${result.toString(16)} ${view.getUint32(CPU_BASE + S.mxcsr.offset, true).toString(16)}`;
        });
        assert.deepEqual(
          results,
          results.map(() => results[0]),
          operands.map((v) => v.toString(16)).join(' '),
        );
      }
    });
  }
}
