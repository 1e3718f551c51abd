// Keeps what a processor answered: for every compared form in every world a few cases, as differences from the state
// they began with, so that hosts without an x86-64 processor test against them too. Cases are made anew from their
// form's name; a checksum tells whether they still are the recorded ones.
//   node tests/silicon/record.ts     writes vectors.bin.gz

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { formName, PLACED, type PlacedForm } from './forms.ts';
import { generateCase, type TestCase } from './generate.ts';
import { FX, MEMORY_BYTES, RESULT, TEST } from './layout.ts';
import { runNatively } from './native.ts';
import { Random } from './random.ts';

export const VECTORS: string = fileURLToPath(new URL('./vectors.bin.gz', import.meta.url));
/** More for 64-bit code, which all programs run; legacy modes share most of its meanings. */
const CASES = { long: 10, legacy: 3 } as const;
/** VEX forms are many, and most share their meaning with another. */
const VEX_CASES = { long: 6, legacy: 1 } as const;

/** Where a result's 4-byte words come from in the test, so that only what changed is stored. */
const ORIGIN: ReadonlyMap<number, number> = originOfWords();
function originOfWords(): Map<number, number> {
  const origin = new Map<number, number>();
  const same = (result: number, test: number, bytes: number) => {
    for (let n = 0; n < bytes; n += 4) origin.set(result + n, test + n);
  };
  same(RESULT.rip, TEST.rip, 8);
  same(RESULT.rflags, TEST.rflags, 8);
  same(RESULT.gpr, TEST.gpr, 128);
  same(RESULT.selectors, TEST.selectors, 16);
  same(RESULT.fsBase, TEST.fsBase, 16);
  same(RESULT.fx, TEST.fx, 512);
  same(RESULT.ymm, TEST.ymm, 256);
  same(RESULT.memory, TEST.memory, MEMORY_BYTES);
  return origin;
}

/** The recorded cases of one form, always the same. */
export function recordedCases(placed: PlacedForm): TestCase[] {
  const random = new Random(`recorded ${placed.world} ${formName(placed.table)}`);
  const cases = placed.table.form.encoding.startsWith('VEX.') ? VEX_CASES : CASES;
  const count = placed.world === 'long' ? cases.long : cases.legacy;
  return Array.from({ length: count }, () => generateCase(random, [placed]));
}

/** Tells a case from others: FNV-1a over its words. */
export function checksum(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let hash = 0x811c9dc5;
  for (let n = 0; n + 4 <= bytes.byteLength; n += 4)
    hash = Math.imul(hash ^ view.getUint32(n, true), 0x01000193);
  return hash >>> 0;
}

/** Words that nobody compares and that would only make the file longer. */
function isCompared(offset: number): boolean {
  const fx = offset - RESULT.fx;
  if (fx < 0 || fx >= 512) return true;
  const isPadding = fx >= FX.st && fx < FX.xmm && (fx - FX.st) % 16 === 12;
  return fx < FX.st ? fx < 8 || fx === FX.mxcsr : fx < 416 && !isPadding;
}

/** A result as (word index, value) pairs against its test. */
function encodeResult(test: Uint8Array, result: Uint8Array): number[] {
  const before = new DataView(test.buffer, test.byteOffset);
  const after = new DataView(result.buffer, result.byteOffset);
  const words: number[] = [];
  for (let at = 0; at < RESULT.size; at += 4) {
    const origin = ORIGIN.get(at);
    const value = after.getUint32(at, true);
    if (isCompared(at) && value !== (origin === undefined ? 0 : before.getUint32(origin, true)))
      words.push(at / 4, value);
  }
  return words;
}
function decodeResult(test: Uint8Array, words: readonly number[]): Uint8Array {
  const before = new DataView(test.buffer, test.byteOffset);
  const result = new Uint8Array(RESULT.size);
  const view = new DataView(result.buffer);
  for (const [at, origin] of ORIGIN) view.setUint32(at, before.getUint32(origin, true), true);
  for (let n = 0; n < words.length; n += 2) view.setUint32(words[n]! * 4, words[n + 1]!, true);
  return result;
}

