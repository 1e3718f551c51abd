// Each pass alone and all of them: what comes out is sound, does the same on WebAssembly as what went in, and is not
// longer. Golden texts of what each does are in golden.test.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recordedLines } from '../../decode/testing/samples.ts';
import { calls } from '../../interpreter/access.ts';
import { fn } from '../../lift/function.ts';
import type { Statement } from '../../lift/ir.ts';
import { Lift, newLocal } from '../../lift/lift.ts';
import { printStatements } from '../../lift/print.ts';
import { Program, Random } from '../../lift/testing/random-program.ts';
import { CPU_BASE, compile } from '../../lift/testing/run.ts';
import { op, Value } from '../../lift/value.ts';
import { verify } from '../../lift/verify.ts';
import { S, TLB_ENTRY } from '../../state/layout.ts';
import { RegisterLocals } from '../registers.ts';
import { optimise, PIPELINE } from './index.ts';
import type { Pass, PassContext } from './pass.ts';
import { simplify } from './simplify.ts';
import { blocksOf } from './testing/blocks.ts';
import { compileBlocks, GUEST_ADDRESS, type Runnable, TLB_ADDRESS } from './testing/run.ts';

const MEMORY_BYTES = 0x4_0000;
const INPUTS = 6;
const PAGE_BYTES = 4096;
/** Instructions of a block of recorded code. */
const BLOCK_LENGTH = 8;

const r64 = (random: Random): bigint =>
  (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));

const PASSES: readonly { readonly name: string; readonly pass: Pass }[] = [
  ...PIPELINE,
  { name: 'optimise', pass: optimise },
  { name: 'optimise twice', pass: (list, context) => optimise(optimise(list, context), context) },
];

interface Case extends Omit<Runnable, 'name'> {
  readonly context: PassContext;
  readonly what: string;
}

/** Random state and guest memory, and a TLB that finds most low addresses. */
function randomMemory(random: Random): Uint8Array {
  const memory = Uint8Array.from({ length: MEMORY_BYTES }, () => random.below(256));
  const view = new DataView(memory.buffer);
  const set = (offset: number, value: bigint) => view.setBigUint64(CPU_BASE + offset, value, true);
  for (let n = 0; n < 16; n++) {
    const isAddress = random.below(3) > 0;
    if (isAddress) set(S.gpr.offset + n * 8, BigInt(random.below(0x1_0000)));
  }
  set(S.segBase.offset, 0n);
  set(S.zero.offset, 0n);
  view.setUint32(CPU_BASE + S.fault.offset, 0, true);
  view.setUint32(CPU_BASE + S.fpuTrap.offset, random.below(2), true);
  view.setUint32(CPU_BASE + S.flagC.offset, random.below(2), true);
  view.setUint32(CPU_BASE + S.tlb.offset, TLB_ADDRESS, true);
  view.setUint32(CPU_BASE + S.tlbSystem.offset, TLB_ADDRESS, true);
  for (let page = 0; page < 16; page++) {
    const entry = TLB_ADDRESS + page * TLB_ENTRY.size;
    const tag = BigInt(page * 4096);
    view.setBigUint64(entry + TLB_ENTRY.readTag, random.below(5) ? tag : 1n, true);
    view.setBigUint64(entry + TLB_ENTRY.writeTag, random.below(3) ? tag : 1n, true);
    view.setInt32(entry + TLB_ENTRY.addend, GUEST_ADDRESS, true);
  }
  return memory;
}

/** Runs each case as it is and behind each pass; all must leave the same. */
function compare(cases: readonly Case[], seed: number): void {
  const random = new Random(seed);
  const runnables: Runnable[] = [];
  for (const [n, c] of cases.entries()) {
    runnables.push({ ...c, name: `case${n} before` });
    for (const { name, pass } of PASSES) {
      const statements = pass(c.statements, c.context);
      const given = c.places.map((place) => place.local);
      const problems = verify(statements, {
        result: undefined,
        exits: ['fault', 'jump', 'again', 'retry'],
        given,
      });
      if (problems.length)
        assert.fail(`${c.what}, ${name}: ${problems[0]}\n${printStatements(statements)}`);
      runnables.push({ ...c, statements, name: `case${n} ${name}` });
    }
  }
  const run = compileBlocks(runnables);
  const memories = Array.from({ length: INPUTS }, () => randomMemory(random));
  for (const [n, c] of cases.entries()) {
    for (const memory of memories) {
      const first = run(`case${n} before`, memory);
      const want = { ...first, memory: first.memory.slice() };
      for (const { name } of PASSES) {
        const got = run(`case${n} ${name}`, memory);
        const isSame =
          Buffer.compare(got.memory, want.memory) === 0 && got.calls.join() === want.calls.join();
        if (isSame) continue;
        const at = got.memory.findIndex((byte, k) => byte !== want.memory[k]);
        assert.fail(
          `${c.what}, behind ${name}, differs at ${at}, calls ${got.calls} and ${want.calls}:\n` +
            printStatements(c.statements) +
            printStatements(runnables.find((r) => r.name === `case${n} ${name}`)!.statements),
        );
      }
    }
  }
}

test('random programs do the same behind each pass', () => {
  const note = fn('note', {
    params: { a: 'i32', b: 'i64' },
    result: 'i64',
    faults: true,
    build: (l, { b }) => l.return(b),
  });
  const cases = Array.from({ length: 120 }, (_, n): Case => {
    const l = new Lift({ cpu: newLocal('i32', 0), access: calls, mayFault: true });
    const program = new Program(l, new Random(77 + n * 104_729), [], [note], { hasExits: true });
    program.scope(1 + (n % 4));
    program.scope(2);
    const locals = new RegisterLocals(newLocal('i64'));
    const statements = locals.rewrite(l.statements)!;
    return {
      statements,
      places: locals.all,
      context: { mutable: new Set(locals.all.map((r) => r.local)) },
      what: `program ${n}`,
    };
  });
  compare(cases, 5);
});

