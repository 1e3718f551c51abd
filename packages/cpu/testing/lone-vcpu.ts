// A processor by itself, as a machine of one has it: memory, decoded code, and the bus and clock that a test gives it.
// Imported by tests only.

import { InterruptBus } from '../apic/interrupt-bus.ts';
import { BlockStore } from '../decode/block-store.ts';
import { SharedGuestMemory } from '../guest-memory.ts';
import { engine } from '../interpreter/engine.ts';
import type { CpuModel } from '../model/cpu-model.ts';
import { planMemory } from '../state/memory-map.ts';
import type { TranslationSource } from '../translator/loader.ts';
import { Vcpu, type VcpuOptions } from '../vcpu.ts';

const RAM_BYTES = 16 << 20;

export interface LoneVcpu {
  readonly vcpu: Vcpu;
  readonly memory: WebAssembly.Memory;
  readonly ram: SharedGuestMemory;
}

export function makeLoneVcpu(
  options: Pick<VcpuOptions, 'bus' | 'clock' | 'random' | 'ferr' | 'exact'> & {
    /** Default: all that there is a line for in the instruction table. */
    readonly model?: CpuModel;
    readonly translation?: (memory: WebAssembly.Memory) => TranslationSource;
  },
): LoneVcpu {
  const { model, translation, ...others } = options;
  const layout = planMemory({ ramBytes: RAM_BYTES, vcpuCount: 1 });
  const pages = { initial: layout.wasmPages, maximum: 65536 };
  const memory = new WebAssembly.Memory({ ...pages, shared: true });
  const { handlers } = engine();
  const blocks = new BlockStore({
    ...{ memory, handlers, ramBytes: RAM_BYTES, vcpuCount: 1 },
    ...(model && { model }),
  });
  const vcpu = new Vcpu({
    ...{ memory, layout, index: 0, blocks, interrupts: new InterruptBus() },
    ...others,
    ...(translation && { translation: translation(memory) }),
  });
  return { vcpu, memory, ram: new SharedGuestMemory({ memory, layout, blocks }) };
}
