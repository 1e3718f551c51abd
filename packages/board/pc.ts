// The PC board: i440FX and PIIX names, the parts that Linux needs, their wires. No firmware runs: what it
// would do (PCI setup, tables, starting the kernel) `boot` does. Left out: VGA, floppy, IDE, DMA controllers.
// Deviation: address line 20 is always open, as direct boot has no use for closing it.

import { assert, type GuestMemory, type InterruptSink, type IrqLine } from '@mimic/base';
import {
  ACPI_PM,
  type AccessSize,
  AcpiPm,
  type BarRegion,
  CoprocessorError,
  DebugPort,
  type Device,
  HostBridge,
  Hpet,
  I8042,
  Ioapic,
  PciBus,
  Pic8259,
  Piix3Isa,
  Piix4Pm,
  Pit8254,
  PostCode,
  ResetControl,
  Rtc,
  registerWindow,
  SystemControlPort,
  Uart16550,
  VirtioBlock,
  VirtioConsole,
  type VirtioDevice,
  VirtioPci,
  VirtioRng,
} from '@mimic/devices';
import {
  IRQ,
  MEMORY,
  MEMORY_SPACE,
  PCI_SLOT,
  PIIX_FUNCTION,
  PIRQ_DEFAULTS,
  PORT,
  PORT_SPACE,
} from './address-map.ts';
import { AddressSpace, BAR_PRIORITY, type Mapping } from './address-space.ts';
import type { Board, BoardState, KernelFiles, Part } from './board.ts';
import type { ProcessorState } from './boot/image.ts';
import { BoardError } from './errors.ts';
import { bootKernel } from './firmware.ts';
import { FirmwareRom } from './firmware-rom.ts';
import { InterruptWiring } from './interrupt-wiring.ts';
import { decodeMessage, isMessageAddress } from './msi.ts';
import { SLEEP_TYPE_S5 } from './pc-acpi.ts';
import { checkOptions, type PcOptions } from './pc-options.ts';
import { routePirqs, setUpPci } from './pci-setup.ts';

const HPET_SIZE = 0x400;
const IOAPIC_SIZE = 0x1000;
/** The device numbers its two ports as they lie: 0x60 and 0x64. */
const I8042_COMMAND_OFFSET = 4;
/** Edge/level control of IRQ 8 to 15: SCI and PIRQs are level-triggered. 290550 §2.5.5. */
const ELCR_HIGH = [IRQ.sci, ...PIRQ_DEFAULTS].reduce((mask, irq) => mask | (1 << (irq - 8)), 0);

export class Pc implements Board {
  readonly ports = new AddressSpace(PORT_SPACE);
  readonly memory = new AddressSpace(MEMORY_SPACE);
  readonly serial: readonly Uart16550[];
  /** Present if the options had console ports. */
  readonly console: VirtioConsole | undefined;
  readonly i8042: I8042;
  /** FERR# of the boot processor. */
  readonly ferr: IrqLine;
  readonly #options: PcOptions;
  readonly #ram: GuestMemory;
  readonly #interrupts: InterruptSink;
  readonly #rom = new FirmwareRom(MEMORY.firmwareRomEnd - MEMORY.firmwareRom);
  readonly #pic: Pic8259;
  readonly #ioapic: Ioapic;
  readonly #wiring: InterruptWiring;
  readonly #pci: PciBus;
  readonly #piix3: Piix3Isa;
  readonly #powerManagement: AcpiPm;
  readonly #parts: Part[] = [];
  readonly #cards: VirtioPci[] = [];
  readonly #barMappings = new Map<BarRegion, Mapping>();
  #powerManagementMapping: Mapping | undefined;

