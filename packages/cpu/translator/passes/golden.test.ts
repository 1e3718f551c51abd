// What each pass makes of small lists of statements, and all of them of some machine code, as golden texts.
// To be updated with MIMIC_UPDATE_GOLDEN=1 when a pass or the language changes; the diff is for review.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { inlined } from '../../interpreter/access.ts';
import type { Local, Statement } from '../../lift/ir.ts';
import { Lift, newLocal } from '../../lift/lift.ts';
import { printStatements } from '../../lift/print.ts';
import { Value } from '../../lift/value.ts';
import { verify } from '../../lift/verify.ts';
import { multiplyHighSigned } from '../../microcode/divide.ts';
import { updateMode } from '../../microcode/mode.ts';
import { checkUnit } from '../../microcode/unit-check.ts';
import { DECODING_MODE } from '../../state/decoding-mode.ts';
import { S } from '../../state/layout.ts';
import { removeDead } from './dead.ts';
import { optimise } from './index.ts';
import type { Pass, PassContext } from './pass.ts';
import { propagate } from './propagate.ts';
import { simplify } from './simplify.ts';
import { shareSubexpressions } from './subexpressions.ts';
import { blocksOf } from './testing/blocks.ts';
import { buildTrees } from './tree.ts';

/** Builds with three registers: two of 64 bits and a flag of 32. */
type Build = (l: Lift, r: { a: Register; b: Register; flag: Register }) => void;
interface Register {
  readonly get: Value;
  set(value: Value): void;
  readonly local: Local;
}

function checkGolden(
  name: string,
  cases: readonly {
    what: string;
    before: readonly Statement[];
    context: PassContext;
    given: readonly Local[];
  }[],
  pass: Pass,
): void {
  const text = cases
    .map(({ what, before, context, given }) => {
      const after = pass(before, context);
      const options = { result: undefined, exits: ['fault', 'jump'] as const, given };
      assert.deepEqual(verify(before, options), [], what);
      assert.deepEqual(verify(after, options), [], what);
      return `; ${what}\n${printStatements(before)}; =>\n${printStatements(after)}`;
    })
    .join('\n');
  const file = new URL(`golden/${name}.txt`, import.meta.url);
  if (process.env.MIMIC_UPDATE_GOLDEN) writeFileSync(file, text);
  assert.equal(text, readFileSync(file, 'utf8'), name);
}

function check(
  name: string,
  pass: Pass,
  builds: Readonly<Record<string, Build>>,
  more: (locals: Readonly<Record<'a' | 'b' | 'flag', Local>>) => Partial<PassContext> = () => ({}),
): void {
  const cases = Object.entries(builds).map(([what, build]) => {
    const l = new Lift({ cpu: newLocal('i32', 0), access: inlined, mayFault: true });
    const register = (type: 'i32' | 'i64'): Register => {
      const local = newLocal(type);
      const get = new Value({ kind: 'local', type, local });
      return { get, set: (value) => l.assign(local, value), local };
    };
    const registers = { a: register('i64'), b: register('i64'), flag: register('i32') };
    build(l, registers);
    const locals = {
      a: registers.a.local,
      b: registers.b.local,
      flag: registers.flag.local,
    };
    const context = { mutable: new Set(Object.values(locals)), ...more(locals) };
    return { what, before: l.statements, context, given: Object.values(locals) };
  });
  checkGolden(name, cases, pass);
}

test('propagate reads what a local was copied from while that lasts', () => {
  check('propagate', propagate, {
    'a copy of a register, until the register is set'(l, { a, b }) {
      const copy = l.let(a.get);
      b.set(copy.add(1));
      a.set(b.get);
      b.set(copy.add(2));
    },
    'a register that took a value stands for it'(l, { a, b, flag }) {
      const sum = l.let(a.get.add(b.get));
      a.set(sum);
      flag.set(sum.eqz());
      a.set(l.i64(7));
      b.set(a.get.add(sum));
    },
    'what an arm sets is not known behind it, unless the arm leaves'(l, { a, b, flag }) {
      const [x, y] = [l.let(a.get), l.let(b.get)];
      l.if(flag.get, () => a.set(l.i64(1)));
      l.if(flag.get, () => {
        b.set(l.i64(1));
        l.exit('jump');
      });
      a.set(x.add(y));
    },
    'what one arm extended is not known in the other, nor behind one that leaves'(
      l,
      { a, b, flag },
    ) {
      const narrow = l.var('i32', b.get.i32());
      narrow.set(b.get.shru(8).i32());
      l.if(
        flag.get,
        () => {
          a.set(narrow.get().u64());
          l.exit('jump');
        },
        () => flag.set(a.get.i32()),
      );
      flag.set(a.get.i32());
    },
    'half of what was extended'(l, { a, b, flag }) {
      const narrow = l.var('i32', b.get.i32());
      l.if(flag.get, () => {
        a.set(narrow.get().u64());
        flag.set(a.get.i32());
      });
      flag.set(a.get.i32());
      a.set(narrow.get().s64());
      flag.set(a.get.i32());
      narrow.set(1);
      flag.set(a.get.i32().add(narrow.get()));
    },
    'a loop sets before it is entered again'(l, { a, b }) {
      const copy = l.let(a.get);
      l.loop((again) => {
        b.set(copy);
        a.set(b.get.add(1));
        l.if(b.get.eqz(), again);
      });
    },
  });
});

