// The language that meanings are written in: constants fold to what WebAssembly computes, reads are captured where they
// stand, control flow nests, faults go through all callers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { S } from '../state/layout.ts';
import { type FunctionRef, fn, imported } from './function.ts';
import { FAULT_HAS_CODE, FAULT_PENDING, type Lift, newLocal } from './lift.ts';
import { CPU_BASE, compile } from './testing/run.ts';
import { constant, constantOf, type Operand, op, type Value } from './value.ts';

let state = 0x5eed_1234;
function random(below: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

// --- constant folding ---

type IntegerType = 'i32' | 'i64';
const EDGES = [
  0n,
  1n,
  -1n,
  2n,
  31n,
  32n,
  63n,
  64n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  1n << 63n,
  (1n << 63n) - 1n,
];

const randomBits = (): bigint =>
  random(2)
    ? EDGES[random(EDGES.length)]!
    : (BigInt(random(2 ** 32)) << 32n) | BigInt(random(2 ** 32));

const BINARY: readonly ((a: Value, b: Operand) => Value)[] = [
  (a, b) => a.add(b),
  (a, b) => a.sub(b),
  (a, b) => a.mul(b),
  (a, b) => a.and(b),
  (a, b) => a.or(b),
  (a, b) => a.xor(b),
  (a, b) => a.shl(b),
  (a, b) => a.shru(b),
  (a, b) => a.shrs(b),
  (a, b) => a.rotl(b),
];
const COMPARE: readonly ((a: Value, b: Value) => Value)[] = [
  (a, b) => a.eq(b),
  (a, b) => a.ne(b),
  (a, b) => a.ltu(b),
  (a, b) => a.ges(b),
];

/** Builds one random expression from leaves; called twice with the same random numbers it builds the same one. */
function expression(type: IntegerType, depth: number, leaf: (type: IntegerType) => Value): Value {
  if (depth === 0) return leaf(type);
  const sub = (t: IntegerType = type) => expression(t, depth - 1, leaf);
  switch (random(8)) {
    case 0:
      return type === 'i32' ? sub('i64').i32() : random(2) ? sub('i32').u64() : sub('i32').s64();
    case 1: {
      const from: IntegerType = random(2) ? 'i32' : 'i64';
      const compared = random(3)
        ? COMPARE[random(COMPARE.length)]!(sub(from), sub(from))
        : sub(from).eqz();
      return type === 'i32' ? compared : compared.u64();
    }
    case 2:
      return sub().not();
    case 3:
      return sub().neg();
    case 4:
      return sub().sext([8, 16, 32][random(3)]!).zext([8, 16, 32][random(3)]!);
    default:
      return BINARY[random(BINARY.length)]!(sub(), sub());
  }
}

test('expressions of constants fold to what WebAssembly computes from variables', () => {
  const cases: { ref: FunctionRef; args: bigint[]; types: IntegerType[]; folded: Value }[] = [];
  for (let n = 0; n < 400; n++) {
    const seed = state;
    const types: IntegerType[] = [];
    const args: bigint[] = [];
    const type: IntegerType = n % 2 ? 'i32' : 'i64';
    const folded = expression(type, 1 + (n % 4), (t) => {
      const value = randomBits();
      types.push(t);
      args.push(t === 'i32' ? BigInt.asIntN(32, value) : BigInt.asIntN(64, value));
      return constant(t, t === 'i32' ? Number(BigInt.asIntN(32, value)) : BigInt.asIntN(64, value));
    });
    const after = state;
    const ref = fn(`expression${n}`, {
      params: Object.fromEntries(types.map((t, i) => [`p${i}`, t])),
      result: type,
      build(l, params) {
        state = seed;
        let next = 0;
        l.return(
          expression(type, 1 + (n % 4), () => {
            randomBits();
            return params[`p${next++}`]!;
          }),
        );
        state = after;
      },
    });
    cases.push({ ref, args, types, folded });
  }
  // The folded ones, where not all of it folds, are computed too.
  const constants = cases.map(({ folded }, n) =>
    fn(`constant${n}`, { params: {}, result: folded.type, build: (l) => l.return(folded) }),
  );
  const { run } = compile([...cases.map((c) => c.ref), ...constants]);
  let foldedCount = 0;
  cases.forEach(({ ref, args, types, folded }, n) => {
    const bits = folded.type === 'i64' ? 64 : 32;
    const want = BigInt.asUintN(
      bits,
      BigInt(run(ref.name, ...args.map((a, i) => (types[i] === 'i32' ? Number(a) : a)))!),
    );
    assert.equal(BigInt.asUintN(bits, BigInt(run(`constant${n}`)!)), want, `expression ${n}`);
    const known = constantOf(folded);
    if (known === undefined) return;
    foldedCount++;
    assert.equal(BigInt.asUintN(bits, known), want, `expression ${n}`);
  });
  assert.ok(foldedCount > 100, `${foldedCount} folded`);
});

test('operations with a neutral constant give the value itself', () => {
  const l64 = constant('i64', 5n);
  assert.equal(l64.add(0), l64);
  assert.equal(l64.shl(0n), l64);
  assert.equal(l64.i32().i32().type, 'i32');
  assert.equal(constant('i32', 7).sext(32).node.kind, 'const');
});

test('operands of the wrong type, and too many, are refused where they are written', () => {
  const [a, b] = [constant('i32', 1), constant('i64', 1n)];
  assert.throws(() => a.add(b), /i32\.add: operand 1 is i64, not i32/);
  assert.throws(() => op('i64.eqz', a), /i64\.eqz: operand 0/);
  assert.throws(() => op('i32.add', a), /1 operands/);
  assert.throws(() => op('i32.store', a, a), /gives no value/);
});

// --- reads, variables, control flow ---

/** Compiles one function of i32 parameters and runs it. */
function i32Function(
  count: number,
  build: (l: Lift, args: Value[]) => void,
): (...args: number[]) => number {
  const ref = fn('f', {
    params: Object.fromEntries(Array.from({ length: count }, (_, n) => [`p${n}`, 'i32' as const])),
    result: 'i32',
    build: (l, args) => build(l, Object.values(args)),
  });
  const { run } = compile([ref]);
  return (...args) => run('f', ...args) as number;
}

test('a read of the state is what it was then, whatever is written later', () => {
  const f = i32Function(1, (l, [x]) => {
    l.set(S.mxcsr, x!);
    const before = l.get(S.mxcsr);
    const sum = before.add(1);
    l.set(S.mxcsr, 100);
    l.return(sum.mul(1000).add(l.get(S.mxcsr)));
  });
  assert.equal(f(5), 6100);
});

test('a read of a variable is what it was then', () => {
  const f = i32Function(1, (l, [x]) => {
    const v = l.var('i32', x!);
    const first = v.get();
    v.set(v.get().add(10));
    const second = v.get();
    l.if(x!, () => v.set(0));
    l.return(first.mul(100).add(second).add(v.get()));
  });
  assert.equal(f(3), 313);
  assert.equal(f(0), 20);
});

test('the value of a call is computed once, however often it is used', () => {
  let calls = 0;
  const next = imported('next', {}, 'i32');
  const ref = fn('f', {
    params: {},
    result: 'i32',
    build(l) {
      const value = l.call(next);
      l.return(value.mul(10).add(value));
    },
  });
  const { run } = compile([ref], { next: () => ++calls });
  assert.equal(run('f'), 11);
  assert.equal(calls, 1);
});

test('select computes both, choose only the arm that is taken', () => {
  const log: number[] = [];
  const note = imported('note', { n: 'i32' }, 'i32');
  const ref = fn('f', {
    params: { x: 'i32' },
    result: 'i32',
    build: (l, { x }) =>
      l.return(
        l
          .choose(
            x,
            'i32',
            () => l.call(note, 1),
            () => l.call(note, 2),
          )
          .add(l.select(x, l.call(note, 3), l.call(note, 4))),
      ),
  });
  const { run } = compile([ref], {
    note: (_cpu: number, n: number) => {
      log.push(n);
      return n;
    },
  });
  assert.equal(run('f', 1), 4);
  assert.equal(run('f', 0), 6);
  assert.deepEqual(log, [1, 3, 4, 2, 3, 4]);
});

test('conditions that are known leave one arm, and nothing of the other', () => {
  const f = i32Function(0, (l) => {
    l.if(
      l.i32(0),
      () => assert.fail('lifted'),
      () => {},
    );
    l.switch(l.i32(1), [() => assert.fail('lifted'), () => {}]);
    l.return(
      l.select(l.i32(1), 5, 6).add(
        l.choose(
          l.i32(0),
          'i32',
          () => assert.fail('lifted'),
          () => l.i32(1),
        ),
      ),
    );
  });
  assert.equal(f(), 6);
});

test('switches: each case, what lies beyond, and returns from within', () => {
  const f = i32Function(1, (l, [x]) => {
    const v = l.var('i32', 1000);
    l.switch(
      x!,
      [
        () => v.set(1),
        () => {},
        () => l.return(-2),
        () => l.switch(x!.sub(3), [() => v.set(33)], () => v.set(44)),
      ],
      () => v.set(9),
    );
    l.return(v.get());
  });
  assert.deepEqual(
    [0, 1, 2, 3, 4, -1].map((n) => f(n)),
    [1, 1000, -2, 33, 9, 9],
  );
});

test('loops in blocks in loops: continue, leave and return from any depth', () => {
  // The sum of the odd numbers below n, stopping for good at 21.
  const f = i32Function(1, (l, [n]) => {
    const [i, sum] = [l.var('i32', 0), l.var('i32', 0)];
    l.block((leave) => {
      l.loop((again, done) => {
        const k = i.get();
        l.if(k.ges(n!), done);
        i.set(k.add(1));
        l.if(k.and(1).eqz(), again);
        l.if(k.eq(21), leave);
        const inner = l.var('i32', k);
        l.while(
          () => inner.get().gts(0),
          () => {
            inner.set(inner.get().sub(1));
            sum.set(sum.get().add(1));
          },
        );
        again();
      });
      sum.set(sum.get().add(10_000));
    });
    l.return(sum.get());
  });
  const want = (n: number) => {
    let sum = 0;
    for (let k = 1; k < n; k += 2) {
      if (k === 21) return sum;
      sum += k;
    }
    return sum + 10_000;
  };
  for (const n of [0, 1, 2, 10, 21, 22, 100]) assert.equal(f(n), want(n), `${n}`);
});

// --- faults ---

const raiser = fn('raiser', {
  params: { x: 'i32' },
  result: 'i32',
  faults: true,
  build(l, { x }) {
    l.raiseIf(x.eq(7), 13, x.add(1));
    l.raiseIf(x.eq(8), 6);
    l.return(x);
  },
});
const middle = fn('middle', {
  params: { x: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { x }) {
    const v = l.call(raiser, x);
    l.set(S.cr2, 0x111n);
    l.return(v.u64());
  },
});
const outer = fn('outer', {
  params: { x: 'i32' },
  faults: true,
  build(l, { x }) {
    l.while(
      () => l.i32(1).and(x).or(1),
      () => {
        l.call(middle, x);
        l.set(S.cr3, 0x222n);
        l.return();
      },
    );
  },
});
const attempting = fn('attempting', {
  params: { x: 'i32' },
  result: 'i32',
  build(l, { x }) {
    l.attempt(outer, x);
    l.return(l.get(S.fault));
  },
});

test('a fault leaves all callers at once, and the state says which it was', () => {
  const { run, view } = compile([outer, attempting]);
  const field = (f: { offset: number }) => view.getUint32(CPU_BASE + f.offset, true);
  run('outer', 5);
  assert.deepEqual([field(S.fault), field(S.cr2), field(S.cr3)], [0, 0x111, 0x222]);
  const fresh = compile([outer, attempting]);
  const now = (f: { offset: number }) => fresh.view.getUint32(CPU_BASE + f.offset, true);
  fresh.run('outer', 7);
  assert.deepEqual(
    [now(S.fault), now(S.faultCode), now(S.cr2), now(S.cr3)],
    [FAULT_PENDING | FAULT_HAS_CODE | 13, 8, 0, 0],
  );
  fresh.view.setUint32(CPU_BASE + S.fault.offset, 0, true);
  assert.equal(fresh.run('attempting', 8), FAULT_PENDING | 6);
});

test('what may fault must be declared so', () => {
  const undeclared = fn('undeclared', { params: {}, build: (l) => l.raise(6) });
  assert.throws(() => compile([undeclared]), /not declared to fault/);
  const calling = fn('calling', { params: {}, build: (l) => l.run(outer, 1) });
  assert.throws(() => compile([calling]), /outer in a function that is not declared/);
});

test('functions are told apart by name, and calls are checked', () => {
  const twin = fn('raiser', { params: {}, build: () => {} });
  const both = fn('both', {
    params: {},
    faults: true,
    build: (l) => [l.run(twin), l.run(raiser, 1)],
  });
  assert.throws(() => compile([both]), /two functions are named raiser/);
  const few = fn('few', { params: {}, faults: true, build: (l) => void l.run(raiser) });
  assert.throws(() => compile([few]), /raiser: 0 arguments/);
  const wrong = fn('wrong', {
    params: {},
    faults: true,
    build: (l) => void l.run(raiser, l.i64(1)),
  });
  assert.throws(() => compile([wrong]), /raiser: argument 0 is i64/);
  const jumps = fn('jumps', { params: {}, build: (l) => l.exit('jump') });
  assert.throws(() => compile([jumps]), /'jump' outside an instruction/);
  assert.equal(newLocal('i32', 3).parameter, 3);
});

test('atomics, bulk memory and vectors', () => {
  const ref = fn('f', {
    params: { x: 'i64' },
    result: 'i64',
    build(l, { x }) {
      const at = l.i32(256);
      l.storeRaw('i64.store', at, 0, x);
      const old = l.atomic('i64.atomic.rmw.add', at, 0, l.i64(5));
      l.effect('memory.copy', l.i32(512), at, l.i32(8));
      const vector = l.op('i64x2.splat', l.loadRaw('i64.load', l.i32(500), 12));
      l.return(l.lanes('i64x2.extract_lane', [1], vector).sub(old));
    },
  });
  assert.equal(compile([ref]).run('f', 37n), 5n);
});
