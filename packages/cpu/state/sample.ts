// Where a vCPU is, as far as memory tells while it runs: read from any thread that shares the memory, without a word to
// the vCPU. What is read may be half of one moment and half of the next.

import { at, type Field, S, SEGMENT } from './layout.ts';
import { vcpuBase } from './memory-map.ts';

export interface VcpuSample {
  /** Linear address of the instruction that last began a block, or a region that others were not linked to. */
  readonly address: bigint;
  readonly cpl: number;
  /** It runs nothing: halted, waiting to be started, or shut down. */
  readonly isIdle: boolean;
  /** Where the guest's kernel takes system calls (IA32_LSTAR, else IA32_SYSENTER_EIP); 0 before it has said so. */
  readonly systemCallEntry: bigint;
}

export function sampleVcpu(memory: WebAssembly.Memory, index: number): VcpuSample {
  const view = new DataView(memory.buffer, vcpuBase(index));
  const u64 = (field: Field, n = 0) => view.getBigUint64(at(field, n), true);
  const u32 = (field: Field) => view.getUint32(at(field, 0), true);
  const rip = u64(S.rip);
  const is64 = u32(S.codeBits) === 64;
  const address = is64 ? rip : (rip + u64(S.segBase, SEGMENT.cs)) & 0xffff_ffffn;
  const systemCallEntry = u64(S.msrLstar) || u64(S.msrSysenterEip);
  return { address, cpl: u32(S.cpl) & 3, isIdle: u32(S.activity) !== 0, systemCallEntry };
}