test('simplify folds constants, drops masks that change nothing, and turns tests', () => {
  check('simplify', simplify, {
    'extension and truncation of what is narrow'(_l, { a, b }) {
      a.set(b.get.i32().add(1).u64().i32().u64());
      b.set(a.get.i32().u64().and(0xffff_ffffn));
    },
    'a byte put into a register and read from it'(_l, { a, b }) {
      const put = b.get.and(~0xffn).or(a.get.i32().and(0xff).u64().and(0xffn));
      a.set(put.shru(8).i32().and(0xff).u64());
      b.set(put.i32().and(0xff).u64());
    },
    'tests of tests'(l, { a, b, flag }) {
      flag.set(a.get.sub(b.get).eqz().eqz());
      l.if(
        a.get.i32().s64().eqz(),
        () => {},
        () => b.set(l.i64(0)),
      );
      l.if(
        flag.get.and(1).eqz().eqz(),
        () => a.set(l.i64(1)),
        () => a.set(l.i64(2)),
        false,
      );
    },
    'constants found late'(l, { a, b }) {
      const zero = l.op('i64.sub', a.get, a.get);
      l.if(
        zero.eqz(),
        () => b.set(l.i64(3).add(zero.or(4n))),
        () => l.raise(6),
      );
    },
    'what a narrow store keeps'(l, { a }) {
      l.storeRaw('i32.store8', l.i32(64), 0, a.get.i32().and(0xff).sext(8));
    },
  });
});

test('dead removes what nobody reads', () => {
  check(
    'dead',
    removeDead,
    {
      'a set before another, but not across an exit'(l, { a, b, flag }) {
        a.set(b.get);
        flag.set(l.i32(1));
        l.if(b.get.eqz(), () => l.exit('jump'));
        a.set(l.i64(2));
        flag.set(l.i32(2));
      },
      'both arms set'(l, { a, b }) {
        b.set(l.i64(5));
        const kept = l.var('i64', a.get.add(1));
        l.if(
          a.get.eqz(),
          () => kept.set(l.i64(1)),
          () => kept.set(l.i64(2)),
        );
        b.set(kept.get());
      },
      'a load, but not a call'(l, { a }) {
        l.loadRaw('i64.load', a.get.i32());
        l.load(8, a.get);
      },
      'a call that only computes, with the test that chose it, but not others'(l, { a, b }) {
        l.choose(
          a.get.eqz(),
          'i64',
          () => l.call(multiplyHighSigned, a.get, b.get),
          () => b.get,
        );
        l.run(updateMode);
      },
      'what control does not reach, and tests of nothing'(l, { a, b }) {
        l.if(a.get.eqz(), () => l.let(b.get));
        a.set(l.i64(1));
        l.exit('fault');
        b.set(l.i64(1));
      },
    },
    ({ a, b }) => ({ liveAtExit: () => new Set([a, b]) }),
  );
});

test('tree moves a value into its only use, unless something between could change it', () => {
  check('tree', buildTrees, {
    'sums in sums'(l, { a, b }) {
      const x = l.let(a.get.add(1));
      const y = l.let(x.mul(b.get));
      a.set(l.let(y.xor(x.type === 'i64' ? b.get : 0)));
    },
    'a register that is set between'(l, { a, b }) {
      const x = l.let(a.get.add(1));
      const y = l.let(b.get.add(1));
      a.set(l.i64(0));
      b.set(x.add(y));
    },
    'loads and stores'(l, { a, b }) {
      const x = l.loadRaw('i64.load', a.get.i32());
      const y = l.get(S.rip);
      const z = l.loadRaw('i64.load', b.get.i32());
      b.set(z);
      a.set(x.add(y));
      const w = l.loadRaw('i64.load', a.get.i32());
      l.storeRaw('i64.store', b.get.i32(), 0, a.get);
      a.set(w);
    },
    'a load of the state and a store to it'(l, { a, b }) {
      const before = l.get(S.rip);
      const kept = l.get(S.cr2);
      a.set(kept);
      l.set(S.rip, b.get);
      b.set(before);
    },
    'into an arm, not into a loop'(l, { a, b, flag }) {
      const [x, y] = [l.let(a.get.add(1)), l.let(a.get.mul(b.get))];
      l.if(flag.get, () => flag.set(x.i32()));
      l.loop((again) => {
        a.set(y);
        l.if(a.get.eqz(), again);
      });
    },
  });
});

