// Random programs in the lift language: what the emitter makes of them does the same as a plain evaluator. The emitter
// gives a local's place to another once its scope is over; a program that then read it would differ.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GPR, S } from '../state/layout.ts';
import { Emitter } from './emit.ts';
import { type FunctionRef, fn } from './function.ts';
import { newLocal } from './lift.ts';
import { Evaluator } from './testing/evaluate.ts';
import { Program, Random } from './testing/random-program.ts';
import { build, CPU_BASE, compile } from './testing/run.ts';
import { verify } from './verify.ts';

const PROGRAMS = 80;
const INPUTS = 5;
const DEPTH_MAX = 4;

function program(name: string, seed: number, callees: readonly FunctionRef[]): FunctionRef {
  return fn(name, {
    params: { a: 'i32', b: 'i64' },
    result: 'i64',
    build(l, { a, b }) {
      const p = new Program(l, new Random(seed), [a, b], callees);
      p.scope(DEPTH_MAX);
      l.if(p.value('i32').and(1), () => l.return(p.value('i64')));
      l.return(p.value('i64'));
    },
  });
}

const STATE = [S.gpr.offset, S.mxcsr.offset + 4] as const;

test('random programs do on WebAssembly what they do on the evaluator', () => {
  const leaves = [program('leaf0', 11, []), program('leaf1', 12, [])];
  const programs = Array.from({ length: PROGRAMS }, (_, n) =>
    program(`program${n}`, 1000 + n * 7919, leaves),
  );
  const { bytes, run } = compile(programs);
  const random = new Random(99);
  for (const ref of programs) {
    assert.deepEqual(
      verify(build(ref).statements, { result: 'i64', exits: [], mustEnd: true }),
      [],
      ref.name,
    );
    for (let n = 0; n < INPUTS; n++) {
      for (let r = 0; r < Object.keys(GPR).length * 8; r++)
        bytes[CPU_BASE + S.gpr.offset + r] = random.below(256);
      const [a, b] = [
        random.below(2 ** 32),
        (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32)),
      ];
      const evaluator = new Evaluator(bytes);
      const want = evaluator.call(ref, [BigInt(a), b]);
      assert.equal(
        BigInt.asUintN(64, run(ref.name, a | 0, BigInt.asIntN(64, b)) as bigint),
        want,
        `${ref.name}, input ${n}`,
      );
      const state = (memory: Uint8Array) => memory.slice(CPU_BASE + STATE[0], CPU_BASE + STATE[1]);
      assert.deepEqual(state(bytes), state(evaluator.memory), `${ref.name}, input ${n}`);
    }
  }
});

test('locals of scopes that are over are used again', () => {
  const ref = fn('f', {
    params: { x: 'i32' },
    result: 'i32',
    build(l, { x }) {
      const sum = l.var('i32', 0);
      for (let n = 0; n < 200; n++) {
        l.if(x.eq(n), () => {
          const a = l.let(x.add(n));
          sum.set(sum.get().add(a.mul(a)));
        });
      }
      l.return(sum.get());
    },
  });
  const { run } = compile([ref]);
  assert.deepEqual([run('f', 0), run('f', 3), run('f', 199), run('f', 200)], [0, 36, 398 * 398, 0]);
});

test('a local that is read right behind its set is kept on the stack by a tee', () => {
  const ref = fn('f', {
    params: { x: 'i32' },
    result: 'i32',
    build(l, { x }) {
      const sum = l.let(x.add(5));
      l.return(sum.mul(sum));
    },
  });
  const emitter = new Emitter({
    params: ['i32', 'i32'],
    functionIndex: () => 0,
    exit: () => undefined,
  });
  emitter.body(build(ref).statements);
  // local.get 1, i32.const 5, i32.add, local.tee 2, local.get 2, i32.mul, return
  const want = [0x20, 1, 0x41, 5, 0x6a, 0x22, 2, 0x20, 2, 0x6c, 0x0f];
  assert.deepEqual([...emitter.finish().code], want);
  assert.equal(compile([ref]).run('f', 2), 49);
});

test('a place takes a local for its scope and no code', () => {
  const variable = newLocal('i64');
  const value = { kind: 'const', type: 'i64', value: 0n } as const;
  const emitter = new Emitter({ params: ['i32'], functionIndex: () => 0, exit: () => undefined });
  emitter.body([{ kind: 'set', local: variable, value, isPlace: true }]);
  const { code, locals } = emitter.finish();
  assert.equal(code.length, 0);
  assert.deepEqual(locals, ['i64']);
});
