// Runs x87 cases on the lifted meanings alone, without decoder, interpreter or paging: one function for each form,
// guest memory at a fixed place. What the meanings say is tested here; the way to them is tested with the engine.

import { parseEncoding } from '../../decode/opcode-map.ts';
import { assemble } from '../../lift/assemble.ts';
import { readFlags, writeArithmeticFlags } from '../../lift/flags.ts';
import { type FunctionRef, fn } from '../../lift/function.ts';
import type { AccessStrategy, Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S, VCPU_BYTES, X87_SIGN_EXPONENT } from '../../state/layout.ts';
import type {
  Form,
  Instruction,
  InstructionContext,
  LiftOperand,
  OperandSpec,
} from '../instruction.ts';
import { MEMORY_BYTES, parseImage, type X87Case, type X87State } from './x87-case.ts';

const CPU = 65536;
/** Guest memory: linear address 0 is here. */
export const GUEST = CPU + Math.ceil(VCPU_BYTES / 65536) * 65536;
const GUEST_BYTES = 65536;
const STATIC_FLAGS = 2;

const LOADS = {
  1: 'i32.load8_u',
  2: 'i32.load16_u',
  4: 'i32.load',
  8: 'i64.load',
  16: 'v128.load',
};
const STORES = {
  1: 'i32.store8',
  2: 'i32.store16',
  4: 'i32.store',
  8: 'i64.store',
  16: 'v128.store',
};

const flat: AccessStrategy = {
  load: (l, bytes, linear) => l.loadRaw(LOADS[bytes], linear.i32(), GUEST),
  store: (l, bytes, linear, value) => l.storeRaw(STORES[bytes], linear.i32(), GUEST, value),
  update: (l, bytes, linear) => ({
    value: l.loadRaw(LOADS[bytes], linear.i32(), GUEST),
    write: (value) => l.storeRaw(STORES[bytes], linear.i32(), GUEST, value),
  }),
};

const BITS: Readonly<Record<string, number>> = { b: 8, w: 16, d: 32, q: 64, t: 80, n: 0 };
const unused = (): never => {
  throw new Error('not an x87 operand');
};

function memoryOperand(l: Lift, bits: number): LiftOperand {
  const bytes = (bits / 8) as 2 | 4 | 8;
  return {
    bits,
    isMemory: true,
    read: () => l.load(bytes, l.i64(0)),
    write: (value) => l.store(bytes, l.i64(0), value),
    linear: () => l.i64(0),
    effective: () => l.i64(0),
    stateOffset: unused,
    number: unused,
  };
}

function registerOperand(spec: OperandSpec, modrm: Value): LiftOperand {
  return {
    bits: BITS[spec.size]!,
    isMemory: false,
    read: unused,
    write: () => {},
    linear: unused,
    effective: unused,
    stateOffset: unused,
    number: () => modrm.and(7),
  };
}

function context(l: Lift, bits: number): InstructionContext {
  return {
    bits,
    mode64: true,
    addressBits: () => l.i32(64),
    prefix: () => l.i32(0),
    segment: () => l.i32(3),
    segmentBase: () => l.i64(0),
    rip: () => l.i64(0),
    nextRip: () => l.i64(0),
    x87Opcode: () => l.i32(0),
    jump: unused,
    again: unused,
  };
}

/** A form as a function of the ModRM byte; `bits` is the operand size of sized forms. */
function formFunction(
  name: string,
  instruction: Instruction,
  form: Form,
  bits: number,
): FunctionRef {
  return fn(name, {
    params: { modrm: 'i32' },
    faults: true,
    build(l, { modrm }) {
      const operands = form.operands.map((spec) =>
        spec.source === 'rmMemory'
          ? memoryOperand(l, BITS[spec.size]!)
          : registerOperand(spec, modrm),
      );
      instruction.lift(l, context(l, bits), ...operands);
    },
  });
}

const readRflags: FunctionRef = fn('testReadRflags', {
  params: {},
  result: 'i32',
  build: (l) => l.return(readFlags(l)),
});
const writeRflags: FunctionRef = fn('testWriteRflags', {
  params: { flags: 'i32' },
  build: (l, { flags }) => writeArithmeticFlags(l, flags),
});

type Run = (cpu: number, ...args: number[]) => number;

export class X87Machine {
  readonly #view: DataView;
  readonly #u8: Uint8Array;
  readonly #exports: Record<string, Run>;
  /** Function name by opcode byte and ModRM byte. */
  readonly #names = new Map<number, string>();

