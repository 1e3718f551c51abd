// What differs between two outcomes of one program. Our engines must agree in everything, undefined flags too,
// and in the number of instructions where both count; the host where the manual says what comes out.

import { compareFault, compareFx, compareRegisters } from '../silicon/compare.ts';
import type { TestCase } from '../silicon/generate.ts';
import { FX, RESULT } from '../silicon/layout.ts';
import { ARITHMETIC_FLAGS, type Leeway, leewayOf } from '../silicon/undefined.ts';
import { segmentBase, WORLDS } from '../silicon/worlds.ts';
import { isEndless, type Outcome } from './engines.ts';
import type { Item } from './item.ts';
import type { Program } from './program.ts';
import { assembleCase, FUZZ_LAYOUT } from './state.ts';
import { undefinedBefore } from './undefined-flags.ts';

const REGISTERS = [
  'rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi',
  'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15',
]; // biome-ignore format: a table
/** Members of struct result, 8 bytes each unless told. */
const FIELDS: readonly { readonly name: string; readonly at: number; readonly bytes: number }[] = [
  { name: 'vector', at: RESULT.vector, bytes: 4 },
  { name: 'error code', at: RESULT.error, bytes: 4 },
  { name: 'cr2', at: RESULT.cr2, bytes: 8 },
  { name: 'rip', at: RESULT.rip, bytes: 8 },
  { name: 'rflags', at: RESULT.rflags, bytes: 8 },
  ...REGISTERS.map((name, n) => ({ name, at: RESULT.gpr + 8 * n, bytes: 8 })),
  { name: 'selectors', at: RESULT.selectors, bytes: 8 },
  { name: 'selectors', at: RESULT.selectors + 8, bytes: 8 },
  { name: 'fs base', at: RESULT.fsBase, bytes: 8 },
  { name: 'gs base', at: RESULT.gsBase, bytes: 8 },
  { name: 'fcw, fsw, tags', at: RESULT.fx, bytes: 8 },
  { name: 'mxcsr', at: RESULT.fx + FX.mxcsr, bytes: 4 },
  ...Array.from({ length: 16 }, (_, n) => ({
    name: `st${n >> 1}`,
    at: RESULT.fx + FX.st + 8 * n,
    bytes: 8,
  })),
  ...Array.from({ length: 32 }, (_, n) => ({
    name: `xmm${n >> 1}.${n & 1}`,
    at: RESULT.fx + FX.xmm + 8 * n,
    bytes: 8,
  })),
  ...Array.from({ length: 32 }, (_, n) => ({
    name: `ymm${n >> 1}.${2 + (n & 1)}`,
    at: RESULT.ymm + 8 * n,
    bytes: 8,
  })),
];
const DIFFERENCES_MAX = 16;

const hex = (bytes: Uint8Array) => Buffer.from(bytes).reverse().toString('hex');

/** Lines that say what differs between two of our engines; none when they agree. */
export function engineDifferences(a: Outcome, b: Outcome): string[] {
  const lines: string[] = [];
  if (b.instructions !== undefined && a.instructions !== b.instructions)
    lines.push(`instructions: ${a.instructions} and ${b.instructions}`);
  if (Buffer.compare(a.result, b.result) === 0) return lines;
  for (const { name, at, bytes } of FIELDS) {
    const [x, y] = [a.result.subarray(at, at + bytes), b.result.subarray(at, at + bytes)];
    if (Buffer.compare(x, y) !== 0) lines.push(`${name}: ${hex(x)} and ${hex(y)}`);
  }
  for (const { index, linear } of differingBytes(a.result, b.result))
    lines.push(`memory ${linear.toString(16)}: ${a.result[index]} and ${b.result[index]}`);
  return lines.slice(0, DIFFERENCES_MAX);
}

function* differingBytes(
  a: Uint8Array,
  b: Uint8Array,
): Generator<{ readonly index: number; readonly linear: number }> {
  let index: number = RESULT.memory;
  for (const { address, bytes } of FUZZ_LAYOUT.parts) {
    for (let n = 0; n < bytes; n++, index++)
      if (a[index] !== b[index]) yield { index, linear: address + n };
  }
}

