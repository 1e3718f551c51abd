// Which values count as how far apart: right modulo 4 GiB, whatever was made of them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newLocal } from '../../lift/lift.ts';
import { constant, Value } from '../../lift/value.ts';
import { AffineValues } from './affine.ts';

/** A register, what 32 bits of it and 8 are, cut to 32 bits and not. */
function sums() {
  const register = new Value({ kind: 'local', type: 'i64', local: newLocal('i64') });
  const low = register.i32().u64();
  return { register, low, cut: register.i32().add(8).u64(), uncut: low.add(8n) };
}

test('a sum that is cut to 32 bits is as far from its parts as before, modulo 4 GiB', () => {
  const values = new AffineValues(new Set());
  const { low, cut, uncut } = sums();
  const of = ({ node }: Value) => values.of(node);
  assert.deepEqual(of(cut), { root: of(low).root, plus: 8 });
  assert.deepEqual(of(uncut), of(cut));
  const base = new Value({ kind: 'local', type: 'i64', local: newLocal('i64') });
  const scaled = (value: Value) => of(base.add(value.shl(3)));
  assert.deepEqual(scaled(cut), scaled(uncut));
});

test('what depends on more than 32 bits of a sum does not count as the same', () => {
  const values = new AffineValues(new Set());
  const { cut, uncut } = sums();
  const base = new Value({ kind: 'local', type: 'i64', local: newLocal('i64') });
  // The sum may be 0 in the one and 4 GiB in the other: 2 MiB apart, as an empty TLB entry's tag is from its page.
  const shifted = (value: Value) => values.of(base.add(value.shru(11)).node).root;
  assert.notEqual(shifted(cut), shifted(uncut));
  const compared = (value: Value) => values.of(value.gtu(constant('i64', 5n)).u64().node).root;
  assert.notEqual(compared(cut), compared(uncut));
});
