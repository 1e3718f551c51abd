// What the passes gain on the code of a program of this machine: `node24 measure.ts [file]`. Bytes and locals of the
// WebAssembly of each block before and after, and the time that each pass takes.

import { codeOf } from '../../../decode/testing/samples.ts';
import { Emitter } from '../../../lift/emit.ts';
import type { Statement } from '../../../lift/ir.ts';
import { printStatements } from '../../../lift/print.ts';
import { verify } from '../../../lift/verify.ts';
import { optimise, PIPELINE } from '../index.ts';
import { variablesOf } from '../pass.ts';
import { type Block, blocksOf } from './blocks.ts';

const PAGE_BYTES = 4096;
const PAGES = 24;
const CODE_BYTES = 1 << 20;
const ROUNDS = 13;
const WARM_UP = 5;

const file = process.argv[2] ?? '/bin/bash';
const show = Number(process.env.SHOW ?? 0);

function emit(block: Block, statements: readonly Statement[]): { bytes: number; locals: number } {
  const e = new Emitter({
    params: ['i32', 'i32'],
    functionIndex: () => 100,
    exit: (emitter) => void emitter.code.br(0),
  });
  const registers = block.places;
  for (const { local } of registers) e.local(local);
  e.body(statements);
  const { code, locals } = e.finish();
  return { bytes: code.length, locals: locals.length - registers.length };
}

const code = codeOf(file, CODE_BYTES);
const blocks: Block[] = [];
const step = Math.max(1, Math.floor(code.length / PAGE_BYTES / PAGES));
for (let page = step; page * PAGE_BYTES < code.length && blocks.length < 4000; page += step) {
  const bytes = code.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
  // Functions begin at multiples of 16, mostly behind padding.
  const entries = Array.from({ length: PAGE_BYTES / 16 }, (_, n) => n * 16).filter(
    (at) => at > 0 && [0x90, 0xc3, 0x00].includes(bytes[at - 1]!),
  );
  blocks.push(...blocksOf(bytes, entries).filter((b) => b.count > 0));
}

const instructions = blocks.reduce((sum, b) => sum + b.count, 0);
console.log(`${file}: ${blocks.length} blocks, ${instructions} instructions`);
const before = { bytes: 0, locals: 0 };
const steps = PIPELINE.map(({ name }) => ({ name, bytes: 0, locals: 0, time: 0, scopes: 0 }));
for (const [n, block] of blocks.entries()) {
  const first = emit(block, block.statements);
  before.bytes += first.bytes;
  before.locals += first.locals;
  let list = block.statements;
  for (const [k, { pass, name }] of PIPELINE.entries()) {
    list = pass(list, block.context);
    const after = emit(block, list);
    steps[k]!.bytes += after.bytes;
    steps[k]!.locals += after.locals;
    const given = block.places.map((place) => place.local);
    const problems = verify(list, { result: undefined, exits: ['fault', 'jump', 'again'], given });
    if (problems.length) throw new Error(`${name}, block ${n}: ${problems[0]}`);
  }
  if (n === show && process.env.SHOW) {
    console.log(printStatements(block.statements));
    console.log(printStatements(list));
  }
}
/** Microseconds of this process, not of others on this machine. */
const spent = () => process.cpuUsage().user;
const contexts = blocks.map((b) => ({
  ...b.context,
  variables: variablesOf(b.statements, b.context),
}));
let lists = blocks.map((b) => b.statements);
for (let round = 0; round < ROUNDS; round++) {
  lists = blocks.map((b) => b.statements);
  for (const [k, { pass }] of PIPELINE.entries()) {
    const start = spent();
    lists = lists.map((list, n) => pass(list, contexts[n]!));
    if (round >= WARM_UP) steps[k]!.time += spent() - start;
  }
}
const percent = (a: number, b: number) => `${((100 * a) / b).toFixed(1)} %`;
console.log(`before: ${before.bytes} bytes, ${before.locals} locals`);
for (const s of steps)
  console.log(
    `${s.name.padEnd(16)} ${s.bytes} bytes (${percent(s.bytes, before.bytes)}), ${s.locals} locals ` +
      `(${percent(s.locals, before.locals)}), ${(s.time / (ROUNDS - WARM_UP) / instructions).toFixed(2)} µs an instruction`,
  );
for (let round = 0; round < ROUNDS; round++) {
  const start = spent();
  for (const block of blocks) optimise(block.statements, block.context);
  if (round % 4 && round !== ROUNDS - 1) continue;
  const time = (spent() - start) / instructions;
  console.log(`optimise, round ${round}: ${time.toFixed(2)} µs an instruction`);
}
