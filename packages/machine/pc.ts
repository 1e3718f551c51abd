// Puts a PC together: memory, one processor, the board, and the host's ends of its wires.

import { type KernelFiles, Pc } from '@mimic/board';
import {
  BlockStore,
  type Bus,
  cpuModel,
  engine,
  InterruptBus,
  planMemory,
  REGISTER_NAMES,
  SharedGuestMemory,
  Vcpu,
} from '@mimic/cpu';
import { type BlockStore as DiskStore, VirtioFilesystem9p, VirtioNet } from '@mimic/devices';
import type { Computer, ComputerWires, PartReport, Processor, StopCause } from './computer.ts';
import { entropyFrom } from './entropy.ts';
import type { WorkerHost } from './host.ts';
import type { ComputerConfig } from './options.ts';
import type { TraceKind } from './protocol.ts';
import { type Hasher, hashMemory, hashValue } from './state-hash.ts';
import { Tracer } from './tracer.ts';

/** Video memory, option ROMs and firmware: what lies there is on the bus, and RAM behind it is out of reach. */
const ISA_HOLE = { gpa: 0xa_0000, sizeBytes: 0x6_0000 };
/** Interrupt enable register of a 16550: received data. */
const IER_RECEIVED_DATA = 1;

/** A PC that has not been booted yet. Takes a moment: the processor's engine is built. */
export async function assemblePc(
  config: ComputerConfig,
  wires: ComputerWires,
  host: WorkerHost<DiskStore>,
): Promise<Computer> {
  return new PcComputer(config, wires, host);
}

class PcComputer implements Computer {
  readonly processor: Processor;
  readonly memory: SharedGuestMemory;
  readonly #vcpu: Vcpu;
  readonly #board: Pc;
  readonly #files: KernelFiles;
  readonly #tracer: Tracer;
  readonly #newHasher: () => Hasher;
  /** Input waits until the guest's driver wants to be interrupted for it. */
  readonly #holdsInput: boolean;
  #listensSince: 'never' | 'this-look' | 'always' = 'never';

