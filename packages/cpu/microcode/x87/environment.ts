// The x87 environment and state in memory: FSTENV, FLDENV, FSAVE, FRSTOR in their four formats. SDM
// vol 1 §8.1.10, figures 8-9 to 8-12. Linear addresses; the caller has made sure that all bytes are
// accessible.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { initialize, setControl, statusWord } from './move.ts';
import { isNormal, isZero } from './special.ts';
import { CW, physical, readRegister, SW, setStatus, writeRegister } from './state.ts';

/** Bytes of the environment by operand size. */
export const ENVIRONMENT_BYTES = { 16: 14, 32: 28 } as const;
const REGISTER_BYTES = 10;
/** Bytes of FSAVE's area. */
export const STATE_BYTES = { 16: 94, 32: 108 } as const;
const EMPTY = 3;

/** The tag word with two bits a register: valid 0, zero 1, special 2, empty 3. SDM vol 1 §8.1.7. */
const tagWord: FunctionRef = fn('x87TagWord', {
  params: {},
  result: 'i32',
  build(l) {
    const tags = l.get(S.x87Tags);
    const word = l.var('i32', 0);
    for (let n = 7; n >= 0; n--) {
      const x = readRegister(l, l.i32(n));
      const special = l.select(isNormal(x), l.i32(0), 2);
      const kind = l.select(isZero(x), l.i32(1), special);
      word.set(
        word
          .get()
          .shl(2)
          .or(l.select(tags.shru(n).and(1), kind, l.i32(EMPTY))),
      );
    }
    l.return(word.get());
  },
});

/** Sets which registers are in use from a tag word; only empty and not empty count. */
function setTags(l: Lift, word: Value): void {
  const bits = Array.from({ length: 8 }, (_, n) =>
    word
      .shru(2 * n)
      .and(EMPTY)
      .ne(EMPTY)
      .shl(n),
  );
  l.set(
    S.x87Tags,
    bits.reduce((a, b) => a.or(b)),
  );
}

/** FSTENV. `real` is 1 for the formats of real and virtual-8086 mode. */
function storeEnvironment(bits: 16 | 32): FunctionRef {
  const bytes = bits === 16 ? 2 : 4;
  return fn(`x87StoreEnvironment${bits}`, {
    params: { linear: 'i64', real: 'i32' },
    faults: true,
    build(l, { linear, real }) {
      // The unused upper halves of 32-bit words read as ones.
      const fill = bits === 32 ? ~0xffff : 0;
      const put = (n: number, value: Value) => l.store(bytes, linear.add(BigInt(n * bytes)), value);
      const opcode = l.get(S.x87Opcode).and(0x7ff);
      const selectors = { code: l.get(S.x87InstructionSelector), data: l.get(S.x87DataSelector) };
      const fip = l.get(S.x87InstructionPointer).i32();
      const fdp = l.get(S.x87DataPointer).i32();
      put(0, l.get(S.x87Control).or(fill));
      put(1, statusWord(l).or(fill));
      put(2, l.call(tagWord).or(fill));
      l.if(
        real,
        () => {
          const ip = l.let(selectors.code.shl(4).add(fip));
          const dp = l.let(selectors.data.shl(4).add(fdp));
          const upper = (x: Value) =>
            x
              .shru(16)
              .shl(12)
              .and(bits === 16 ? 0xf000 : 0x0fff_f000);
          const lower = (x: Value) => x.and(0xffff).or(fill);
          put(3, lower(ip));
          put(4, upper(ip).or(opcode));
          put(5, lower(dp));
          put(6, upper(dp));
        },
        () => {
          put(3, fip);
          put(4, bits === 32 ? selectors.code.or(opcode.shl(16)) : selectors.code);
          put(5, fdp);
          put(6, selectors.data.or(fill));
        },
      );
    },
  });
}

/** FLDENV. Exceptions that are unmasked now wait for the next waiting instruction. */
function loadEnvironment(bits: 16 | 32): FunctionRef {
  const bytes = bits === 16 ? 2 : 4;
  return fn(`x87LoadEnvironment${bits}`, {
    params: { linear: 'i64', real: 'i32' },
    faults: true,
    build(l, { linear, real }) {
      const words = Array.from({ length: 7 }, (_, n) =>
        l.load(bytes, linear.add(BigInt(n * bytes))),
      );
      const [control, status, tags, ip, code, dp, data] = words as [
        Value, Value, Value, Value, Value, Value, Value,
      ]; // biome-ignore format: one line
      const upper = (x: Value) =>
        x
          .shru(12)
          .and(bits === 16 ? 0xf : 0xffff)
          .shl(16);
      const pointer = (low: Value, high: Value) =>
        l.select(real, low.and(0xffff).or(upper(high)), low).u64();
      l.set(S.x87InstructionPointer, pointer(ip, code));
      l.set(S.x87DataPointer, pointer(dp, data));
      l.set(S.x87InstructionSelector, l.select(real, l.i32(0), code.and(0xffff)));
      l.set(S.x87DataSelector, l.select(real, l.i32(0), data.and(0xffff)));
      const opcode = bits === 32 ? code.shru(16) : l.get(S.x87Opcode);
      l.set(S.x87Opcode, l.select(real, code, opcode).and(0x7ff));
      l.set(S.x87Top, status.shru(11).and(7));
      setTags(l, tags);
      l.set(S.x87Control, control.and(CW.writable).or(CW.fixed1));
      l.run(setStatus, status.and(SW.exceptions | SW.sf | SW.conditions));
    },
  });
}

interface Environment {
  /** Params: linear address, 1 for the formats of real and virtual-8086 mode. */
  readonly store: FunctionRef;
  readonly load: FunctionRef;
}
export const ENVIRONMENT: Readonly<Record<16 | 32, Environment>> = {
  16: { store: storeEnvironment(16), load: loadEnvironment(16) },
  32: { store: storeEnvironment(32), load: loadEnvironment(32) },
};

/** FNSTENV masks all exceptions when it is done. */
export function maskExceptions(l: Lift): void {
  l.run(setControl, l.get(S.x87Control).or(CW.masks));
}

/** FNSAVE's registers behind the environment, in stack order; then the unit is initialised. */
export const storeRegisters: FunctionRef = fn('x87StoreRegisters', {
  params: { linear: 'i64' },
  faults: true,
  build(l, { linear }) {
    for (let n = 0; n < 8; n++) {
      const x = readRegister(l, physical(l, n));
      // Word by word: the registers are aligned no better, and the image as a whole is what #AC is about.
      for (let k = 0; k < 8; k += 2) {
        const word = x.significand.shru(8 * k).i32();
        l.store(2, linear.add(BigInt(n * REGISTER_BYTES + k)), word);
      }
      l.store(2, linear.add(BigInt(n * REGISTER_BYTES + 8)), x.signExponent);
    }
    l.run(initialize);
  },
});

/** FRSTOR's registers; the environment, with TOP and tags, has been loaded. */
export const loadRegisters: FunctionRef = fn('x87LoadRegisters', {
  params: { linear: 'i64' },
  faults: true,
  build(l, { linear }) {
    const tags = l.get(S.x87Tags);
    for (let n = 0; n < 8; n++) {
      const word = (k: number) => l.load(2, linear.add(BigInt(n * REGISTER_BYTES + k)));
      const parts = [0, 2, 4, 6].map((k) =>
        word(k)
          .u64()
          .shl(8 * k),
      );
      writeRegister(l, physical(l, n), {
        significand: l.let(parts.reduce((sum, part) => sum.or(part))),
        signExponent: word(8),
      });
    }
    l.set(S.x87Tags, tags);
  },
});
