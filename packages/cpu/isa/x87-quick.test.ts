// Where the quick ways of the x87 end: recorded results around exponent limits, carries, alignments of 63 to 128 bits,
// halfway cases, special operands, and in modes that the quick ways leave to microcode.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DATA_ADDRESS, TestCpu } from '../testing/check.ts';

interface Row {
  readonly line: string;
  readonly name: string;
  readonly control: number;
  readonly st0: bigint;
  readonly st1: bigint;
  readonly result: bigint;
  readonly status: number;
  readonly stored: bigint;
}

const hex = (text: string) => BigInt(`0x${text}`);
/** Sign and exponent, and significand. */
function extended(text: string): bigint {
  const [high, low] = text.split(':') as [string, string];
  return (hex(high) << 64n) | hex(low);
}
const ROWS: readonly Row[] = readFileSync(
  join(import.meta.dirname, 'testing/x87/boundaries.txt'),
  'utf8',
)
  .split('\n')
  .filter((line) => line && !line.startsWith('#'))
  .map((line) => {
    const [name, control, st0, st1, result, status, stored] = line.split(' ') as string[];
    return {
      line,
      name: name!,
      control: Number(hex(control!)),
      st0: extended(st0!),
      st1: extended(st1!),
      result: extended(result!),
      status: Number(hex(status!)),
      stored: hex(stored!),
    };
  });

/** Code, and what there is to look at besides the status. */
const CODE: Readonly<
  Record<string, readonly [code: string, kind: 'result' | 'stored' | 'flags' | 'load', bits?: number]>
> = {
  fadd: ['d8c1', 'result'], fmul: ['d8c9', 'result'], fsub: ['d8e1', 'result'], fsubr: ['d8e9', 'result'],
  fdiv: ['d8f1', 'result'], fdivr: ['d8f9', 'result'], fcomi: ['dbf1', 'flags'], fst64: ['dd17', 'stored', 64],
  fst32: ['d917', 'stored', 32], fist16: ['df17', 'stored', 16], fist32: ['db17', 'stored', 32], fist64: ['df3f', 'stored', 64],
  fisttp32: ['db0f', 'stored', 32], fld64: ['dd07', 'load'], fmul64: ['dc0f', 'result'], fadd64: ['dc07', 'result'],
  fcom64: ['dc17', 'result'],
}; // biome-ignore format: a table

const LOW = (1n << 64n) - 1n;
const SENTINEL = 0xa5a5_a5a5_a5a5_a5a5n;
const cpu = new TestCpu();

function write64(value: bigint): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  cpu.write(DATA_ADDRESS, bytes);
}
const read64 = () => Buffer.from(cpu.read(DATA_ADDRESS, 8)).readBigUInt64LE();

function check(row: Row): void {
  const [code, kind, bits = 64] = CODE[row.name]!;
  cpu.reset(64);
  cpu.set('x87Control', row.control);
  const top = kind === 'load' ? 0 : 6;
  cpu.set('x87Top', top);
  cpu.set('x87Tags', kind === 'load' ? 0 : 0xc0);
  cpu.setX87(6, row.st0);
  cpu.setX87(7, row.st1);
  write64(kind === 'load' ? row.st0 & LOW : kind === 'stored' ? SENTINEL : row.st1 & LOW);
  const r = cpu.run(Buffer.from(code, 'hex'), {
    registers: { rdi: BigInt(DATA_ADDRESS) },
    rflags: 0x8d7,
  });
  assert.equal(r.fault, undefined, row.line);
  assert.equal(Number(cpu.get('x87Status')), row.status, `${row.line}: status`);
  if (kind === 'flags') assert.equal(r.rflags & 0x8d5, Number(row.stored) & 0x8d5, row.line);
  if (kind === 'stored') {
    const mask = (1n << BigInt(bits)) - 1n;
    assert.equal(read64() & mask, row.stored & mask, `${row.line}: stored`);
    assert.equal(read64() & ~mask, SENTINEL & ~mask, `${row.line}: bytes behind`);
    const pops = row.name === 'fist64' || row.name === 'fisttp32';
    assert.equal(Number(cpu.get('x87Top')), pops ? 7 : 6, row.line);
    assert.equal(Number(cpu.get('x87Tags')), pops ? 0x80 : 0xc0, row.line);
    return;
  }
  const st0 = kind === 'load' ? 7 : 6;
  assert.equal(Number(cpu.get('x87Top')), st0, row.line);
  assert.equal(cpu.x87(st0).toString(16), row.result.toString(16), row.line);
}

test('the x87 gives what a processor recorded at the edges of the quick ways', () => {
  for (const row of ROWS) check(row);
  assert.ok(ROWS.length > 800);
});

/** The other forms: ST(1) as destination, with and without a pop. */
const REVERSED = { fadd: 'c1', fmul: 'c9', fsub: 'e1', fsubr: 'e9', fdiv: 'f1', fdivr: 'f9' };

test('so do the forms that write ST(1), and those that pop', () => {
  let count = 0;
  for (const row of ROWS) {
    const modrm = REVERSED[row.name as keyof typeof REVERSED];
    if (!modrm) continue;
    for (const opcode of ['dc', 'de']) {
      cpu.reset(64);
      cpu.set('x87Control', row.control);
      cpu.set('x87Top', 6);
      cpu.set('x87Tags', 0xc0);
      // Operands exchanged, so that ST(1) op ST(0) is what was recorded.
      cpu.setX87(6, row.st1);
      cpu.setX87(7, row.st0);
      // DC and DE have subtraction and its reverse exchanged, as those of division.
      const flipped = /^f(sub|div)/.test(row.name) ? Number.parseInt(modrm, 16) ^ 8 : 0;
      const code = opcode + (flipped ? flipped.toString(16) : modrm);
      cpu.run(Buffer.from(code, 'hex'), {});
      assert.equal(cpu.x87(7).toString(16), row.result.toString(16), `${code} ${row.line}`);
      assert.equal(Number(cpu.get('x87Status')), row.status, `${code} ${row.line}: status`);
      assert.equal(Number(cpu.get('x87Top')), opcode === 'de' ? 7 : 6, code);
      assert.equal(Number(cpu.get('x87Tags')), opcode === 'de' ? 0x80 : 0xc0, code);
      count++;
    }
  }
  assert.ok(count > 500);
});

test('a full stack and empty registers are stack faults in every quick way', () => {
  const STACK_FAULT = 0x41;
  const OVERFLOW = 0x241;
  const cases = [
    ...['dd07', 'd907', 'd9e8', 'd9ee', 'db07', 'd9c0'].map((code) => [code, 0xff, OVERFLOW]),
    ...['d8c1', 'dec9', 'dc07', 'd9c9', 'd9e0', 'dd17', 'db17', 'ddd9', 'd9c1'].map((code) => [
      code,
      0,
      STACK_FAULT,
    ]),
  ] as [string, number, number][];
  for (const [code, tags, status] of cases) {
    cpu.reset(64);
    cpu.set('x87Tags', tags);
    write64(0x3ff8_0000_0000_0000n);
    cpu.run(Buffer.from(code, 'hex'), { registers: { rdi: BigInt(DATA_ADDRESS) } });
    assert.equal(Number(cpu.get('x87Status')), status, code);
  }
});