  constructor(config: ComputerConfig, wires: ComputerWires, host: WorkerHost<DiskStore>) {
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
    this.memory = new SharedGuestMemory({ memory, layout, blocks });
    this.memory.exclude(ISA_HOLE.gpa, ISA_HOLE.sizeBytes);
    const { clock, trace } = wires;
    const interrupts = new InterruptBus();
    const entropy = entropyFrom(config.rng);
    const bus: Bus = {
      portRead: (port, size) => this.#board.portRead(port, size),
      portWrite: (port, size, value) => this.#board.portWrite(port, size, value),
      memoryRead: (gpa, size) => this.#board.memoryRead(gpa, size),
      memoryWrite: (gpa, size, value) => this.#board.memoryWrite(gpa, size, value),
      acknowledgeInterrupt: () => this.#board.acknowledgeInterrupt(),
      endOfInterrupt: (vector) => this.#board.endOfInterrupt(vector),
    };
    const random = () => entropy.u64();
    const startMs = config.deterministic?.startMs;
    const wallClockMs = startMs === undefined ? Date.now : () => startMs + clock.now() / 1e6;
    this.#newHasher = () => host.sha256();
    const ferr = { set: (high: boolean) => this.#board.ferr.set(high) };
    this.#vcpu = new Vcpu({
      memory,
      layout,
      index: 0,
      bus,
      clock,
      blocks,
      interrupts,
      ferr,
      initRequested: wires.reset,
      exact: config.deterministic !== undefined,
      random,
    });
    this.#board = new Pc({
      memory: this.memory,
      cpuCount: 1,
      clock,
      interrupts,
      intr: this.#vcpu.intr,
      wallClockMs,
      serial: [{ out: wires.serialOutput, roomAvailable: wires.serialRoom }],
      disks: config.disks.map((disk) => host.openStore(disk)),
      consoles: config.consoles.map((port, index) => ({
        ...port,
        out: wires.consoleOutputs[index]!,
      })),
      cards: [
        ...config.shares.map((share) => {
          const folder = host.openFolder(share);
          return new VirtioFilesystem9p({ folder, tag: share.tag, nowMs: wallClockMs });
        }),
        ...networkCards(config.network),
      ],
      fillRandom: (bytes) => entropy.fill(bytes),
      onPowerOff: wires.powerOff,
      // Without firmware a processor that is reset alone has nothing to run: the whole board starts anew.
      onReset: wires.reset,
    });
    for (const [index, port] of (this.#board.console?.ports ?? []).entries()) {
      port.onRoom = () => wires.consoleRoom(index);
    }
    this.#tracer = new Tracer({ vcpu: this.#vcpu, board: this.#board, trace });
    this.processor = this.#makeProcessor();
    this.#holdsInput = config.earlySerialInput === 'hold';
    this.#files = {
      kernel: config.kernel,
      ...(config.initrd === undefined ? {} : { initrd: config.initrd }),
      commandLine: config.append,
    };
  }

  boot(): void {
    this.#listensSince = this.#holdsInput ? 'never' : 'always';
    this.#board.reset();
    this.#vcpu.start(this.#board.boot(this.#files));
  }

  pressPowerButton(): boolean {
    return this.#board.pressPowerButton();
  }

  serialInput(bytes: Uint8Array): number {
    const [port] = this.#board.serial;
    if (port === undefined || !this.#listens()) return 0;
    return port.receive(bytes);
  }

  consoleInput(index: number, bytes: Uint8Array): number {
    return this.#board.console?.ports[index]?.receive(bytes) ?? 0;
  }

  parts(): PartReport[] {
    const apic = { name: 'local-apic-0', where: 'processor 0', state: this.#vcpu.apic.save() };
    const ports = this.#board.ports.ranges();
    const memory = this.#board.memory.ranges();
    return [
      apic,
      ...this.#board.parts().map(({ name, device }) => {
        const own = (range: { name: string; device: unknown }) =>
          range.device === device || range.name === name || range.name.startsWith(`${name}-`);
        const at = [
          ...ports.filter(own).map((range) => `ports ${span(range)}`),
          ...memory.filter(own).map((range) => `memory ${span(range)}`),
        ];
        return { name, where: at.join(', '), state: device.save() };
      }),
    ];
  }

  stateHash(): string {
    const hasher = this.#newHasher();
    hashMemory(hasher, this.memory);
    hashValue(hasher, this.visibleState());
    return hasher.hex();
  }

  visibleState(): Readonly<Record<string, object>> {
    const { fields, ...rest } = this.#vcpu.visibleState();
    return { processor: { ...fields, ...rest }, ...this.#board.save() };
  }

  setTrace(kinds: readonly TraceKind[]): void {
    this.#tracer.set(kinds);
  }

  /**
   * True once a driver has the port's receive interrupt on. Drivers that probe turn it on and off again at once,
   * so it counts only when it is still on at the next look, a slice of guest code later.
   */
  #listens(): boolean {
    if (this.#listensSince === 'always') return true;
    const isOn = ((this.#board.serial[0]?.save().ier ?? 0) & IER_RECEIVED_DATA) !== 0;
    const wasOn = this.#listensSince === 'this-look';
    this.#listensSince = isOn ? (wasOn ? 'always' : 'this-look') : 'never';
    return isOn && wasOn;
  }

  #makeProcessor(): Processor {
    const vcpu = this.#vcpu;
    return {
      registerNames: REGISTER_NAMES,
      run: (instructionsMax): StopCause => {
        const cause = this.#tracer.run(instructionsMax);
        return cause === 'fault' ? 'event' : cause;
      },
      stop: () => vcpu.requestExit(),
      nmi: () => vcpu.nmi(),
      get instructionCount() {
        return Number(vcpu.instructionCount);
      },
      readRegister: (name) => vcpu.readRegister(name),
      writeRegister: (name, value) => vcpu.writeRegister(name, value),
      translate: (gva) => vcpu.translate(gva),
      disassemble: (gva, count) => vcpu.disassemble(gva, count),
    };
  }
}

/** The card's cable ends nowhere: what is sent, the card counts. */
function networkCards(network: ComputerConfig['network']): VirtioNet[] {
  if (network === undefined) return [];
  const card = new VirtioNet({ send: () => undefined }, { mac: network.mac });
  card.setLinkUp(network.link === 'up');
  return [card];
}

function span({ base, sizeBytes }: { base: number; sizeBytes: number }): string {
  return `0x${base.toString(16)}-0x${(base + sizeBytes - 1).toString(16)}`;
}