interface RecordedForm {
  readonly checksum: number;
  readonly results: readonly (readonly number[])[];
}

/** Variable-length integers, seven bits a byte. */
function pushVarint(out: number[], value: number): void {
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) out.push((rest % 128) | 0x80);
  out.push(rest);
}

/** Name, checksum of the inputs, and for each case its words: indices as steps in one stream, values in another. */
export function encodeVectors(forms: ReadonlyMap<string, RecordedForm>): Uint8Array {
  const heads: number[] = [];
  const values: number[] = [];
  for (const [name, form] of forms) {
    pushVarint(heads, name.length);
    for (const char of name) heads.push(char.charCodeAt(0));
    pushVarint(heads, form.checksum);
    pushVarint(heads, form.results.length);
    for (const words of form.results) {
      pushVarint(heads, words.length / 2);
      let previous = 0;
      for (let n = 0; n < words.length; n += 2) {
        pushVarint(heads, words[n]! - previous);
        previous = words[n]!;
        for (let shift = 0; shift < 32; shift += 8) values.push((words[n + 1]! >>> shift) & 0xff);
      }
    }
  }
  const length: number[] = [];
  pushVarint(length, heads.length);
  return gzipSync(Uint8Array.from([...length, ...heads, ...values]), { level: 9 });
}

export function decodeVectors(compressed: Uint8Array): Map<string, RecordedForm> {
  const bytes = gunzipSync(compressed);
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  const headsLength = varint();
  const end = at + headsLength;
  let valueAt = end;
  const forms = new Map<string, RecordedForm>();
  while (at < end) {
    const nameLength = varint();
    const name = bytes.toString('latin1', at, at + nameLength);
    at += nameLength;
    const sum = varint();
    const results = Array.from({ length: varint() }, () => {
      let index = 0;
      return Array.from({ length: varint() }, () => {
        index += varint();
        valueAt += 4;
        return [index, bytes.readUInt32LE(valueAt - 4)];
      }).flat();
    });
    forms.set(name, { checksum: sum, results });
  }
  return forms;
}

export function vectorName(placed: PlacedForm): string {
  return `${placed.world} ${formName(placed.table)}`;
}
function sumOf(cases: readonly TestCase[]): number {
  return cases.reduce((sum, test) => Math.imul(sum, 31) + checksum(test.bytes), 0) >>> 0;
}

/** The recorded result of each case of a form; undefined if there is none, or the cases are no longer those. */
export function recordedResults(
  vectors: ReadonlyMap<string, RecordedForm>,
  placed: PlacedForm,
  cases: readonly TestCase[],
): Uint8Array[] | undefined {
  const recorded = vectors.get(vectorName(placed));
  if (!recorded || recorded.checksum !== sumOf(cases)) return undefined;
  return cases.map((test, n) => decodeResult(test.bytes, recorded.results[n]!));
}

function record(): void {
  const all = PLACED.map((placed) => ({ placed, cases: recordedCases(placed) }));
  const flat = all.flatMap((form) => form.cases);
  const input = new Uint8Array(flat.length * TEST.size);
  for (const [n, test] of flat.entries()) input.set(test.bytes, n * TEST.size);
  const output = runNatively(input);
  let n = 0;
  const forms = all.map(({ placed, cases }): [string, RecordedForm] => {
    const results = cases.map((test) =>
      encodeResult(test.bytes, output.subarray(n * RESULT.size, ++n * RESULT.size)),
    );
    return [vectorName(placed), { checksum: sumOf(cases), results }];
  });
  const bytes = encodeVectors(new Map(forms));
  writeFileSync(VECTORS, bytes);
  console.log(`${forms.length} forms in their worlds, ${flat.length} cases, ${bytes.length} bytes`);
}

if (import.meta.main) record();