  /** `bits` picks the variant of forms that have several operand sizes. */
  constructor(instructions: readonly Instruction[], bits = 32) {
    const roots: FunctionRef[] = [readRflags, writeRflags];
    for (const instruction of instructions) {
      for (const form of instruction.forms) {
        const e = parseEncoding(form.encoding);
        if (e.map !== 0 || e.opcode < 0xd8 || e.opcode > 0xdf) continue;
        const name = `${instruction.name} ${form.encoding}`;
        roots.push(formFunction(name, instruction, form, bits));
        for (let modrm = 0; modrm < 256; modrm++) {
          const fits =
            e.modrmFirst >= 0
              ? modrm >= e.modrmFirst && modrm <= e.modrmLast
              : modrm < 0xc0 && e.digit === ((modrm >> 3) & 7);
          if (fits) this.#names.set(e.opcode * 256 + modrm, name);
        }
      }
    }
    const { bytes } = assemble({
      access: flat,
      memoryPagesMax: 1024,
      roots,
      handEmitted: [],
      table: [],
    });
    const pages = (GUEST + GUEST_BYTES) / 65536;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: 1024, shared: true });
    const module = new WebAssembly.Module(bytes);
    this.#exports = new WebAssembly.Instance(module, { env: { memory } }).exports as Record<
      string,
      Run
    >;
    this.#view = new DataView(memory.buffer);
    this.#u8 = new Uint8Array(memory.buffer);
  }

  name(opcode: number, modrm: number): string | undefined {
    return this.#names.get(opcode * 256 + modrm);
  }

  get(field: { offset: number; stride: number; type: string }, index = 0): bigint {
    const offset = CPU + field.offset + index * field.stride;
    return field.type === 'i64'
      ? this.#view.getBigUint64(offset, true)
      : BigInt(this.#view.getUint32(offset, true));
  }
  set(
    field: { offset: number; stride: number; type: string },
    value: bigint | number,
    index = 0,
  ): void {
    const offset = CPU + field.offset + index * field.stride;
    if (field.type === 'i64') this.#view.setBigUint64(offset, BigInt(value), true);
    else this.#view.setUint32(offset, Number(value), true);
  }
  get guest(): Uint8Array {
    return this.#u8.subarray(GUEST, GUEST + GUEST_BYTES);
  }

  load(state: X87State): void {
    const top = (state.status >> 11) & 7;
    this.set(S.x87Control, state.control);
    this.set(S.x87Status, state.status & ~0x3800);
    this.set(S.x87Top, top);
    let tags = 0;
    for (let n = 0; n < 8; n++) if (((state.tags >> (2 * n)) & 3) !== 3) tags |= 1 << n;
    this.set(S.x87Tags, tags);
    state.registers.forEach((r, i) => {
      this.set(S.x87Significand, r.significand, (top + i) & 7);
      this.set(X87_SIGN_EXPONENT, r.signExponent, (top + i) & 7);
    });
    this.set(S.cr0, 0x33n);
    this.set(S.fault, 0);
    this.set(S.fpuTrap, 0);
  }

  /** Tags are only told apart as empty (3) or not (0). */
  save(): X87State {
    const top = Number(this.get(S.x87Top));
    const used = Number(this.get(S.x87Tags));
    let tags = 0;
    for (let n = 0; n < 8; n++) if (!((used >> n) & 1)) tags |= 3 << (2 * n);
    return {
      control: Number(this.get(S.x87Control)),
      status: Number(this.get(S.x87Status)) | (top << 11),
      tags,
      registers: Array.from({ length: 8 }, (_, i) => ({
        significand: this.get(S.x87Significand, (top + i) & 7),
        signExponent: Number(this.get(X87_SIGN_EXPONENT, (top + i) & 7)) & 0xffff,
      })),
    };
  }

  /** Runs the instruction on the state that is loaded; gives the fault word. */
  execute(opcode: number, modrm: number): number {
    const name = this.name(opcode, modrm);
    if (!name) throw new Error(`no form for ${opcode.toString(16)} ${modrm.toString(16)}`);
    this.#exports[name]!(CPU, modrm);
    return Number(this.get(S.fault));
  }

  run(c: X87Case): { state: X87State; memory: Uint8Array; rflags: number } {
    this.load(parseImage(c.image));
    this.guest.set(c.memory);
    this.set(S.rflags, STATIC_FLAGS);
    this.#exports.testWriteRflags!(CPU, c.rflags);
    this.execute(c.opcode, c.modrm);
    const memory = this.guest.slice(0, MEMORY_BYTES);
    return { state: this.save(), memory, rflags: this.#exports.testReadRflags!(CPU) };
  }
}
