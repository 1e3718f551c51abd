// What follows from the mode (microcode/mode.ts) is up to date behind every instruction of the system test programs: gates,
// tasks, virtual-8086 and real mode, system calls, segment loads, and the faults of each.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { GENERATION_SHIFT } from '../../microcode/jump-cache.ts';
import { DECODING_MODE } from '../../state/decoding-mode.ts';
import { at, S } from '../../state/layout.ts';
import { vcpuBase } from '../../state/memory-map.ts';
import { runFirmware } from '../firmware.ts';
import type { LoneVcpu } from '../lone-vcpu.ts';

type Name = keyof typeof S;
/** What updateMode computes; of the context, all but its generation. */
const DERIVED = [
  'legacyMode', 'codeBits', 'stackMask', 'breakpoints', 'mode', 'tlb', 'tlbSystem', 'tlbFetch', 'fpuTrap',
  'vectorTrap', 'cpl', 'context',
] as const satisfies readonly Name[]; // biome-ignore format: a list
/** And from what. */
const GIVEN = [
  'segBase', 'segLimit', 'segAttributes', 'cpl', 'cr0', 'cr4', 'efer', 'xcr0', 'dr', 'rflags',
] as const satisfies readonly Name[]; // biome-ignore format: a list
const CONTEXT_LOW = (1 << GENERATION_SHIFT) - 1;
const NO_CONTEXT = 0xffff_ffff;

function fieldsOf(view: DataView, names: readonly Name[]): Record<string, string[]> {
  const base = vcpuBase(0);
  const read = (name: Name, n: number) => {
    const place = base + at(S[name], n);
    if (S[name].type === 'i64') return view.getBigUint64(place, true).toString(16);
    const value = view.getUint32(place, true);
    const isContext = name === 'context' && value !== NO_CONTEXT;
    return (isContext ? value & CONTEXT_LOW : value).toString(16);
  };
  return Object.fromEntries(
    names.map((name) => [name, Array.from({ length: S[name].count }, (_, n) => read(name, n))]),
  );
}

/** Runs a program an instruction at a time; gives how often each decoding mode was in force after a change. */
function check(name: string): Map<string, number> {
  const image = readFileSync(join(import.meta.dirname, `${name}.image`), 'latin1');
  const modes = new Map<string, number>();
  let before = '';
  const look = ({ vcpu, memory }: LoneVcpu) => {
    const view = new DataView(memory.buffer);
    const given = JSON.stringify(fieldsOf(view, GIVEN));
    if (given === before) return;
    before = given;
    const derived = fieldsOf(view, DERIVED);
    const where = `${vcpu.readRegister('cs')?.toString(16)}:${vcpu.readRegister('rip')?.toString(16)}`;
    // Runs updateMode, and changes nothing else.
    vcpu.writeRegister('cr2', vcpu.readRegister('cr2')!);
    assert.deepEqual(derived, fieldsOf(view, DERIVED), `${name} at ${where}`);
    const mode = `${Number(`0x${derived.mode![0]}`) & 3}`;
    modes.set(mode, (modes.get(mode) ?? 0) + 1);
  };
  runFirmware(new Uint8Array(gunzipSync(Buffer.from(image, 'base64'))), { look });
  return modes;
}

const { code16, code32, code64, flat32 } = DECODING_MODE;
for (const [name, wanted] of [
  ['protected', [code16, code32, flat32]],
  ['long', [code16, code32, flat32, code64]],
  ['events', [flat32]],
] as const)
  test(`the mode is up to date behind each instruction of the program '${name}'`, (t) => {
    const modes = check(name);
    t.diagnostic(JSON.stringify([...modes]));
    for (const mode of wanted) assert.ok((modes.get(`${mode}`) ?? 0) > 5, `mode ${mode}`);
  });
