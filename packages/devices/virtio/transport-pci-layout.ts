// Where the structures of virtio over PCI lie in their BAR, and the capabilities that say so.
// Virtio 1.2 §4.1.4. Each structure has a page of its own, so that a hypervisor below could map
// them apart.

import { storeLittleEndian } from '@mimic/base';
import type { ConfigSpace } from '../pci/config-space.ts';

export const BAR_BYTES = 0x8000;

export const STRUCTURE = {
  common: { offset: 0x0000, sizeBytes: 0x38 },
  isr: { offset: 0x1000, sizeBytes: 0x4 },
  device: { offset: 0x2000, sizeBytes: 0x1000 },
  notify: { offset: 0x3000, sizeBytes: 0x1000 },
  /** Bytes from one queue's notification register to the next one's. */
  notifyMultiplier: 4,
  msixTable: { offset: 0x4000, sizeBytes: 0x1000 },
  msixPendingBits: { offset: 0x5000, sizeBytes: 0x1000 },
} as const;

/** §4.1.4: vendor-specific capability, cfg_type. */
const CAPABILITY_VENDOR = 0x09;
const CFG_TYPE = { common: 1, notify: 2, isr: 3, device: 4, pci: 5 } as const;
/** struct virtio_pci_cap. */
const CAP_BYTES = 16;
const CAP = { length: 2, cfgType: 3, bar: 4, offset: 8, structureBytes: 12, extra: 16 } as const;

/** Adds the capabilities for common, notification, ISR and device-specific configuration. */
export function addStructures(config: ConfigSpace): void {
  addCapability(config, CFG_TYPE.common, STRUCTURE.common);
  addCapability(config, CFG_TYPE.notify, STRUCTURE.notify, STRUCTURE.notifyMultiplier);
  addCapability(config, CFG_TYPE.isr, STRUCTURE.isr);
  addCapability(config, CFG_TYPE.device, STRUCTURE.device);
}

/**
 * Adds the capability for access through configuration space (§4.1.4.9): all but its header is
 * writable.
 */
export function addPciConfigAccess(config: ConfigSpace): { capability: number; data: number } {
  const body = new Uint8Array(CAP_BYTES + 4 - 2);
  body[CAP.length - 2] = CAP_BYTES + 4;
  body[CAP.cfgType - 2] = CFG_TYPE.pci;
  const writable = new Uint8Array(body.length);
  writable[CAP.bar - 2] = 0xff;
  writable.fill(0xff, CAP.offset - 2);
  const capability = config.addCapability(CAPABILITY_VENDOR, body, writable);
  return { capability, data: capability + CAP.extra };
}

function addCapability(
  config: ConfigSpace,
  cfgType: number,
  place: { offset: number; sizeBytes: number },
  notifyMultiplier?: number,
): void {
  const length = notifyMultiplier === undefined ? CAP_BYTES : CAP_BYTES + 4;
  // The body starts after the two bytes of id and link.
  const body = new Uint8Array(length - 2);
  body[CAP.length - 2] = length;
  body[CAP.cfgType - 2] = cfgType;
  storeLittleEndian(body, CAP.offset - 2, 4, place.offset);
  storeLittleEndian(body, CAP.structureBytes - 2, 4, place.sizeBytes);
  if (notifyMultiplier !== undefined) {
    storeLittleEndian(body, CAP.extra - 2, 4, notifyMultiplier);
  }
  config.addCapability(CAPABILITY_VENDOR, body);
}
