// Host bridge: identity of the 82441FX (i440FX PMC, Intel 290549) and PCI configuration mechanism
// #1. PCI Local Bus Specification 3.0 §3.2.2.3.2. The DRAM and shadow registers (PAM 59h-5Fh, SMRAM
// 72h) keep what is written, for firmware that reads it back.
// Deviation: they do not switch memory; the board maps ROM and RAM as it sees fit.

import { bit, bits, get } from '@mimic/base';
import { type AccessSize, allOnes } from '../device.ts';
import type { PciBus, PciFunction } from './bus.ts';
import { ConfigSpace, type ConfigSpaceState, type Registers } from './config-space.ts';

/** CONFIG_ADDRESS. PCI 3.0 figure 3-2. */
const CONFIG_ADDRESS = {
  register: bits(7, 2),
  position: bits(15, 8),
  bus: bits(23, 16),
  enable: bit(31),
};
const CONFIG_ADDRESS_WRITABLE = 0x80ff_fffc;

/** Offsets from port CF8h. */
const PORT = { configAddress: 0, resetControl: 1, configData: 4, end: 8 };

/** 290549 §3.2: programmable attribute map and SMRAM control. */
const PAM_FIRST = 0x59;
const PAM_LAST = 0x5f;
const PAM_WRITABLE = 0x33;
const SMRAM = 0x72;
const SMRAM_RESET = 0x02;
const SMRAM_WRITABLE = 0x78;

export interface HostBridgeState {
  configAddress: number;
  config: ConfigSpaceState;
}

export class HostBridge implements PciFunction {
  readonly kind = 'i440fx';
  /** Ports CF8h to CFFh. */
  readonly ports: Registers = {
    read: (offset, size) => this.#readPort(offset, size),
    write: (offset, size, value) => this.#writePort(offset, size, value),
  };
  readonly #bus: PciBus;
  readonly #resetControl: Registers | undefined;
  readonly #config = new ConfigSpace({
    identity: { vendorId: 0x8086, deviceId: 0x1237, revisionId: 2, classCode: 0x060000 },
  });
  #configAddress = 0;

  /** `resetControl` is the register at port CF9h, which lies under CONFIG_ADDRESS but is a byte. */
  constructor(wires: { bus: PciBus; resetControl?: Registers }) {
    this.#bus = wires.bus;
    this.#resetControl = wires.resetControl;
    for (let offset = PAM_FIRST; offset <= PAM_LAST; offset++) {
      this.#config.define(offset, 1, 0, offset === PAM_FIRST ? 0x30 : PAM_WRITABLE);
    }
    this.#config.define(SMRAM, 1, SMRAM_RESET, SMRAM_WRITABLE);
  }

  read(offset: number, size: AccessSize): number {
    return this.#config.read(offset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.#config.write(offset, size, value);
  }

  reset(): void {
    this.#configAddress = 0;
    this.#config.reset();
  }

  save(): HostBridgeState {
    return { configAddress: this.#configAddress, config: this.#config.save() };
  }

  restore(state: HostBridgeState): void {
    this.#configAddress = state.configAddress;
    this.#config.restore(state.config);
  }

  #readPort(offset: number, size: AccessSize): number {
    if (offset === PORT.configAddress && size === 4) return this.#configAddress;
    if (offset === PORT.resetControl && size === 1) {
      return this.#resetControl?.read(0, 1) ?? allOnes(1);
    }
    if (!this.#selectsData(offset, size)) return allOnes(size);
    return this.#bus.readConfig(this.#position(), this.#register(offset), size);
  }

  #writePort(offset: number, size: AccessSize, value: number): void {
    if (offset === PORT.configAddress && size === 4) {
      this.#configAddress = (value & CONFIG_ADDRESS_WRITABLE) >>> 0;
    } else if (offset === PORT.resetControl && size === 1) {
      this.#resetControl?.write(0, 1, value);
    } else if (this.#selectsData(offset, size)) {
      const access = { offset: this.#register(offset), size, value };
      this.#bus.writeConfig(this.#position(), access);
    }
  }

  /** There is only bus 0: a cycle for another one ends in a master abort, which reads all ones. */
  #selectsData(offset: number, size: AccessSize): boolean {
    return (
      offset >= PORT.configData &&
      offset + size <= PORT.end &&
      get(this.#configAddress, CONFIG_ADDRESS.enable) === 1 &&
      get(this.#configAddress, CONFIG_ADDRESS.bus) === 0
    );
  }

  #position(): number {
    return get(this.#configAddress, CONFIG_ADDRESS.position);
  }

  #register(portOffset: number): number {
    return get(this.#configAddress, CONFIG_ADDRESS.register) * 4 + (portOffset & 3);
  }
}
