// A vCPU of this worker as monitor and debugger look into it.

import { type DisassembledInstruction, REGISTER_NAMES, type Vcpu } from '@mimic/cpu';
import type { ProcessorView, Translation } from '../computer.ts';

export class VcpuView implements ProcessorView {
  readonly registerNames: readonly string[] = REGISTER_NAMES;
  readonly #vcpu: Vcpu;

  constructor(vcpu: Vcpu) {
    this.#vcpu = vcpu;
  }
  get instructionCount(): number {
    return Number(this.#vcpu.instructionCount);
  }
  nmi(): void {
    this.#vcpu.nmi();
  }
  readRegister(name: string): bigint | undefined {
    return this.#vcpu.readRegister(name);
  }
  writeRegister(name: string, value: bigint): boolean {
    return this.#vcpu.writeRegister(name, value);
  }
  translate(gva: bigint): Translation | undefined {
    return this.#vcpu.translate(gva);
  }
  disassemble(gva: bigint, count: number): DisassembledInstruction[] {
    return this.#vcpu.disassemble(gva, count);
  }
}
