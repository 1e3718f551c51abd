// Virtio over PCI, modern interface only. Virtio 1.2 §4.1. One 32-bit memory BAR holds all
// structures and the MSI-X table; each queue can have a vector of its own. Without MSI-X, INTx with
// the ISR status byte.
// Left out: transitional (legacy) interface, shared memory, notification data, queue reset.

import { assert, bit, type GuestMemory, get, type IrqLine } from '@mimic/base';
import { type AccessSize, allOnes } from '../device.ts';
import type { PciConnection, PciFunction } from '../pci/bus.ts';
import { ConfigSpace, type ConfigSpaceState } from '../pci/config-space.ts';
import { type MsiWire, Msix, type MsixState } from '../pci/msix.ts';
import { DEVICE_TYPE, type VirtioDevice } from './device.ts';
import {
  AREA,
  type Area,
  type QueueState,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  Virtqueue,
} from './queue.ts';
import { addPciConfigAccess, addStructures, BAR_BYTES, STRUCTURE } from './transport-pci-layout.ts';

const VENDOR_ID = 0x1af4;
const DEVICE_ID_BASE = 0x1040; // §4.1.2.1: plus the device type.
const REVISION_ID = 1;
const VIRTIO_F_VERSION_1 = 32;
const TRANSPORT_FEATURES = [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1];

/** PCI class codes; the driver matches by device id, these are for listings. */
const CLASS_CODE: Record<number, number> = {
  [DEVICE_TYPE.network]: 0x020000,
  [DEVICE_TYPE.block]: 0x018000,
  [DEVICE_TYPE.console]: 0x078000,
};
const CLASS_CODE_OTHER = 0xff0000;

/** Device status. §2.1. */
const STATUS = { driverOk: bit(2), featuresOk: bit(3), needsReset: bit(6) };
/** All that the driver can set: ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, FAILED. */
const STATUS_WRITABLE = 0x8f;

/** ISR status. §4.1.4.5. */
const ISR = { queue: bit(0), config: bit(1) };

/** Common configuration. §4.1.4.3. */
const COMMON = {
  deviceFeatureSelect: 0x00,
  deviceFeature: 0x04,
  driverFeatureSelect: 0x08,
  driverFeature: 0x0c,
  configMsixVector: 0x10,
  numQueues: 0x12,
  deviceStatus: 0x14,
  configGeneration: 0x15,
  queueSelect: 0x16,
  queueSize: 0x18,
  queueMsixVector: 0x1a,
  queueEnable: 0x1c,
  queueNotifyOff: 0x1e,
  queueDesc: 0x20,
  queueEnd: 0x38,
} as const;

const NO_VECTOR = 0xffff;

interface CommonState {
  deviceFeatureSelect: number;
  driverFeatureSelect: number;
  /** Accepted feature bits, 0 to 31 and 32 to 63. */
  driverFeatures: [number, number];
  configMsixVector: number;
  queueMsixVectors: number[];
  deviceStatus: number;
  configGeneration: number;
  queueSelect: number;
  isr: number;
  /** Why the device needs a reset; empty if it does not. */
  fault: string;
}

export interface VirtioPciState {
  config: ConfigSpaceState;
  msix: MsixState;
  common: CommonState;
  queues: QueueState[];
  device: object;
}

export class VirtioPci implements PciFunction {
  readonly kind: string;
  readonly device: VirtioDevice;
  readonly #intx: IrqLine;
  readonly #config: ConfigSpace;
  readonly #msix: Msix;
  readonly #queues: readonly Virtqueue[];
  readonly #offered: readonly [number, number];
  /** Where the PCI configuration access capability lies, and its data window in it. */
  readonly #access: { capability: number; data: number };
  #common: CommonState;