/** 64-bit code: every kind of instruction that compilers made of what was recorded, in pages, and some starts in each. */
function recordedPages(): { page: Uint8Array; entries: number[] }[] {
  const pages: { page: Uint8Array; entries: number[] }[] = [];
  let at = PAGE_BYTES;
  let count = 0;
  for (const { bits, line } of recordedLines()) {
    if (bits !== 64 || /^(j|call|ret|loop|hlt|int|sys|iret)/.test(line.text)) continue;
    if (at + 16 > PAGE_BYTES) {
      pages.push({ page: new Uint8Array(PAGE_BYTES).fill(0x90), entries: [] });
      at = 0;
    }
    const { page, entries } = pages.at(-1)!;
    if (count++ % BLOCK_LENGTH === 0) entries.push(at);
    page.set(line.bytes, at);
    at += line.bytes.length;
  }
  return pages;
}

test('recorded machine code does the same behind each pass, and is shorter', () => {
  const cases: Case[] = [];
  let instructions = 0;
  for (const [n, { page, entries }] of recordedPages().entries()) {
    for (const block of blocksOf(page, entries, { lengthMax: BLOCK_LENGTH })) {
      instructions += block.count;
      cases.push({ ...block, what: `page ${n}, block at ${block.offset}` });
    }
  }
  assert.ok(instructions > 300, `${instructions} instructions`);
  compare(cases, 9);
  let [before, after] = [0, 0];
  for (const c of cases) {
    before += countNodes(c.statements);
    after += countNodes(optimise(c.statements, c.context));
  }
  assert.ok(after < 0.8 * before, `${after} nodes of ${before}`);
});

function countNodes(statements: readonly Statement[]): number {
  return printStatements(statements).split(/[^$.\w]+/).length;
}

// --- algebra ---

const INTERESTING = [0n, 1n, 2n, 7n, 8n, 16n, 24n, 31n, 32n, 48n, 63n, 0xffn, 0xff00n, 0xffffn, 0xffff_ffffn, -1n, -256n, 0x8000_0000n, 1n << 63n, 0xff_ffffn]; // biome-ignore format: numbers
const BINARY = 'add sub mul and and and or or xor shl shr_u shr_s rotl rotr'.split(' ');
const COMPARE = 'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u'.split(' ');

function expression(
  r: Random,
  type: 'i32' | 'i64',
  depth: number,
  leaves: readonly Value[],
): Value {
  const constant = () => {
    const value = r.pick(INTERESTING);
    return type === 'i64' ? BigInt.asIntN(64, value) : Number(BigInt.asIntN(32, value));
  };
  if (depth === 0) return r.pick(leaves.filter((v) => v.type === type));
  const sub = (t: 'i32' | 'i64' = type) => expression(r, t, depth - 1, leaves);
  switch (r.below(8)) {
    case 0:
      return type === 'i32' ? sub('i64').i32() : r.below(3) ? sub('i32').u64() : sub('i32').s64();
    case 1: {
      const other = r.below(2) ? 'i32' : 'i64';
      const a = sub(other);
      const truth = r.below(3)
        ? op(`${other}.${r.pick(COMPARE)}`, a, r.below(2) ? sub(other) : 0)
        : a.eqz();
      return type === 'i32' ? truth : truth.u64();
    }
    case 2:
      return sub().sext(r.pick([8, 16, 32]));
    case 3:
    case 4:
    case 5:
      return op(`${type}.${r.pick(BINARY)}`, sub(), constant());
    default:
      return op(`${type}.${r.pick(BINARY)}`, sub(), sub());
  }
}

test('simplified expressions give what they gave, and are not longer', () => {
  const refs = Array.from({ length: 1500 }, (_, n) => {
    const type = n % 2 ? 'i32' : 'i64';
    const build = (isSimple: boolean) => {
      const params = (['i32', 'i64', 'i32', 'i64'] as const).map((t, k) => newLocal(t, k + 1));
      const l = new Lift({ cpu: newLocal('i32', 0), access: calls, mayFault: false });
      const leaves = params.map((local) => new Value({ kind: 'local', type: local.type, local }));
      l.return(expression(new Random(3 + n * 7919), type, 2 + (n % 5), leaves));
      const context = { mutable: new Set<never>() };
      return isSimple ? simplify(l.statements, context) : l.statements;
    };
    const ref = (name: string, statements: readonly Statement[]) => ({
      ...fn(name, { params: { a: 'i32', b: 'i64', c: 'i32', d: 'i64' }, result: type, build() {} }),
      statements,
    });
    return [ref(`before${n}`, build(false)), ref(`after${n}`, build(true))] as const;
  });
  const { run } = compile(refs.flat());
  const random = new Random(8);
  const wide = () => BigInt.asIntN(64, r64(random) >> BigInt(random.below(64)));
  const narrow = () => Number(BigInt.asIntN(32, wide()));
  for (const [before, after] of refs) {
    assert.ok(countNodes(after.statements) <= countNodes(before.statements) + 1, after.name);
    for (let n = 0; n < 12; n++) {
      const args = [narrow(), wide(), narrow(), wide()];
      const [want, got] = [run(before.name, ...args), run(after.name, ...args)];
      if (got !== want) {
        const texts = [before, after].map((ref) => printStatements(ref.statements));
        assert.fail(`of ${args}: ${want}, then ${got}:\n${texts.join('')}`);
      }
    }
  }
});
