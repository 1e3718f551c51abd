// How often code looks at the TLB: accesses off one base share a look, with flat segments as in 64-bit code.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printStatements } from '../../lift/print.ts';
import { TLB_INDEX } from '../../microcode/tlb.ts';
import { DECODING_MODE } from '../../state/decoding-mode.ts';
import { optimise } from './index.ts';
import { blocksOf } from './testing/blocks.ts';

function looksIn(code: readonly number[], mode: number): { looks: number; count: number } {
  const page = new Uint8Array(4096).fill(0xf4);
  page.set(code);
  const { statements, context, count } = blocksOf(page, [0], { mode })[0]!;
  const text = printStatements(optimise(statements, context));
  return { looks: text.split(`, 0x${TLB_INDEX.mask.toString(16)})`).length - 1, count };
}

/** The same code but for REX.W: looks at the TLB, of so many accesses. */
const CODE: readonly {
  readonly what: string;
  readonly looks: number;
  readonly flat: readonly number[];
  readonly long: readonly number[];
}[] = [
  {
    what: 'a function begins: push ebp; mov ebp,esp; push ebx; sub esp,20; mov eax,[ebp+8]; mov ecx,[ebp+12]',
    looks: 1,
    flat: [0x55, 0x89, 0xe5, 0x53, 0x83, 0xec, 20, 0x8b, 0x45, 8, 0x8b, 0x4d, 12],
    long: [0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x83, 0xec, 20, 0x8b, 0x45, 8, 0x8b, 0x4d, 12],
  },
  {
    what: 'fields of two records: mov eax,[ebx]; mov [esi],eax; mov eax,[ebx+4]; mov [esi+8],eax',
    looks: 2,
    flat: [0x8b, 0x03, 0x89, 0x06, 0x8b, 0x43, 4, 0x89, 0x46, 8],
    long: [0x8b, 0x03, 0x89, 0x06, 0x8b, 0x43, 4, 0x89, 0x46, 8],
  },
  {
    what: 'a pointer moves on: mov eax,[ebx]; add ebx,4; mov ecx,[ebx]',
    looks: 1,
    flat: [0x8b, 0x03, 0x83, 0xc3, 4, 0x8b, 0x0b],
    long: [0x8b, 0x03, 0x48, 0x83, 0xc3, 4, 0x8b, 0x0b],
  },
];

for (const { what, looks, flat, long } of CODE)
  test(`accesses share looks where ${what}`, () => {
    const inFlat = looksIn(flat, DECODING_MODE.flat32);
    assert.deepEqual(inFlat, { ...looksIn(long, DECODING_MODE.code64), looks });
  });