test('subexpressions are computed once while what they read lasts', () => {
  check('subexpressions', shareSubexpressions, {
    'addresses and the TLB, across slow paths'(l, { a }) {
      l.load(4, a.get.add(8));
      l.store(4, a.get.add(8), l.i32(1));
    },
    'until the register is set, or the state'(l, { a, b }) {
      const sum = l.let(a.get.add(b.get));
      const base = l.get(S.segBase, 4);
      b.set(l.let(a.get.add(b.get)).add(sum).add(base));
      l.set(S.segBase, 0n, 4);
      a.set(l.let(a.get.add(b.get)).add(l.get(S.segBase, 4)));
    },
    // A check behind a test, one that is dominated by the first, and one behind a store to the trap field.
    'a unit that was found usable is not checked again'(l, r) {
      l.if(r.flag.get, () => checkUnit(l, 'sse'));
      checkUnit(l, 'sse');
      r.a.set(l.i64(1));
      checkUnit(l, 'sse');
      l.if(r.flag.get, () => checkUnit(l, 'sse'));
      checkUnit(l, 'mmx');
      l.set(S.fpuTrap, r.flag.get);
      checkUnit(l, 'sse');
    },
    'not from an arm'(l, { a, b, flag }) {
      l.if(flag.get, () => b.set(l.let(a.get.mul(3))));
      b.set(l.let(a.get.mul(3)));
    },
  });
});

// --- all of them, on machine code ---

const CODE: Readonly<Record<string, readonly number[]>> = {
  'mov eax, edi; add eax, esi; mov ecx, eax': [0x89, 0xf8, 0x01, 0xf0, 0x89, 0xc1],
  'push rbp; mov rbp, rsp': [0x55, 0x48, 0x89, 0xe5],
  'movzx eax, byte [rdi+1]; mov [rdi+1], al': [0x0f, 0xb6, 0x47, 0x01, 0x88, 0x47, 0x01],
  'xor eax, eax; cmp byte [rsi], 0; jne +2': [0x31, 0xc0, 0x80, 0x3e, 0x00, 0x75, 0x02],
  'add [rbx], ecx; add ah, al': [0x01, 0x0b, 0x00, 0xc4],
  'push rbx; push rbp; mov eax, [rdi+8]; mov [rdi+12], eax; mov cl, [rdi]': [
    0x53, 0x55, 0x8b, 0x47, 0x08, 0x89, 0x47, 0x0c, 0x8a, 0x0f,
  ],
};

const FLAT_CODE: Readonly<Record<string, readonly number[]>> = {
  'push ebp; mov ebp, esp; push ebx; mov eax, [ebp+8]': [0x55, 0x89, 0xe5, 0x53, 0x8b, 0x45, 0x08],
  'mov eax, [ecx+edx*4-4]; mov [ecx+edx*4], al': [0x8b, 0x44, 0x91, 0xfc, 0x88, 0x04, 0x91],
  'mov ax, [bx+si]': [0x67, 0x66, 0x8b, 0x00],
};

function checkMachineCode(
  name: string,
  code: Readonly<Record<string, readonly number[]>>,
  mode: number,
): void {
  const cases = Object.entries(code).map(([what, bytes]) => {
    const page = new Uint8Array(4096).fill(0xf4);
    page.set(bytes);
    const { statements, context, places } = blocksOf(page, [0], { mode })[0]!;
    return { what, before: statements, context, given: places.map((place) => place.local) };
  });
  checkGolden(name, cases, optimise);
}

test('all passes on machine code', () =>
  checkMachineCode('machine-code', CODE, DECODING_MODE.code64));

test('all passes on machine code of flat segments: nothing checks DS and SS', () =>
  checkMachineCode('flat-code', FLAT_CODE, DECODING_MODE.flat32));
