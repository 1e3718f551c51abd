// Runs x87 cases on the interpreter, and the list of what there is to run.

import { parseEncoding } from '../../../decode/opcode-map.ts';
import { CODE_ADDRESS, DATA_ADDRESS, type TestCpu } from '../../../testing/check.ts';
import { INSTRUCTIONS_X87_ARITHMETIC } from '../../x87-arithmetic.ts';
import { INSTRUCTIONS_X87_FUNCTION } from '../../x87-function.ts';
import { INSTRUCTIONS_X87_MEMORY } from '../../x87-memory.ts';
import { INSTRUCTIONS_X87_MOVE } from '../../x87-move.ts';
import { INSTRUCTIONS_X87_STATE } from '../../x87-state.ts';
import { MEMORY_BYTES, parseImage, type X87Case, type X87Outcome, type X87State } from './case.ts';

const ARITHMETIC_FLAGS = 0x8d5;
const RSI_MODRM = 6;

/** One encoding with the registers or the memory operand it is tried with. */
export interface Target {
  readonly name: string;
  readonly opcode: number;
  readonly modrm: number;
}

/** Every form of D8 to DF: memory once, ST(0), ST(1) and ST(5) for those with a register. */
export function targets(): Target[] {
  const list: Target[] = [];
  const all = [
    ...INSTRUCTIONS_X87_ARITHMETIC,
    ...INSTRUCTIONS_X87_MEMORY,
    ...INSTRUCTIONS_X87_MOVE,
    ...INSTRUCTIONS_X87_FUNCTION,
    ...INSTRUCTIONS_X87_STATE,
  ];
  for (const { name, forms } of all) {
    for (const { encoding } of forms) {
      const e = parseEncoding(encoding);
      if (e.map !== 0 || e.opcode < 0xd8 || e.opcode > 0xdf) continue;
      // AX is where the native runner keeps RFLAGS.
      if (encoding === 'DF E0') continue;
      const add = (modrm: number) => list.push({ name, opcode: e.opcode, modrm });
      if (e.modrmFirst < 0) add((e.digit << 3) | RSI_MODRM);
      else if (e.modrmFirst === e.modrmLast) add(e.modrmFirst);
      else for (const i of [0, 1, 5]) add(e.modrmFirst + i);
    }
  }
  return list;
}

function load(cpu: TestCpu, state: X87State): void {
  const top = (state.status >> 11) & 7;
  cpu.set('x87Control', state.control);
  cpu.set('x87Status', state.status & ~0x3800);
  cpu.set('x87Top', top);
  let tags = 0;
  for (let n = 0; n < 8; n++) if (((state.tags >> (2 * n)) & 3) !== 3) tags |= 1 << n;
  cpu.set('x87Tags', tags);
  state.registers.forEach((r, i) => {
    cpu.setX87((top + i) & 7, (BigInt(r.signExponent) << 64n) | r.significand);
  });
  cpu.set('fpuTrap', 0);
}

/** Tags are only told apart as empty (3) or not (0). */
export function save(cpu: TestCpu): X87State {
  const top = Number(cpu.get('x87Top'));
  const used = Number(cpu.get('x87Tags'));
  let tags = 0;
  for (let n = 0; n < 8; n++) if (!((used >> n) & 1)) tags |= 3 << (2 * n);
  return {
    control: Number(cpu.get('x87Control')),
    status: Number(cpu.get('x87Status')) | (top << 11),
    tags,
    registers: Array.from({ length: 8 }, (_, i) => {
      const bits = cpu.x87((top + i) & 7);
      return { significand: BigInt.asUintN(64, bits), signExponent: Number(bits >> 64n) };
    }),
  };
}

/** Runs one case in 64-bit mode; RSI holds the address of its memory. */
export function runCase(cpu: TestCpu, c: X87Case): X87Outcome {
  load(cpu, parseImage(c.image));
  cpu.write(DATA_ADDRESS, c.memory);
  const registers = { rsi: BigInt(DATA_ADDRESS) };
  const r = cpu.run(
    [c.opcode, c.modrm],
    { registers, rflags: c.rflags },
    { address: CODE_ADDRESS },
  );
  if (r.fault)
    throw new Error(`${c.opcode.toString(16)} ${c.modrm.toString(16)}: fault ${r.fault.vector}`);
  return {
    state: save(cpu),
    memory: cpu.read(DATA_ADDRESS, MEMORY_BYTES),
    rflags: r.rflags & ARITHMETIC_FLAGS,
  };
}