  constructor(options: PcOptions) {
    this.#options = options;
    this.#ram = options.memory;
    this.#interrupts = options.interrupts;
    checkOptions(options);
    // Deviation: resize messages as Linux before 6.15 reads them, not as §5.3.6.2 has them (see the device).
    this.console = options.consoles?.length
      ? new VirtioConsole(options.consoles, { resizeOrder: 'rowsCols' })
      : undefined;
    // Controllers first: they are reset and restored before what drives their inputs.
    this.#pic = this.#add('pic', new Pic8259({ intr: options.intr }));
    this.#ioapic = this.#add('ioapic', new Ioapic({ sink: options.interrupts }));
    this.#wiring = new InterruptWiring({ pic: this.#pic, ioapic: this.#ioapic });
    this.#mapControllers();
    this.#addTimers();
    this.i8042 = this.#addKeyboardController();
    this.serial = this.#addSerialPorts();
    this.ferr = this.#addCoprocessorError();
    const resetControl = this.#addControlPorts();
    this.#powerManagement = this.#addPowerManagement();
    this.#pci = new PciBus({
      pirqs: [0, 1, 2, 3].map((index) => this.#wiring.pirq(index)) as [
        IrqLine,
        IrqLine,
        IrqLine,
        IrqLine,
      ],
      mappingChanged: (region, address) => this.#moveBar(region, address),
    });
    this.#piix3 = this.#addChipset(resetControl);
    for (const [index, device] of this.#listCards().entries()) this.#addCard(index, device);
    this.memory.map(
      MEMORY.firmwareRom,
      MEMORY.firmwareRomEnd - MEMORY.firmwareRom,
      this.#rom,
      'firmware-rom',
    );
    this.reset();
  }

  portRead(port: number, size: AccessSize): number {
    return this.ports.read(port, size);
  }

  portWrite(port: number, size: AccessSize, value: number): void {
    this.ports.write(port, size, value);
  }

  memoryRead(gpa: number, size: AccessSize): number {
    return this.memory.read(gpa, size);
  }

  memoryWrite(gpa: number, size: AccessSize, value: number): void {
    this.memory.write(gpa, size, value);
  }

  memoryRead64(gpa: number): bigint {
    return this.memory.read64(gpa);
  }

  memoryWrite64(gpa: number, value: bigint): void {
    this.memory.write64(gpa, value);
  }

  acknowledgeInterrupt(): number {
    return this.#pic.acknowledge();
  }

  endOfInterrupt(vector: number): void {
    this.#ioapic.endOfInterrupt(vector);
  }

  parts(): readonly Part[] {
    return this.#parts;
  }

  save(): BoardState {
    return Object.fromEntries(this.#parts.map(({ name, device }) => [name, device.save()]));
  }

  restore(state: BoardState): void {
    const names = this.#parts.map((part) => part.name);
    const missing = names.filter((name) => state[name] === undefined);
    const unknown = Object.keys(state).filter((name) => !names.includes(name));
    if (missing.length + unknown.length > 0) {
      const message = `The saved state is that of another machine: it lacks [${missing}] and has [${unknown}] besides.`;
      throw new BoardError('BOARD_STATE_MISMATCH', message, {
        hint: 'Restore it into a machine with the same options.',
      });
    }
    for (const { name, device } of this.#parts) device.restore(state[name]!);
  }

  reset(): void {
    for (const { device } of this.#parts) device.reset();
    this.#wiring.drive();
  }

  boot(files: KernelFiles): ProcessorState {
    setUpPci(this.#pci);
    routePirqs(this.#piix3);
    this.portWrite(PORT.elcr + 1, 1, ELCR_HIGH);
    return bootKernel(files, {
      ram: this.#ram,
      rom: this.#rom,
      cpuCount: this.#options.cpuCount,
      serialCount: this.serial.length,
    });
  }

  pressPowerButton(): boolean {
    return this.#powerManagement.pressPowerButton();
  }

  async drain(): Promise<void> {
    const waits = this.#cards.map((card) => new Promise<void>((idle) => card.drain(idle)));
    await Promise.all(waits);
  }

  resume(): void {
    for (const card of this.#cards) card.resume();
  }

  /** A device's write to guest-physical memory that may be an interrupt message. */
  #messageWrite(address: number, data: number): void {
    if (!isMessageAddress(address)) {
      this.#ram.writeU32(address, data);
      return;
    }
    const message = decodeMessage(address, data);
    if (message !== undefined) this.#interrupts.send(message);
  }

  #add<Kind extends Device>(name: string, device: Kind): Kind {
    assert(!this.#parts.some((part) => part.name === name), `two parts are called ${name}`);
    this.#parts.push({ name, device });
    return device;
  }

  #listCards(): VirtioDevice[] {
    const { disks = [], fillRandom, cards = [] } = this.#options;
    return [
      ...disks.map((store) => new VirtioBlock(store)),
      ...(this.console === undefined ? [] : [this.console]),
      ...(fillRandom === undefined ? [] : [new VirtioRng(fillRandom)]),
      ...cards,
    ];
  }

  #mapControllers(): void {
    this.ports.map(PORT.picMaster, 2, registerWindow(this.#pic, 0), 'pic-master');
    this.ports.map(PORT.picSlave, 2, registerWindow(this.#pic, 2), 'pic-slave');
    this.ports.map(PORT.elcr, 2, registerWindow(this.#pic, 4), 'elcr');
    this.memory.map(MEMORY.ioApic, IOAPIC_SIZE, this.#ioapic, 'ioapic');
  }

  /** PIT and RTC drive their lines through the HPET, which can take them over. */
  #addTimers(): void {
    const { clock, wallClockMs } = this.#options;
    const hpet = this.#add(
      'hpet',
      new Hpet({
        clock,
        irq0: this.#wiring.isa(IRQ.pit),
        irq8: this.#wiring.isa(IRQ.rtc),
        pin: (index) => this.#ioapic.pin(index),
      }),
    );
    const pit = this.#add('pit', new Pit8254({ irq: hpet.pitInput, clock }));
    const rtc = this.#add('rtc', new Rtc({ irq: hpet.rtcInput, clock, wallClockMs }));
    const portB = this.#add('system-control-b', new SystemControlPort({ timer: pit, clock }));
    this.memory.map(MEMORY.hpet, HPET_SIZE, hpet, 'hpet');
    this.ports.map(PORT.pit, 4, pit, 'pit');
    this.ports.map(PORT.rtc, 2, rtc, 'rtc');
    this.ports.map(PORT.systemControlB, 1, portB, 'system-control-b');
  }

  #addKeyboardController(): I8042 {
    const i8042 = this.#add(
      'i8042',
      new I8042({
        keyboardIrq: this.#wiring.isa(IRQ.keyboard),
        mouseIrq: this.#wiring.isa(IRQ.mouse),
        clock: this.#options.clock,
        reset: () => this.#options.onReset?.('processor'),
        a20: () => {},
      }),
    );
    this.ports.map(PORT.i8042Data, 1, registerWindow(i8042, 0), 'i8042-data');
    this.ports.map(
      PORT.i8042Command,
      1,
      registerWindow(i8042, I8042_COMMAND_OFFSET),
      'i8042-command',
    );
    return i8042;
  }

  #addSerialPorts(): Uart16550[] {
    const { serial = [], clock } = this.#options;
    return serial.map((wires, index) => {
      const name = `com${index + 1}`;
      const irq = this.#wiring.isa(IRQ.com[index]!);
      const uart = this.#add(name, new Uart16550({ irq, clock, ...wires }));
      this.ports.map(PORT.com[index]!, 8, uart, name);
      return uart;
    });
  }

  /** Gives the line that the processor's FERR# drives. */
  #addCoprocessorError(): IrqLine {
    const irq = this.#wiring.isa(IRQ.coprocessor);
    const device = this.#add('coprocessor-error', new CoprocessorError({ irq }));
    this.ports.map(PORT.coprocessorError, 1, device, 'coprocessor-error');
    return device.input;
  }

  #addControlPorts(): ResetControl {
    const control = this.#add(
      'reset-control',
      new ResetControl({
        reset: (kind) => this.#options.onReset?.(kind === 'hard' ? 'system' : 'processor'),
        a20: () => {},
      }),
    );
    const post = this.#add('post-code', new PostCode());
    const debug = new DebugPort({ out: this.#options.debug ?? { write: () => {} } });
    this.#add('debug-console', debug);
    this.ports.map(PORT.systemControlA, 1, registerWindow(control, 0), 'system-control-a');
    this.ports.map(PORT.post, 1, post, 'post-code');
    this.ports.map(PORT.debugConsole, 1, debug, 'debug-console');
    return control;
  }

  #addPowerManagement(): AcpiPm {
    const sci = this.#wiring.isa(IRQ.sci);
    const sleep = (type: number): void => {
      if (type === SLEEP_TYPE_S5) this.#options.onPowerOff?.();
      else this.#options.onSleep?.(type);
    };
    const wires = { sci, clock: this.#options.clock, sleep };
    const block = this.#add('acpi-pm', new AcpiPm(wires, { timerBits: 32 }));
    const apm = registerWindow(block, ACPI_PM.apm);
    this.ports.map(PORT.smiCommand, ACPI_PM.apmSize, apm, 'smi-command');
    return block;
  }

  #addChipset(resetControl: ResetControl): Piix3Isa {
    const register = registerWindow(resetControl, 1);
    const bridge = this.#pci.add(
      { device: PCI_SLOT.hostBridge },
      () => new HostBridge({ bus: this.#pci, resetControl: register }),
    );
    this.#add('host-bridge', bridge);
    this.ports.map(PORT.pciConfig, 8, bridge.ports, 'pci-config');
    const { isaBridge: device } = PCI_SLOT;
    const piix3 = this.#pci.add(
      { device, function: PIIX_FUNCTION.isa },
      () =>
        new Piix3Isa({
          routeChanged: (pirq, irq) => this.#wiring.route(pirq, irq),
        }),
    );
    this.#add('piix3-isa', piix3);
    const piix4 = this.#pci.add(
      { device, function: PIIX_FUNCTION.powerManagement },
      () =>
        new Piix4Pm(
          { baseChanged: (base) => this.#movePowerManagement(base) },
          { base: PORT.powerManagement },
        ),
    );
    this.#add('piix4-pm', piix4);
    return piix3;
  }

  #addCard(index: number, device: VirtioDevice): void {
    const slot = PCI_SLOT.firstCard + index;
    const card = this.#pci.add(
      { device: slot },
      (connection) =>
        new VirtioPci({
          connection,
          device,
          memory: this.#ram,
          msi: (address, data) => this.#messageWrite(address, data),
        }),
    );
    this.#cards.push(card);
    this.#add(`pci-${slot}-${device.kind}`, card);
  }

  #moveBar(region: BarRegion, address: number | undefined): void {
    const space = region.space === 'io' ? this.ports : this.memory;
    const before = this.#barMappings.get(region);
    if (before !== undefined) space.unmap(before);
    this.#barMappings.delete(region);
    if (address === undefined) return;
    const { sizeBytes, registers, name } = region;
    const mapping = space.map(address, sizeBytes, registers, name, BAR_PRIORITY);
    this.#barMappings.set(region, mapping);
  }

  /** The guest can move the block anywhere, so it yields to the fixed parts as a BAR does. */
  #movePowerManagement(base: number | undefined): void {
    if (this.#powerManagementMapping !== undefined) this.ports.unmap(this.#powerManagementMapping);
    this.#powerManagementMapping =
      base === undefined
        ? undefined
        : this.ports.map(base, ACPI_PM.blockSize, this.#powerManagement, 'acpi-pm', BAR_PRIORITY);
  }
}
