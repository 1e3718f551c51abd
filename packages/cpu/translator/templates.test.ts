// What a template gives for an instruction is what lifting that instruction gives.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recordedLines } from '../decode/testing/samples.ts';
import { engine } from '../interpreter/engine.ts';
import type { Local } from '../lift/ir.ts';
import { newLocal } from '../lift/lift.ts';
import { printStatements } from '../lift/print.ts';
import { Random } from '../lift/testing/random-program.ts';
import { DECODING_MODE } from '../state/decoding-mode.ts';
import { PAGE_BYTES, planMemory, RAM_BASE } from '../state/memory-map.ts';
import { translatedAccess } from './access.ts';
import { InstructionSource } from './instructions.ts';
import { RegisterLocals } from './registers.ts';

const PAGE = 0x10_0000;
const MODES = {
  16: [DECODING_MODE.code16],
  32: [DECODING_MODE.code32, DECODING_MODE.flat32],
  64: [DECODING_MODE.code64],
} as const;
/** Of each recorded instruction so many have other last bytes: immediates, displacements, registers. */
const VARIANTS = 5;
const BYTES = [0, 1, 0x10, 0x7f, 0x80, 0xff] as const;

const layout = planMemory({ ramBytes: 4 << 20, vcpuCount: 1 });
const memory = new WebAssembly.Memory({
  initial: layout.wasmPages,
  maximum: 65536,
  shared: true,
});
const ram = new Uint8Array(memory.buffer, RAM_BASE + PAGE, PAGE_BYTES);
const newSource = () => new InstructionSource(memory, engine().handlers, undefined);

/** All that is known of the instruction at an offset, as text. */
function read(source: InstructionSource, offset: number, mode: number): string | undefined {
  const [ripBase, next, tlb] = [newLocal('i64'), newLocal('i64'), newLocal('i32')];
  const registers = new RegisterLocals(ripBase);
  const access = translatedAccess(tlb);
  const instruction = source.read(PAGE, offset, mode, { registers, ripBase, next, access });
  if (!instruction) return undefined;
  const names = new Map<Local, string>([
    ...registers.all.map((r): [Local, string] => [
      r.local,
      `r${r.offset}${r.isWritten ? 'w' : ''}`,
    ]),
    [ripBase, 'ripBase'],
    [next, 'next'],
    [tlb, 'tlb'],
  ]);
  const { statements, ...rest } = instruction;
  return JSON.stringify(rest) + (statements ? printStatements(statements, names) : '');
}

test('a template gives for each instruction what lifting that one gives', () => {
  const random = new Random(11);
  const warm = newSource();
  let [compared, different] = [0, 0];
  const seen = new Set<string>();
  for (const { bits, line } of recordedLines()) {
    for (let n = 0; n < VARIANTS; n++) {
      const bytes = Uint8Array.from(line.bytes);
      const changed = n && random.below(Math.min(bytes.length - 1, 8) + 1);
      for (let k = bytes.length - changed; k < bytes.length; k++) bytes[k] = random.pick(BYTES);
      const offset = n % 4 ? random.below(PAGE_BYTES - 15) : n * 16;
      ram.fill(0x90);
      ram.set(bytes, offset);
      for (const mode of MODES[bits]) {
        const want = read(newSource(), offset, mode);
        const got = read(warm, offset, mode);
        assert.equal(got, want, `${line.text}, ${Buffer.from(bytes).toString('hex')} at ${offset}`);
        if (want === undefined) continue;
        compared++;
        if (!seen.has(want)) different++;
        seen.add(want);
      }
    }
  }
  assert.ok(compared > 5000 && different > compared / 2, `${different} of ${compared}`);
});