  constructor(wires: {
    connection: PciConnection;
    device: VirtioDevice;
    memory: GuestMemory;
    msi: MsiWire;
  }) {
    const { connection, device, memory, msi } = wires;
    this.kind = `${device.kind}-pci`;
    this.device = device;
    this.#intx = connection.intx[0];
    this.#config = new ConfigSpace({
      identity: {
        vendorId: VENDOR_ID,
        deviceId: DEVICE_ID_BASE + device.deviceType,
        revisionId: REVISION_ID,
        classCode: CLASS_CODE[device.deviceType] ?? CLASS_CODE_OTHER,
        subsystemVendorId: VENDOR_ID,
        subsystemId: DEVICE_ID_BASE + device.deviceType,
        interruptPin: 1,
      },
      regions: [
        {
          index: 0,
          space: 'memory32',
          sizeBytes: BAR_BYTES,
          name: this.kind,
          registers: {
            read: (offset, size) => this.#readBar(offset, size),
            write: (offset, size, value) => this.#writeBar(offset, size, value),
          },
        },
      ],
      mappingChanged: connection.mappingChanged,
    });
    this.#msix = new Msix({
      config: this.#config,
      vectorCount: device.queueSizes.length + 1,
      bar: 0,
      tableOffset: STRUCTURE.msixTable.offset,
      pendingBitsOffset: STRUCTURE.msixPendingBits.offset,
      send: msi,
    });
    addStructures(this.#config);
    this.#access = addPciConfigAccess(this.#config);
    this.#offered = featureWords([...device.features, ...TRANSPORT_FEATURES]);
    this.#common = resetCommon(device.queueSizes.length);
    this.#queues = device.queueSizes.map((size, index) => this.#makeQueue(size, index, memory));
    this.#attachDevice();
  }

  /** Why the device needs a reset, for traces and the monitor; empty if it does not. */
  get fault(): string {
    return this.#common.fault;
  }

  read(offset: number, size: AccessSize): number {
    const { data } = this.#access;
    if (offset < data + 4 && offset + size > data) this.#readThroughWindow();
    return this.#config.read(offset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    const couldMaster = this.#config.busMaster;
    this.#config.write(offset, size, value);
    const { data } = this.#access;
    if (offset < data + 4 && offset + size > data) this.#writeThroughWindow();
    this.#msix.configWritten();
    this.#updateIntx();
    if (!couldMaster && this.#config.busMaster) this.#notifyAll();
  }

  reset(): void {
    this.#config.reset();
    this.#msix.reset();
    this.#resetDevice();
  }

  save(): VirtioPciState {
    return {
      config: this.#config.save(),
      msix: this.#msix.save(),
      common: structuredClone(this.#common),
      queues: this.#queues.map((queue) => queue.save()),
      device: this.device.save(),
    };
  }

  restore(state: VirtioPciState): void {
    assert(state.queues.length === this.#queues.length, 'a saved state fits the same device');
    this.#common = structuredClone(state.common);
    this.#config.restore(state.config);
    this.#msix.restore(state.msix);
    for (const [index, queue] of this.#queues.entries()) queue.restore(state.queues[index]!);
    this.device.restore(state.device);
    this.#updateIntx();
  }

  /** Waits until no request is in the hands of the host; the machine does this before it saves. */
  drain(idle: () => void): void {
    if (this.device.drain) this.device.drain(idle);
    else idle();
  }

  /** Goes on after `drain`, and after `restore` once guest memory is back too. */
  resume(): void {
    this.device.resume?.();
    this.#notifyAll();
  }

  #makeQueue(sizeMax: number, index: number, memory: GuestMemory): Virtqueue {
    return new Virtqueue(sizeMax, {
      memory,
      running: () => this.#running(),
      negotiated: (feature) => this.#negotiated(feature),
      interrupt: () => this.#interrupt(ISR.queue.mask, this.#common.queueMsixVectors[index]!),
      needsReset: (reason) => this.#needsReset(reason),
    });
  }

  #attachDevice(): void {
    const running = () => this.#running();
    this.device.attach({
      queues: this.#queues,
      negotiated: (feature) => this.#negotiated(feature),
      get running() {
        return running();
      },
      configChanged: () => this.#configChanged(),
    });
  }

  /** Without bus mastering there is no way to the rings, so the device stands still. */
  #running(): boolean {
    const { deviceStatus } = this.#common;
    if (get(deviceStatus, STATUS.driverOk) === 0) return false;
    return get(deviceStatus, STATUS.needsReset) === 0 && this.#config.busMaster;
  }

  #negotiated(feature: number): boolean {
    if (get(this.#common.deviceStatus, STATUS.featuresOk) === 0) return false;
    return ((this.#common.driverFeatures[feature >>> 5]! >>> (feature & 31)) & 1) === 1;
  }

  #notifyAll(): void {
    for (const [index, queue] of this.#queues.entries()) {
      if (queue.ready && this.#running()) this.device.notified(index);
    }
  }

  #interrupt(isrMask: number, vector: number): void {
    if (this.#msix.enabled) {
      if (vector !== NO_VECTOR) this.#msix.raise(vector);
      return;
    }
    this.#common.isr |= isrMask;
    this.#updateIntx();
  }

  #updateIntx(): void {
    const pending = this.#common.isr !== 0 && !this.#msix.enabled;
    this.#config.setInterruptStatus(pending);
    this.#intx.set(pending && !this.#config.interruptDisabled);
  }

  #configChanged(): void {
    const common = this.#common;
    common.configGeneration = (common.configGeneration + 1) & 0xff;
    if (get(common.deviceStatus, STATUS.driverOk) === 0) return;
    this.#interrupt(ISR.config.mask, common.configMsixVector);
  }

  #needsReset(reason: string): void {
    const common = this.#common;
    if (get(common.deviceStatus, STATUS.needsReset) === 1) return;
    common.deviceStatus |= STATUS.needsReset.mask;
    common.fault = reason;
    this.#configChanged();
  }

  #resetDevice(): void {
    this.#common = resetCommon(this.#queues.length);
    for (const queue of this.#queues) queue.reset();
    this.device.reset();
    this.#updateIntx();
  }

  #readBar(offset: number, size: AccessSize): number {
    const { common, isr, device, msixTable, msixPendingBits } = STRUCTURE;
    const end = offset + size;
    if (within(common, offset, end)) return this.#readCommon(offset - common.offset, size);
    if (within(isr, offset, end)) return offset === isr.offset ? this.#readIsr() : 0;
    if (within(device, offset, end)) return this.device.readConfig(offset - device.offset, size);
    if (within(msixTable, offset, end))
      return this.#msix.table.read(offset - msixTable.offset, size);
    if (within(msixPendingBits, offset, end)) {
      return this.#msix.pendingBits.read(offset - msixPendingBits.offset, size);
    }
    return within(STRUCTURE.notify, offset, end) ? 0 : allOnes(size);
  }

  #writeBar(offset: number, size: AccessSize, value: number): void {
    const { common, notify, device, msixTable } = STRUCTURE;
    const end = offset + size;
    if (within(notify, offset, end)) {
      this.#notify(Math.floor((offset - notify.offset) / STRUCTURE.notifyMultiplier));
    } else if (within(common, offset, end)) {
      this.#writeCommon(offset - common.offset, size, value);
    } else if (within(device, offset, end)) {
      this.device.writeConfig(offset - device.offset, size, value);
    } else if (within(msixTable, offset, end)) {
      this.#msix.table.write(offset - msixTable.offset, size, value);
    }
  }

  #notify(index: number): void {
    if (this.#queues[index]?.ready && this.#running()) this.device.notified(index);
  }

  /** Reading the ISR status takes it back. §4.1.4.5.1. */
  #readIsr(): number {
    const { isr } = this.#common;
    this.#common.isr = 0;
    this.#updateIntx();
    return isr;
  }

  /** Any part of a register can be read: reads have no side effects here. */
  #readCommon(offset: number, size: AccessSize): number {
    if (offset + size > COMMON.queueEnd) return allOnes(size);
    const shift = (offset & 3) * 8;
    const low = this.#commonDword(offset & ~3);
    if (shift + size * 8 <= 32) return ((low >>> shift) & allOnes(size)) >>> 0;
    const high = this.#commonDword((offset & ~3) + 4);
    return (((low >>> shift) | (high << (32 - shift))) & allOnes(size)) >>> 0;
  }

  #commonDword(offset: number): number {
    const common = this.#common;
    const queue = this.#queues[common.queueSelect];
    switch (offset) {
      case COMMON.deviceFeatureSelect:
        return common.deviceFeatureSelect;
      case COMMON.deviceFeature:
        return this.#offered[common.deviceFeatureSelect] ?? 0;
      case COMMON.driverFeatureSelect:
        return common.driverFeatureSelect;
      case COMMON.driverFeature:
        return common.driverFeatures[common.driverFeatureSelect] ?? 0;
      case COMMON.configMsixVector:
        return common.configMsixVector | (this.#queues.length << 16);
      case COMMON.deviceStatus: {
        const low = common.deviceStatus | (common.configGeneration << 8);
        return (low | (common.queueSelect << 16)) >>> 0;
      }
      case COMMON.queueSize: {
        const vector = common.queueMsixVectors[common.queueSelect] ?? NO_VECTOR;
        return ((queue?.size ?? 0) | (vector << 16)) >>> 0;
      }
      case COMMON.queueEnable:
        return queue ? (queue.ready ? 1 : 0) | (common.queueSelect << 16) : 0;
      default: {
        const half = (offset - COMMON.queueDesc) >>> 2;
        return queue?.addressHalf((half >>> 1) as Area, half % 2 === 0 ? 0 : 1) ?? 0;
      }
    }
  }

  /**
   * §4.1.3.1: each register is written by its own size, 64-bit ones by halves; the rest is ignored.
   */
  #writeCommon(offset: number, size: AccessSize, value: number): void {
    if (size === 4) this.#writeCommon32(offset, value);
    else if (size === 2) this.#writeCommon16(offset, value);
    else if (offset === COMMON.deviceStatus) this.#writeStatus(value);
  }

  #writeCommon32(offset: number, value: number): void {
    const common = this.#common;
    const queue = this.#queues[common.queueSelect];
    if (offset === COMMON.deviceFeatureSelect) common.deviceFeatureSelect = value;
    else if (offset === COMMON.driverFeatureSelect) common.driverFeatureSelect = value;
    else if (offset === COMMON.driverFeature) this.#writeDriverFeature(value);
    else if (offset >= COMMON.queueDesc && offset < COMMON.queueEnd && offset % 4 === 0) {
      const half = (offset - COMMON.queueDesc) >>> 2;
      const area = [AREA.descriptors, AREA.driver, AREA.device][half >>> 1]!;
      queue?.setAddressHalf(area, half % 2 === 0 ? 0 : 1, value);
    }
  }

  #writeCommon16(offset: number, value: number): void {
    const common = this.#common;
    const queue = this.#queues[common.queueSelect];
    // §4.1.5.1.2.1: a vector that is not there reads back as none.
    const vector = value < this.#msix.vectorCount ? value : NO_VECTOR;
    if (offset === COMMON.queueSelect) common.queueSelect = value;
    else if (offset === COMMON.configMsixVector) common.configMsixVector = vector;
    else if (queue && offset === COMMON.queueSize) queue.size = value;
    else if (queue && offset === COMMON.queueMsixVector) {
      common.queueMsixVectors[common.queueSelect] = vector;
    } else if (queue && offset === COMMON.queueEnable && value === 1) queue.enable();
  }

  /** §2.2: the choice stands once FEATURES_OK is set. */
  #writeDriverFeature(value: number): void {
    const { driverFeatureSelect, driverFeatures, deviceStatus } = this.#common;
    if (driverFeatureSelect > 1 || get(deviceStatus, STATUS.featuresOk) === 1) return;
    driverFeatures[driverFeatureSelect] = value;
  }

  /** §2.1, §3.1.1. */
  #writeStatus(value: number): void {
    if (value === 0) {
      this.#resetDevice();
      return;
    }
    const common = this.#common;
    const before = common.deviceStatus;
    let status = (value & STATUS_WRITABLE) | (before & STATUS.needsReset.mask);
    if (get(before, STATUS.featuresOk) === 0 && !this.#featuresAcceptable()) {
      status &= ~STATUS.featuresOk.mask;
    }
    if (get(status, STATUS.featuresOk) === 0) status &= ~STATUS.driverOk.mask;
    common.deviceStatus = status;
    if (get(status, STATUS.driverOk) > get(before, STATUS.driverOk)) this.#notifyAll();
  }

  #featuresAcceptable(): boolean {
    const { driverFeatures } = this.#common;
    const unknown = driverFeatures.some((word, index) => (word & ~this.#offered[index]!) !== 0);
    return !unknown && ((driverFeatures[1] >>> (VIRTIO_F_VERSION_1 - 32)) & 1) === 1;
  }

  /**
   * §4.1.4.9: configuration accesses reach the BAR through a window, for those who cannot map it.
   */
  #readThroughWindow(): void {
    const target = this.#windowTarget();
    if (!target) return;
    const value = this.#readBar(target.offset, target.size);
    this.#config.write(this.#access.data, 4, value);
  }

  #writeThroughWindow(): void {
    const target = this.#windowTarget();
    if (!target) return;
    const value = this.#config.read(this.#access.data, target.size);
    this.#writeBar(target.offset, target.size, value);
  }

  #windowTarget(): { offset: number; size: AccessSize } | undefined {
    const { capability } = this.#access;
    const bar = this.#config.read(capability + 4, 1);
    const offset = this.#config.read(capability + 8, 4);
    const size = this.#config.read(capability + 12, 4);
    if (bar !== 0 || (size !== 1 && size !== 2 && size !== 4)) return undefined;
    return offset % size === 0 && offset + size <= BAR_BYTES ? { offset, size } : undefined;
  }
}

function within(structure: { offset: number; sizeBytes: number }, start: number, end: number) {
  return start >= structure.offset && end <= structure.offset + structure.sizeBytes;
}

function featureWords(features: readonly number[]): [number, number] {
  const words: [number, number] = [0, 0];
  for (const feature of features) {
    const word = feature < 32 ? 0 : 1;
    words[word] = (words[word] | (1 << (feature & 31))) >>> 0;
  }
  return words;
}

function resetCommon(queueCount: number): CommonState {
  return {
    deviceFeatureSelect: 0,
    driverFeatureSelect: 0,
    driverFeatures: [0, 0],
    configMsixVector: NO_VECTOR,
    queueMsixVectors: new Array(queueCount).fill(NO_VECTOR),
    deviceStatus: 0,
    configGeneration: 0,
    queueSelect: 0,
    isr: 0,
    fault: '',
  };
}
