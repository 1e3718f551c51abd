// The one processor of a computer, in the worker of its board: an access to the board is a plain call.

import type { Pc } from '@mimic/board';
import {
  BlockStore,
  type Bus,
  cpuModel,
  engine,
  InThreadTranslator,
  InterruptBus,
  inThreadOptions,
  planMemory,
  SharedGuestMemory,
  Slices,
  type TranslationSource,
  Vcpu,
} from '@mimic/cpu';
import type { ComputerWires, Processor, StopCause } from '../computer.ts';
import type { Entropy } from '../entropy.ts';
import { jitReport } from '../jit-report.ts';
import type { ComputerConfig } from '../options.ts';
import { Tracer } from '../tracer.ts';
import type { Processors } from './processors.ts';
import { startTranslation, type TranslatorHost, translationsFrom } from './translation.ts';
import { VcpuView } from './view.ts';

class LocalProcessor extends VcpuView implements Processor {
  readonly #vcpu: Vcpu;
  readonly #tracer: Tracer;

  constructor(vcpu: Vcpu, tracer: Tracer) {
    super(vcpu);
    this.#vcpu = vcpu;
    this.#tracer = tracer;
  }
  run(instructionsMax: number): StopCause {
    const cause = this.#tracer.run(instructionsMax);
    return cause === 'fault' ? 'event' : cause;
  }
  stop(): void {
    this.#vcpu.requestExit();
  }
  hold(): void {}
}

/** `board` is asked for when the guest runs: it is built after its processor. */
export function localProcessor(
  config: ComputerConfig,
  wires: ComputerWires,
  { board, entropy, host }: { board: () => Pc; entropy: Entropy; host: TranslatorHost },
): Processors {
  const layout = planMemory({ ramBytes: config.ramBytes, vcpuCount: 1 });
  const pages = { initial: layout.wasmPages, maximum: layout.wasmPages };
  const memory = new WebAssembly.Memory({ ...pages, shared: true });
  const { handlers } = engine();
  const blocks = new BlockStore({
    memory,
    handlers,
    ramBytes: layout.ramBytes,
    vcpuCount: 1,
    model: cpuModel(config.cpu),
  });
  const interrupts = new InterruptBus();
  const { translation, slices } = translationOf(config, memory, blocks, host);
  const vcpu = new Vcpu({
    memory,
    layout,
    index: 0,
    bus: busTo(board),
    clock: wires.clock,
    blocks,
    interrupts,
    ferr: { set: (high) => board().ferr.set(high) },
    initRequested: wires.reset,
    exact: config.deterministic !== undefined,
    ...(translation && { translation }),
    random: () => entropy.u64(),
  });
  const tracer = new Tracer({ vcpu, board, trace: wires.trace });
  const processor = new LocalProcessor(vcpu, tracer);
  return {
    memory: new SharedGuestMemory({ memory, layout, blocks }),
    slices,
    interrupts,
    intr: vcpu.intr,
    processor,
    views: [processor],
    select: () => {},
    start: (state) => vcpu.start(state),
    apics: () => [vcpu.apic.save()],
    visibleStates: () => {
      const { fields, ...rest } = vcpu.visibleState();
      return [{ ...fields, ...rest }];
    },
    jit: () =>
      jitReport({
        memory,
        ramBytes: layout.ramBytes,
        processors: [vcpu.runCounters],
        isTranslated: translation !== undefined,
      }),
    wasmMemory: memory,
    setTrace: (kinds) => tracer.set(kinds),
  };
}

/** The way to a translator, if the machine has one. Deterministic guests do not notice how long it takes: theirs is here. */
function translationOf(
  config: ComputerConfig,
  memory: WebAssembly.Memory,
  blocks: BlockStore,
  host: TranslatorHost,
): { translation?: TranslationSource; slices: Slices | undefined } {
  if (config.accel === 'interpreter') return { slices: undefined };
  const { lacking } = blocks.model;
  if (config.deterministic) {
    const options = { ...inThreadOptions(memory), lacking, counts: true };
    return { translation: new InThreadTranslator(options), slices: undefined };
  }
  const [link] = startTranslation(host, { memory, vcpuCount: 1, lacking });
  return {
    translation: translationsFrom(host, { memory, index: 0, link: link! }),
    slices: new Slices(memory, 0, () => host.now()),
  };
}

function busTo(board: () => Pc): Bus {
  return {
    portRead: (port, size) => board().portRead(port, size),
    portWrite: (port, size, value) => board().portWrite(port, size, value),
    memoryRead: (gpa, size) => board().memoryRead(gpa, size),
    memoryWrite: (gpa, size, value) => board().memoryWrite(gpa, size, value),
    acknowledgeInterrupt: () => board().acknowledgeInterrupt(),
    endOfInterrupt: (vector) => board().endOfInterrupt(vector),
  };
}
