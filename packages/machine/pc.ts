// Puts a PC together: processors with their memory, the board, and the host's ends of its wires.

import type { Clock } from '@mimic/base';
import { Pc } from '@mimic/board';
import { adoptEngine, type SharedGuestMemory, type Slices } from '@mimic/cpu';
import { type BlockStore as DiskStore, VirtioFilesystem9p, VirtioNet } from '@mimic/devices';
import { BootFiles } from './boot-files.ts';
import type { Computer, ComputerWires, PartReport, Processor, ProcessorView } from './computer.ts';
import { entropyFrom } from './entropy.ts';
import type { WorkerHost } from './host.ts';
import type { JitReport } from './jit-report.ts';
import type { ComputerConfig } from './options.ts';
import { localProcessor } from './processors/local.ts';
import type { Processors } from './processors/processors.ts';
import { remoteProcessors } from './processors/remote.ts';
import type { TraceKind } from './protocol.ts';
import { type Hasher, hashMemory, hashValue } from './state-hash.ts';

/** Video memory, option ROMs and firmware: what lies there is on the bus, and RAM behind it is out of reach. */
const ISA_HOLE = { gpa: 0xa_0000, sizeBytes: 0x6_0000 };
/** Interrupt enable register of a 16550: received data. */
const IER_RECEIVED_DATA = 1;
/** A driver that probes the port has its interrupt on for less than this. */
const PROBE_MAX_NS = 2_000_000;

/** A PC that has not been booted yet. Takes a moment where the processor's engine has to be built. */
export async function assemblePc(
  config: ComputerConfig,
  wires: ComputerWires,
  host: WorkerHost<DiskStore>,
): Promise<Computer> {
  const image = await host.engine();
  if (image) adoptEngine(image);
  return new PcComputer(config, wires, host);
}

class PcComputer implements Computer {
  readonly memory: SharedGuestMemory;
  readonly #processors: Processors;
  readonly #board: Pc;
  readonly #files: BootFiles;
  readonly #newHasher: () => Hasher;
  /** Input waits until the guest's driver wants to be interrupted for it. */
  readonly #holdsInput: boolean;
  /** Guest time; 0: it has stopped waiting for it. */
  #listensSinceNs = Infinity;
  readonly #clock: Clock;

  constructor(config: ComputerConfig, wires: ComputerWires, host: WorkerHost<DiskStore>) {
    const board = () => this.#board;
    const entropy = entropyFrom(config.rng);
    this.#processors =
      config.cpuCount === 1
        ? localProcessor(config, wires, { board, entropy, host })
        : remoteProcessors(config, wires, { board, host });
    const { memory, interrupts, intr } = this.#processors;
    memory.exclude(ISA_HOLE.gpa, ISA_HOLE.sizeBytes);
    this.memory = memory;
    const { clock } = wires;
    this.#clock = clock;
    const startMs = config.deterministic?.startMs;
    const wallClockMs = startMs === undefined ? Date.now : () => startMs + clock.now() / 1e6;
    this.#newHasher = () => host.sha256();
    this.#board = new Pc({
      memory,
      cpuCount: config.cpuCount,
      clock,
      interrupts,
      intr,
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
    this.#holdsInput = config.earlySerialInput === 'hold';
    this.#files = new BootFiles(config, host);
  }

  get slices(): Slices | undefined {
    return this.#processors.slices;
  }

  get processor(): Processor {
    return this.#processors.processor;
  }

  get processors(): readonly ProcessorView[] {
    return this.#processors.views;
  }

  selectProcessor(index: number): void {
    this.#processors.select(index);
  }

  boot(): void {
    this.processor.hold();
    this.#listensSinceNs = this.#holdsInput ? Infinity : 0;
    this.#board.reset();
    this.#processors.start(this.#files.use((files) => this.#board.boot(files)));
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
    const apics = this.#processors.apics().map((state, index) => ({
      name: `local-apic-${index}`,
      where: `processor ${index}`,
      state,
    }));
    const ports = this.#board.ports.ranges();
    const memory = this.#board.memory.ranges();
    return [
      ...apics,
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

  jit(): JitReport {
    return this.#processors.jit();
  }

  get wasmMemory(): WebAssembly.Memory {
    return this.#processors.wasmMemory;
  }

  stateHash(): string {
    const hasher = this.#newHasher();
    hashMemory(hasher, this.memory);
    hashValue(hasher, this.visibleState());
    return hasher.hex();
  }

  visibleState(): Readonly<Record<string, object>> {
    const processors = this.#processors
      .visibleStates()
      .map((state, index) => [index === 0 ? 'processor' : `processor-${index}`, state]);
    return { ...Object.fromEntries(processors), ...this.#board.save() };
  }

  setTrace(kinds: readonly TraceKind[]): void {
    this.#processors.setTrace(kinds);
  }

  /**
   * True once a driver has the port's receive interrupt on. Drivers that probe turn it on and off again at once,
   * so it counts only when it is still on at a later look.
   */
  #listens(): boolean {
    if (this.#listensSinceNs === 0) return true;
    const isOn = ((this.#board.serial[0]?.save().ier ?? 0) & IER_RECEIVED_DATA) !== 0;
    const nowNs = this.#clock.now();
    if (!isOn) this.#listensSinceNs = Infinity;
    else if (this.#listensSinceNs > nowNs) this.#listensSinceNs = nowNs;
    else if (nowNs - this.#listensSinceNs > PROBE_MAX_NS) this.#listensSinceNs = 0;
    return this.#listensSinceNs === 0;
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