export interface Placed {
  readonly program: Program;
  readonly kept: readonly boolean[];
  readonly addresses: readonly number[];
  readonly test: Uint8Array;
}

export function place(program: Program, kept: readonly boolean[]): Placed {
  const { bytes, addresses } = assembleCase(program, kept);
  return { program, kept, addresses, test: bytes };
}

/** The kept item at a rip within the code segment, by number. */
function itemAt({ program, kept, addresses }: Placed, rip: bigint): number | undefined {
  const linear = Number(BigInt.asUintN(32, rip)) + segmentBase(WORLDS[program.world], 'cs');
  const isInstruction = (n: number) => kept[n] && program.items[n]!.gapTo === undefined;
  const found = program.items.findIndex((_, n) => isInstruction(n) && addresses[n] === linear);
  return found < 0 ? undefined : found;
}

/** Whether the program came into the middle of an instruction or left its code: nothing is known of flags then. */
export function goesAstray({ program, kept, addresses }: Placed, trace: Iterable<number>): boolean {
  const known = new Set<number>();
  program.items.forEach((item, n) => {
    if (!kept[n]) return;
    const [first, next] = [addresses[n]!, addresses[n + 1]!];
    // Templates may hold several instructions.
    for (let at = first; at < (item.table ? first + 1 : next); at++) known.add(at);
  });
  for (const address of trace) if (!known.has(address)) return true;
  return false;
}

/** Flags that are not compared: those that are undefined where the program ended. */
function undefinedAtEnd(placed: Placed, rip: bigint, isTrap: boolean): number {
  const before = undefinedBefore(placed.program.items, placed.kept);
  // INT3 reports the instruction behind it.
  const n = itemAt(placed, isTrap ? rip - 1n : rip);
  return n === undefined ? before.reduce((mask, flags) => mask | flags, 0) : before[n]!;
}

/** Lines that say where the host differs from one of our engines. */
export function hostDifferences(placed: Placed, host: Outcome, ours: Outcome): string[] {
  if (isEndless(host)) return [];
  const lines: string[] = [];
  const n = new DataView(host.result.buffer, host.result.byteOffset);
  const o = new DataView(ours.result.buffer, ours.result.byteOffset);
  const check = (name: string, a: bigint | number, b: bigint | number) => {
    if (a !== b) lines.push(`${name}: host ${a.toString(16)}, ours ${b.toString(16)}`);
  };
  const vector = n.getUint32(RESULT.vector, true);
  const rip = n.getBigUint64(RESULT.rip, true);
  const ended = [rip, o.getBigUint64(RESULT.rip, true)].map((place) => itemAt(placed, place));
  const items = [...new Set(ended)].flatMap((at) => placed.program.items[at ?? -1] ?? []);
  const test = asCase(placed, items);
  const leeway: Leeway = leewayOf(test, n, o);
  if (leeway.all) return [];
  const flags = leeway.flags | undefinedAtEnd(placed, rip, vector === 3) | carelessFlags(items);
  check('vector', vector, o.getUint32(RESULT.vector, true));
  compareFault(n, o, check, leeway);
  check('rip', rip, o.getBigUint64(RESULT.rip, true));
  compareRegisters(test, n, o, check, { ...leeway, flags });
  compareFx(n, o, check, leeway);
  for (const { index, linear } of differingBytes(host.result, ours.result)) {
    check(`memory ${linear.toString(16)}`, host.result[index]!, ours.result[index]!);
    if (lines.length > DIFFERENCES_MAX) break;
  }
  return lines.slice(0, DIFFERENCES_MAX);
}
/** Comparisons that a fault ends in the middle. SDM vol 2B, REP. */
function carelessFlags(items: readonly Item[]): number {
  const isComparison = (item: Item) => /^(CMPS|SCAS)/.test(item.table?.instruction.name ?? '');
  return items.some(isComparison) ? ARITHMETIC_FLAGS : 0;
}

/** The instructions that the program ended at, as the comparison with silicon knows its cases. */
function asCase({ program, test }: Placed, items: readonly Item[]): TestCase {
  const forms = items.flatMap((item) => item.table ?? []);
  const built = items.flatMap((item) => item.built ?? []);
  return { world: program.world, forms, built, bytes: test };
}
