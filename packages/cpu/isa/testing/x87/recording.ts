// Answers of a real processor kept in a file: for each case what changed against its input,
// gzipped. Cases are not kept: the generator makes the same ones again from their seed.

import { gunzipSync, gzipSync } from 'node:zlib';
import { parseImage, type Register, type X87Case, type X87Outcome } from './case.ts';

const physical = (registers: readonly Register[], status: number): Register[] => {
  const top = (status >> 11) & 7;
  return registers.map((_, n) => registers[(n - top) & 7]!);
};

/**
 * Control, status, tag word and flags, then changed registers with a bit map, then changed bytes of
 * memory.
 */
export function encode(cases: readonly X87Case[], answers: readonly X87Outcome[]): Uint8Array {
  const bytes: number[] = [];
  const number = (value: bigint | number, size: number) => {
    for (let n = 0; n < size; n++) bytes.push(Number((BigInt(value) >> BigInt(8 * n)) & 0xffn));
  };
  cases.forEach((c, n) => {
    const { state, memory, rflags } = answers[n]!;
    const before = parseImage(c.image);
    for (const word of [state.control, state.status, state.tags, rflags]) number(word, 2);
    const old = physical(before.registers, before.status);
    const now = physical(state.registers, state.status);
    const changed = now.map(
      (r, i) => r.significand !== old[i]!.significand || r.signExponent !== old[i]!.signExponent,
    );
    number(
      changed.reduce((map, is, i) => map | (is ? 1 << i : 0), 0),
      1,
    );
    now.forEach((r, i) => {
      if (!changed[i]) return;
      number(r.significand, 8);
      number(r.signExponent, 2);
    });
    let length = memory.length;
    while (length && memory[length - 1] === c.memory[length - 1]) length--;
    number(length, 1);
    bytes.push(...memory.subarray(0, length));
  });
  return gzipSync(Uint8Array.from(bytes), { level: 9 });
}

export function decode(cases: readonly X87Case[], file: Uint8Array): X87Outcome[] {
  const bytes = gunzipSync(file);
  let at = 0;
  const number = (size: number): bigint => {
    let value = 0n;
    for (let n = 0; n < size; n++) value |= BigInt(bytes[at++]!) << BigInt(8 * n);
    return value;
  };
  const word = () => Number(number(2));
  return cases.map((c) => {
    const before = parseImage(c.image);
    const [control, status, tags, rflags] = [word(), word(), word(), word()] as const;
    const registers = physical(before.registers, before.status);
    const changed = Number(number(1));
    for (let n = 0; n < 8; n++) {
      if ((changed >> n) & 1) registers[n] = { significand: number(8), signExponent: word() };
    }
    const top = (status >> 11) & 7;
    const memory = Uint8Array.from(c.memory);
    const length = Number(number(1));
    memory.set(bytes.subarray(at, at + length));
    at += length;
    const inOrder = registers.map((_, i) => registers[(i + top) & 7]!);
    return { state: { control, status, tags, registers: inOrder }, memory, rflags };
  });
}
