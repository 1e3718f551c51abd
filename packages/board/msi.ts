// Message-signalled interrupts: what a device's write to 0xFEExxxxx says. SDM vol 3A §11.11.

import { bit, bits, type DeliveryMode, get, type InterruptMessage } from '@mimic/base';
import { MEMORY } from './address-map.ts';

/** Message address register, §11.11.1. The redirection hint does not change where a message goes. */
const ADDRESS = { logical: bit(2), destination: bits(19, 12) };
/** Message data register, §11.11.2. */
const DATA = { vector: bits(7, 0), deliveryMode: bits(10, 8), assert: bit(14), level: bit(15) };
/** Encodings 3 and 6 are reserved. */
const RESERVED_MODES = [3, 6];

/** Whether a write of a device at this address is an interrupt message and not for memory. */
export function isMessageAddress(address: number): boolean {
  return address >= MEMORY.localApic && address < MEMORY.localApicEnd;
}

/** The message, or undefined if it has none to deliver: a reserved mode, or the end of a level. */
export function decodeMessage(address: number, data: number): InterruptMessage | undefined {
  const deliveryMode = get(data, DATA.deliveryMode);
  const level = get(data, DATA.level) === 1;
  if (RESERVED_MODES.includes(deliveryMode)) return undefined;
  if (level && get(data, DATA.assert) === 0) return undefined;
  return {
    destination: get(address, ADDRESS.destination),
    logical: get(address, ADDRESS.logical) === 1,
    deliveryMode: deliveryMode as DeliveryMode,
    vector: get(data, DATA.vector),
    level,
  };
}
