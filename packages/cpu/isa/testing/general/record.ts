// Records vectors.txt: runs every template on the host processor and writes down what changed. Needs an x86-64 Linux
// host with gcc and binutils: `node packages/cpu/isa/testing/general/record.ts`.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  DATA_WINDOW,
  type Inputs,
  inputs,
  Random,
  REGISTER_NAMES,
  WINDOW_BYTES,
} from './inputs.ts';
import { type Overrides, type Template, templates } from './templates.ts';
import { applyOverrides, formatOverrides } from './vector.ts';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const CODE = 0x10_0000;
const SIGTRAP = 5;
/** Sizes of native.c's structures. */
const INPUT_BYTES = 16 + 8 + 17 * 8 + 2 * WINDOW_BYTES;
const OUTPUT_BYTES = 18 * 8 + 8 + 2 * WINDOW_BYTES;

interface Case {
  readonly template: Template;
  readonly code: Uint8Array;
  readonly seed: number;
  readonly overrides: Overrides;
  readonly before: Inputs;
}

/** Machine code of each template. */
function assemble(directory: string, list: readonly Template[]): Uint8Array[] {
  const source = join(directory, 'code.s');
  const object = join(directory, 'code.o');
  const text = list.map((t, n) => `.code${t.mode}\nb${n}: ${t.assembly}\ne${n}:\n`).join('');
  const lengths = list.map((_, n) => `.byte e${n}-b${n}\n`).join('');
  writeFileSync(source, `.intel_syntax noprefix\n.text\n${text}.data\n${lengths}`);
  execFileSync('as', ['-o', object, source]);
  const section = (name: string) => {
    const file = join(directory, 'section');
    execFileSync('objcopy', ['-O', 'binary', '-j', name, object, file]);
    return readFileSync(file);
  };
  const code = section('.text');
  let at = 0;
  return [...section('.data')].map((length) => {
    at += length;
    return code.subarray(at - length, at);
  });
}

function cases(list: readonly Template[], codes: readonly Uint8Array[]): Case[] {
  const result: Case[] = [];
  for (const [n, template] of list.entries()) {
    for (let k = 0; k < template.cases; k++) {
      const seed = result.length;
      const plain = inputs(seed, template.mode);
      const overrides = template.adjust?.(plain, new Random(seed + 1_000_000)) ?? {};
      if (template.mode === 32) cutRegisters(overrides);
      result.push({
        template,
        code: codes[n]!,
        seed,
        overrides,
        before: applyOverrides(plain, overrides),
      });
    }
  }
  return result;
}

function cutRegisters(overrides: Overrides): void {
  for (const [name, value] of Object.entries(overrides)) {
    if (typeof value === 'bigint') overrides[name] = value & 0xffff_ffffn;
  }
}

function encodeInput(c: Case): Uint8Array {
  const bytes = new Uint8Array(INPUT_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(c.code);
  view.setUint32(16, c.code.length, true);
  view.setUint32(20, c.template.mode, true);
  for (const [n, value] of c.before.registers.entries()) view.setBigUint64(24 + n * 8, value, true);
  view.setBigUint64(152, BigInt(c.before.flags), true);
  bytes.set(c.before.data, 160);
  bytes.set(c.before.stack, 160 + WINDOW_BYTES);
  return bytes;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** Changed bytes of a window as 'd16=0102'. */
function changes(letter: string, before: Uint8Array, after: Uint8Array): string[] {
  const result: string[] = [];
  for (let start = 0; start < before.length; start++) {
    if (before[start] === after[start]) continue;
    let end = start + 1;
    while (end < before.length && before[end] !== after[end]) end++;
    result.push(`${letter}${start}=${hex(after.subarray(start, end))}`);
    start = end;
  }
  return result;
}

function line(c: Case, output: Buffer): string {
  const is32 = c.template.mode === 32;
  const signal = output.readUInt32LE(144);
  const result: string[] = [];
  if (signal && signal !== SIGTRAP) result.push(`#${output.readUInt32LE(148)}`);
  else {
    const flags = output.readUInt32LE(128) & 0xcd5 & ~c.template.undefinedFlags;
    result.push(`flags=${flags.toString(16)}`);
    if (signal)
      result.push(`rip=${(output.readBigUInt64LE(136) - 1n - BigInt(CODE)).toString(16)}`);
  }
  for (const [n, name] of REGISTER_NAMES.entries()) {
    if (is32 && n >= 8) continue;
    const value = output.readBigUInt64LE(n * 8) & (is32 ? 0xffff_ffffn : -1n);
    if (BigInt.asUintN(64, value) !== c.before.registers[n])
      result.push(`${name}=${value.toString(16)}`);
  }
  const data = output.subarray(152, 152 + WINDOW_BYTES);
  result.push(...changes('d', c.before.data, data));
  result.push(...changes('s', c.before.stack, output.subarray(152 + WINDOW_BYTES)));
  const mask = c.template.undefinedFlags.toString(16);
  const left = [c.template.mode, hex(c.code), c.seed, mask, ...formatOverrides(c.overrides)];
  return `${left.join(' ')} > ${result.join(' ')} ; ${c.template.assembly}`;
}

function main(): void {
  const directory = mkdtempSync(join(tmpdir(), 'vectors-'));
  try {
    const native = join(directory, 'native');
    const sources = [join(HERE, 'native.c'), join(HERE, 'native.s')];
    execFileSync('gcc', [
      '-O1',
      '-no-pie',
      '-Wl,-Ttext-segment=0x10000000',
      '-o',
      native,
      ...sources,
    ]);
    const list = templates();
    const all = cases(list, assemble(directory, list));
    const stdin = Buffer.concat(all.map(encodeInput));
    const output = execFileSync(native, { input: stdin, maxBuffer: 1 << 28 });
    const lines = all.map((c, n) =>
      line(c, output.subarray(n * OUTPUT_BYTES, (n + 1) * OUTPUT_BYTES)),
    );
    const header = `# Made by packages/cpu/isa/testing/general/record.ts on a real processor; vector.ts says how to read it.\n`;
    writeFileSync(join(HERE, 'vectors.txt'), `${header}${lines.join('\n')}\n`);
    console.log(
      `${list.length} templates, ${all.length} vectors, data at ${DATA_WINDOW.toString(16)}`,
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}

main();
